"""At the start: what is away is waited for, what refuses ends the agent with a reason."""

import errno
from socket import gaierror

import pytest

from berth_agent.__main__ import leaves
from berth_agent.hypervisor.errors import AcceleratorUnusable
from berth_agent.hypervisor.errors import Unavailable as LibvirtUnavailable
from berth_agent.waiting import REFUSALS, until_available
from berth_api.client import Forbidden, Invalid, Unauthorized, Unavailable


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


@pytest.mark.parametrize("refusal", [Invalid(422, "Invalid", "no"), AcceleratorUnusable("no kvm")])
async def test_what_refuses_is_not_asked_again(refusal: Exception) -> None:
    asked = 0

    async def attempt() -> None:
        nonlocal asked
        asked += 1
        raise refusal

    with pytest.raises(type(refusal)):
        await until_available("it", attempt)
    assert asked == 1


@pytest.mark.parametrize(
    "refusal", [Forbidden(403, "Forbidden", "no rights"), Unauthorized(401, "Unauthorized", "who")]
)
async def test_a_server_that_has_just_been_started_may_refuse_for_a_minute(refusal: Exception) -> None:
    asked, until = 0, REFUSALS

    async def attempt() -> str:
        nonlocal asked
        asked += 1
        if asked <= until:
            raise refusal
        return "there"

    async def sleep(_seconds: float) -> None: ...

    assert await until_available("it", attempt, sleep) == "there"
    asked, until = 0, 10 * REFUSALS
    with pytest.raises(type(refusal)):
        await until_available("it", attempt, sleep)
    assert asked == REFUSALS + 1


async def test_a_disk_that_is_full_is_waited_for() -> None:
    troubles: list[Exception] = [OSError(errno.ENOSPC, "No space left on device")]

    async def attempt() -> str:
        if troubles:
            raise troubles.pop()
        return "there"

    async def sleep(_seconds: float) -> None: ...

    assert await until_available("the state directory", attempt, sleep) == "there"


def test_the_last_words_of_an_agent_name_the_cause_not_the_group() -> None:
    inner = ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("the cause")])
    assert [str(error) for error in leaves(ExceptionGroup("unhandled errors", [inner]))] == ["the cause"]
