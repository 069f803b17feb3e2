"""Everybody who listens hears everything, or is told that something was lost."""

import pytest

from berth_agent.hypervisor.states import (
    ConnectionChange,
    ConnectionEvent,
    DomainEvent,
    DomainEventKind,
    DomainOwner,
    HypervisorEvent,
)
from berth_agent.hypervisor.subscriptions import Subscriptions


def event(number: int) -> HypervisorEvent:
    return DomainEvent(DomainEventKind.STARTED, DomainOwner("default", f"vm-{number}", str(number)), str(number))


async def test_every_listener_hears_every_event_in_order() -> None:
    subscriptions = Subscriptions()
    with subscriptions.subscribe() as first, subscriptions.subscribe() as second:
        for number in range(3):
            subscriptions.publish(event(number))
        for events in (first, second):
            assert [await anext(events) for _ in range(3)] == [event(number) for number in range(3)]


async def test_a_slow_listener_is_told_what_it_lost_and_nobody_waits_for_it() -> None:
    subscriptions = Subscriptions(depth=4)
    with subscriptions.subscribe() as events:
        for number in range(5):
            subscriptions.publish(event(number))
        lost = await anext(events)
        assert isinstance(lost, ConnectionEvent)
        assert lost.change is ConnectionChange.EVENTS_LOST
        assert await anext(events) == event(4)


async def test_who_has_left_hears_nothing() -> None:
    subscriptions = Subscriptions(depth=1)
    with subscriptions.subscribe():
        pass
    subscriptions.publish(event(1))
    with subscriptions.subscribe() as events:
        subscriptions.publish(event(2))
        assert await anext(events) == event(2)


@pytest.mark.parametrize("kind", DomainEventKind)
def test_kinds_read_as_reasons(kind: DomainEventKind) -> None:
    assert kind.value.isalpha()
    assert kind.value[0].isupper()
