"""Two operators, one Lease: whoever dies or freezes in the middle of a batch, no node is overfilled, no VM lost."""

import asyncio
import signal
import urllib.request
from dataclasses import replace
from http import HTTPStatus
from random import Random

import pytest
from tests.integration.api.apiserver import free_ports
from tests.integration.operator.contests import LEASE, NEVER, contest
from tests.integration.operator.crowds import close, create, delete, nodes, room_of, silence, vm_body
from tests.integration.operator.records import recording
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World

from berth_dev.hollow.nodes import HollowNodes
from berth_dev.hollow.options import Faults
from berth_dev.tcplinks import Link

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_leader_that_is_killed_in_the_middle_of_a_batch_loses_nothing(world: World, seed: int) -> None:
    random = Random(seed)
    async with contest(world) as it:
        await it.strike(signal.SIGKILL, random)
        await it.placed()
        assert it.claims()[1]
        assert it.operators[it.victim].wait(10) == -signal.SIGKILL
        it.check()


@pytest.mark.parametrize("seed", [3, 4, 5])
async def test_a_leader_that_is_frozen_in_the_middle_of_a_batch_binds_nothing_when_it_thaws(
    world: World, seed: int
) -> None:
    random = Random(seed)
    async with contest(world) as it:
        await it.strike(signal.SIGSTOP, random)
        more = random.randint(1, 40)
        await it.record.until(lambda: len(it.claims()[1]) >= more, 60)
        early, _ = it.claims()
        it.operators[it.victim].send_signal(signal.SIGCONT)
        await it.placed()

        async def gave_up() -> bool:
            return "lost the leadership" in world.log(it.operators[it.victim])

        await eventually(gave_up, 30)
        assert it.claims()[0] == early
        it.check()

        it.operators[it.other].send_signal(signal.SIGTERM)
        bound = set(it.record.bound)
        await delete(world, sorted(bound)[:10])
        await it.record.until(lambda: len(it.record.bound.keys() - bound) == 10, 60)
        it.freed = 10
        await it.placed()
        assert it.record.terms[max(it.record.terms)].holder == it.victim
        it.check()


async def test_a_binding_that_was_on_its_way_when_another_took_over_is_refused_where_it_arrives(world: World) -> None:
    """The former leader is frozen and asks nobody; nothing about the VMs has changed: only the epoch tells."""
    options = nodes(3, slots=20)
    async with (
        Link(world.server.ports[2]) as link,
        HollowNodes(world.api, options) as hollow,
        recording(world.api, room_of(options)) as record,
    ):
        await close(world, options, closed=True)
        metrics = f"http://127.0.0.1:{free_ports(1)[0]}/metrics"
        slow = LEASE | {"lease_duration": "12", "lease_renew_deadline": "11"}
        way = str(world.through(link.port))
        first = world.operate(kubeconfig=way, metrics_url=metrics, identity="first", **slow)
        await world.leading(first)
        await create(world, [vm_body(f"vm-{n}") for n in range(8)])
        await record.settled(running=0, waiting=8)
        await record.told("0/3 nodes: 3 are closed for new VMs")

        link.hold_requests()
        await close(world, options, closed=False)
        for _ in range(3):
            await eventually(lambda: writes(metrics), 30)
        first.send_signal(signal.SIGSTOP)
        await close(world, options, closed=True)
        await world.leading(world.operate(identity="second", **LEASE))
        await silence(world, 1.0, 30)
        versions = {name: vm["metadata"]["resourceVersion"] for name, vm in record.machines.items()}
        offset = world.server.audit.stat().st_size
        link.release()

        async def answers() -> list[int]:
            writes, _ = world.server.writes_since(offset)
            return [write["responseStatus"]["code"] for write in writes if "/virtualmachines/" in write["requestURI"]]

        assert set(await eventually(answers, 30)) == {403}
        first.send_signal(signal.SIGCONT)
        await silence(world, 1.0, 30)
        assert all(code >= HTTPStatus.BAD_REQUEST for code in await answers())
        assert versions == {name: vm["metadata"]["resourceVersion"] for name, vm in record.machines.items()}

        await close(world, options, closed=False)
        await record.settled(running=8, waiting=0)
        assert {record.terms[each.epoch].holder for each in record.bindings} == {"second"}
        assert (record.faults, record.late(), hollow.report.refused) == ([], [], {})


async def test_what_a_former_leader_bound_and_no_node_has_admitted_is_bound_anew_at_once(world: World) -> None:
    """The node refuses the former leader's claims. That is not the node's fault, and there is no other one."""
    options = nodes(1, slots=10)
    first = world.operate(identity="first", **LEASE)
    await world.leading(first)
    second = world.operate(identity="second", **LEASE)
    async with recording(world.api, room_of(options)) as record:
        slow = replace(options, keep=True, faults=Faults(admission_delay=NEVER))
        async with HollowNodes(world.api, slow):
            await create(world, [vm_body(f"vm-{n}") for n in range(10)])
            await record.until(lambda: len(record.bound) == 10, 60)
        first.send_signal(signal.SIGTERM)
        await world.leading(second)
        async with HollowNodes(world.api, options) as hollow:
            await record.settled(running=10, waiting=0, within=40)
            assert hollow.report.refused == {"StaleEpoch": 10}
            assert hollow.report.violations == []
        assert [record.terms[each.epoch].holder for each in record.bindings] == ["first"] * 10 + ["second"] * 10
        assert record.faults == []


async def writes(metrics: str) -> bool:
    """Whether the operator is writing bindings."""
    with await asyncio.to_thread(urllib.request.urlopen, metrics, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    [line] = [each for each in lines if each.startswith("berth_scheduler_writes_in_flight ")]
    assert float(line.split()[1]) > 0, lines
    return True
