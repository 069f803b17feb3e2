"""Every call is counted once, however it ends."""

import asyncio
from collections.abc import Callable

import pytest

from berth_agent.hypervisor.connection import LibvirtConnection
from berth_agent.hypervisor.errors import DeadlineExceeded, HypervisorError, OperationFailed, Unavailable
from berth_agent.hypervisor.latencies import observed
from berth_agent.hypervisor.settings import LibvirtSettings

Told = list[tuple[str, float, str]]


def recorder(told: Told) -> Callable[[str, float, str], None]:
    return lambda name, seconds, outcome: told.append((name, seconds, outcome))


async def test_a_call_that_succeeds_is_told_with_its_time() -> None:
    told: Told = []
    with observed("start_domain", recorder(told)):
        await asyncio.sleep(0.01)
    ((name, seconds, outcome),) = told
    assert (name, outcome) == ("start_domain", "Success")
    assert 0.01 <= seconds < 5


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OperationFailed("no"), "OperationFailed"),
        (DeadlineExceeded("late"), "HypervisorDeadlineExceeded"),
        (asyncio.CancelledError(), "Cancelled"),
        (ZeroDivisionError(), "UnexpectedError"),
    ],
)
def test_a_call_that_fails_is_told_by_its_error(error: BaseException, outcome: str) -> None:
    told: Told = []
    with pytest.raises(type(error)), observed("start_domain", recorder(told)):
        raise error
    assert [(name, how) for name, _, how in told] == [("start_domain", outcome)]


async def test_a_call_without_a_connection_is_told_too() -> None:
    told: Told = []
    connection = LibvirtConnection(
        LibvirtSettings(),
        register=lambda _: [],
        on_connected=lambda: None,
        on_disconnected=lambda _: None,
        observe=recorder(told),
    )

    def read_nothing(_connection: object) -> None: ...

    with pytest.raises(HypervisorError) as refusal:
        await connection.call(read_nothing, 1)
    assert isinstance(refusal.value, Unavailable)
    assert [(name, outcome) for name, _, outcome in told] == [("read_nothing", "HypervisorUnavailable")]
