"""The hypervisor in memory keeps the promises of the port, so that a test with it means something."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.hypervisor import HANG, FakeHypervisor
from tests.unit.domain.cases import CASES, SMALL

from berth_agent.domain.documents import build
from berth_agent.hypervisor.errors import (
    DomainExists,
    DomainNotFound,
    DomainRejected,
    GuestAgentUnavailable,
    OperationFailed,
    OperationInvalid,
    PoolConflict,
    Unavailable,
)
from berth_agent.hypervisor.ports import HypervisorPort
from berth_agent.hypervisor.states import (
    ConnectionEvent,
    DomainEvent,
    DomainEventKind,
    DomainPower,
    GuestInfo,
    GuestInterface,
)
from berth_api.hardware import CPU


@pytest.fixture
def fake() -> FakeHypervisor:
    return FakeHypervisor()


async def test_it_is_a_hypervisor_that_lives_a_domains_life(fake: FakeHypervisor) -> None:
    port: HypervisorPort = fake
    async with port.events() as events:
        await port.define(build(SMALL))
        await port.start(SMALL.uid)
        await port.shutdown(SMALL.uid)
        await port.undefine(SMALL.uid)
        told = [await anext(events) for _ in range(4)]
    assert [event.kind for event in told if isinstance(event, DomainEvent)] == [
        DomainEventKind.DEFINED,
        DomainEventKind.STARTED,
        DomainEventKind.STOPPED,
        DomainEventKind.UNDEFINED,
    ]
    assert await port.domain(SMALL.uid) is None
    assert fake.methods() == ["define", "start", "shutdown", "undefine", "domain"]


async def test_it_refuses_what_libvirt_refuses(fake: FakeHypervisor) -> None:
    with pytest.raises(DomainRejected):
        await fake.define("<domain/>")
    with pytest.raises(DomainNotFound):
        await fake.start(SMALL.uid)
    await fake.define(build(SMALL))
    with pytest.raises(DomainExists):
        await fake.define(build(replace(SMALL, uid="00000000-0000-4000-8000-00000000000f")))
    with pytest.raises(OperationInvalid):
        await fake.resume(SMALL.uid)
    await fake.start(SMALL.uid, paused=True)
    with pytest.raises(OperationInvalid):
        await fake.undefine(SMALL.uid)
    await fake.ensure_pool("a", "dir", Path("/a"))
    with pytest.raises(PoolConflict):
        await fake.ensure_pool("a", "dir", Path("/b"))


async def test_a_running_guest_keeps_its_hardware(fake: FakeHypervisor) -> None:
    before = await fake.define(build(SMALL))
    await fake.start(SMALL.uid)
    assert (await fake.define(build(replace(CASES["blank-disk"], parts={"disks": "c0"})))).parts == before.parts
    await fake.destroy(SMALL.uid)
    state = await fake.domain(SMALL.uid)
    assert state is not None
    assert len(state.disks) == len(before.disks) + 1


async def test_faults_come_once_each(fake: FakeHypervisor) -> None:
    fake.fail("define", OperationFailed("no"), HANG)
    with pytest.raises(OperationFailed):
        await fake.define(build(SMALL))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await fake.define(build(SMALL))
    assert (await fake.define(build(SMALL))).power is DomainPower.SHUT_OFF


async def test_guests_outlive_the_connection(fake: FakeHypervisor) -> None:
    await fake.define(build(SMALL))
    await fake.start(SMALL.uid)
    async with fake.events() as events:
        fake.disconnect()
        with pytest.raises(Unavailable):
            await fake.domains()
        fake.reconnect()
        assert all([isinstance(await anext(events), ConnectionEvent) for _ in range(2)])
    assert [domain.power for domain in await fake.domains()] == [DomainPower.RUNNING]


async def test_a_crash_is_told_and_seen(fake: FakeHypervisor) -> None:
    await fake.define(build(SMALL))
    await fake.start(SMALL.uid)
    fake.crash(SMALL.uid)
    state = await fake.domain(SMALL.uid)
    assert state is not None
    assert (state.power, state.power_reason) == (DomainPower.SHUT_OFF, "Crashed")


async def test_a_running_guest_is_given_what_it_has_room_for(fake: FakeHypervisor) -> None:
    big = replace(SMALL, cpu=CPU(max_sockets=3), memory_max=SMALL.memory * 2)
    await fake.define(build(big))
    with pytest.raises(OperationInvalid):
        await fake.set_vcpus(big.uid, 2)
    await fake.start(big.uid, boot_id="b")
    await fake.set_vcpus(big.uid, 3)
    await fake.set_memory(big.uid, SMALL.memory + 1)
    state = await fake.domain(big.uid)
    assert state is not None
    assert (state.vcpus, state.memory, state.boot_id) == (3, SMALL.memory + 2 * 2**20, "b")
    for step, value in (
        (fake.set_vcpus, 4),
        (fake.set_vcpus, 0),
        (fake.set_vcpus, 2),
        (fake.set_memory, SMALL.memory * 2 + 1),
    ):
        with pytest.raises(OperationInvalid):
            await step(big.uid, value)
    await fake.destroy(big.uid)
    off = await fake.domain(big.uid)
    assert off is not None
    assert (off.vcpus, off.memory, off.boot_id) == (1, SMALL.memory, "b")


@pytest.mark.parametrize("reason", ["Shutdown", "Crashed", "Destroyed", "Unknown", "Failed"])
async def test_a_guest_ends_for_any_reason(fake: FakeHypervisor, reason: str) -> None:
    await fake.define(build(SMALL))
    await fake.start(SMALL.uid)
    fake.crash(SMALL.uid, reason)
    state = await fake.domain(SMALL.uid)
    assert state is not None
    assert (state.power, state.power_reason) == (DomainPower.SHUT_OFF, reason)


async def test_guests_say_and_use_what_the_test_said(fake: FakeHypervisor) -> None:
    await fake.define(build(SMALL))
    assert await fake.statistics() == ()
    await fake.start(SMALL.uid)
    with pytest.raises(GuestAgentUnavailable):
        await fake.guest_info(SMALL.uid)
    fake.guests[SMALL.uid] = (GuestInterface("eth0", "52:54:00:00:00:01"),)
    fake.information[SMALL.uid] = GuestInfo(hostname="web")
    info = await fake.guest_info(SMALL.uid)
    assert (info.hostname, info.interfaces) == ("web", fake.guests[SMALL.uid])
    (used,) = await fake.statistics()
    fake.used[SMALL.uid] = replace(used, cpu_seconds=2.0)
    assert await fake.statistics() == (fake.used[SMALL.uid],)
