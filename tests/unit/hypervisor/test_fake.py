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
    OperationFailed,
    OperationInvalid,
    PoolConflict,
    Unavailable,
)
from berth_agent.hypervisor.ports import HypervisorPort
from berth_agent.hypervisor.states import ConnectionEvent, DomainEvent, DomainEventKind, DomainPower


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
    assert state.failed
