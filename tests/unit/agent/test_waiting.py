"""At the start: what is away is waited for, what refuses ends the agent with a reason."""

from socket import gaierror

import pytest

from berth_agent.__main__ import leaves
from berth_agent.hypervisor.errors import Unavailable as LibvirtUnavailable
from berth_agent.waiting import until_available
from berth_api.client import Forbidden, Unavailable


async def test_what_is_away_is_waited_for() -> None:
    troubles: list[Exception] = [Unavailable(0, "", "refused"), LibvirtUnavailable("no socket"), gaierror(-3, "no DNS")]
    pauses: list[float] = []

    async def attempt() -> str:
        if troubles:
            raise troubles.pop()
        return "there"

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    assert await until_available("it", attempt, sleep) == "there"
    assert pauses == [1.0, 1.0, 1.0]


async def test_what_refuses_is_not_asked_again() -> None:
    async def attempt() -> None:
        raise Forbidden(403, "Forbidden", "no rights")

    with pytest.raises(Forbidden):
        await until_available("it", attempt)


def test_the_last_words_of_an_agent_name_the_cause_not_the_group() -> None:
    inner = ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("the cause")])
    assert [str(error) for error in leaves(ExceptionGroup("unhandled errors", [inner]))] == ["the cause"]
