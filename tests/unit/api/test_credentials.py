"""Tokens are read again while they are in use."""

import pytest
from kubernetes.aio.client import Configuration

from berth_api.client.credentials import Credentials
from berth_api.client.errors import Unauthorized


def configured(token: str) -> Configuration:
    return Configuration(host="http://server", api_key={"BearerToken": f"Bearer {token}"})


class Source:
    """Where tokens come from: the next one each time, an error where there is none."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = [*tokens]

    async def read(self) -> Configuration:
        if not self.tokens:
            raise Unauthorized(0, "NoCredentials", "gone")
        return configured(self.tokens.pop(0))


async def test_an_old_token_is_read_again() -> None:
    credentials = Credentials(configured("a"), Source("b", "c").read, period=0.0)
    assert await credentials.authorization() == "Bearer b"
    assert await credentials.authorization() == "Bearer c"


async def test_a_fresh_token_is_not() -> None:
    credentials = Credentials(configured("a"), Source("b").read, period=3600.0)
    assert await credentials.authorization() == "Bearer a"


async def test_a_source_that_is_gone_leaves_the_token(caplog: pytest.LogCaptureFixture) -> None:
    credentials = Credentials(configured("a"), Source().read, period=0.0)
    assert await credentials.authorization() == "Bearer a"
    assert not await credentials.renew()
    assert "keeping the credentials at hand: gone" in caplog.text
