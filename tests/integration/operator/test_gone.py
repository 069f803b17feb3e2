"""The link to the API server breaks, objects vanish, the server forgets: after the 410 Gone all is counted right."""

import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from tests.integration.operator.crowds import close, create, delete, nodes, room_of, vm_body
from tests.integration.operator.records import Binding, Record, held, recording
from tests.integration.operator.waiting import eventually, side_by_side
from tests.integration.operator.worlds import World

from berth_api import kinds
from berth_dev.hollow.nodes import HollowNodes
from berth_dev.tcplinks import Link

pytestmark = pytest.mark.integration
STEADY = {"lease_duration": "200", "lease_renew_deadline": "190", "log_level": "DEBUG", "retell": "0.5"}
"""The link is down for less, so that the term goes on: no new leader lists everything, and 410s are logged."""
SEEN_ANEW = "listing virtualmachines anew"
IN_DOUBT = "GET /apis/berth.dev/v1alpha1/namespaces/default/virtualmachines/vm-"
"""In the log where it fails: whether a binding was written is looked up before anything else is tried."""
SEEN_BY_KOPF = "Restarting the watch-stream for hypervisors.v1alpha1.berth.dev"


@dataclass
class Scene:
    """Three nodes with room for four VMs each, an operator that leads, and its link to the API server."""

    world: World
    link: Link
    hollow: HollowNodes
    record: Record
    operator: "subprocess.Popen[bytes]"

    async def bereave(self, names: Sequence[str]) -> None:
        """Have VMs vanish without the operator: their nodes release them, and their finalizers are taken away."""
        machines, api = self.record.machines, self.world.api
        gone = {machines[name]["metadata"]["uid"] for name in names}
        await delete(self.world, names)
        await self.record.until(lambda: not any(held(machines[name]) for name in names), 60)
        bare = [{"op": "remove", "path": "/metadata/finalizers"}]
        await side_by_side(api.patch_json(kinds.VIRTUAL_MACHINE, name, "default", bare) for name in names)
        await self.record.until(lambda: gone.isdisjoint(vm["metadata"]["uid"] for vm in machines.values()), 60)

    def forget(self) -> None:
        """Have the API server know nothing of the past: it begins anew with what there is."""
        self.world.server.kill_apiserver()
        self.world.server.start_apiserver()

    async def logged(self, text: str) -> None:
        """Wait until the operator has said this."""

        async def probe() -> bool:
            return text in self.world.log(self.operator)

        await eventually(probe, 60)

    def claims(self) -> set[tuple[str, str]]:
        """VMs and the ids of their claims."""
        return {(name, held(vm)) for name, vm in self.record.machines.items() if held(vm)}

    def check(self) -> None:
        """What must hold: in one term, nothing was overfilled or bound twice, and the operator is alive."""
        assert self.record.faults == []
        assert self.hollow.report.violations == []
        assert self.hollow.report.refused == {}
        assert self.world.log(self.operator).count("took over in epoch") == 1
        assert self.operator.poll() is None


@asynccontextmanager
async def scene(world: World, *, closed: bool = False, **settings: str) -> AsyncIterator[Scene]:
    """An operator that reaches the API server through a link only, and nodes that take VMs, or do not yet."""
    options = nodes(3, slots=4)
    async with (
        Link(world.server.ports[2]) as link,
        HollowNodes(world.api, options) as hollow,
        recording(world.api, room_of(options)) as record,
    ):
        await close(world, options, closed=closed)
        operator = world.operate(kubeconfig=str(world.through(link.port)), **STEADY, **settings)
        await world.leading(operator)
        yield Scene(world, link, hollow, record, operator)


async def test_the_room_of_vms_that_vanished_unseen_is_used_without_any_audit(world: World) -> None:
    async with scene(world, audit_interval="3600") as it:
        record = it.record
        await create(world, [vm_body(f"vm-{n:02}") for n in range(15)])
        await record.settled(running=12, waiting=3)
        before, gone = it.claims(), sorted(record.running)[:5]

        await it.link.cut()
        await it.bereave([*gone, min(record.waiting)])
        await create(world, [vm_body(gone[0])])
        it.forget()
        it.link.mend()

        await record.settled(running=10, waiting=0)
        await it.logged(SEEN_ANEW)
        await create(world, [vm_body(f"new-{n}") for n in range(5)])
        await record.settled(running=12, waiting=3)
        assert set(Counter(record.running.values()).values()) == {4}
        assert {(name, claim) for name, claim in before if name not in gone} <= it.claims()
        it.check()


async def test_a_hypervisor_that_vanished_unseen_gets_no_vms_once_an_audit_was_made(world: World) -> None:
    async with scene(world, audit_interval="3") as it:
        record, [*others, lost] = it.record, it.hollow.options.names
        await create(world, [vm_body(f"vm-{n}") for n in range(6)])
        await record.settled(running=6, waiting=0)
        await create(world, [vm_body("huge", cpu={"cores": 64})])
        await record.told("0/3 nodes: 3 lack CPU (closest: n-0001, short of 62 CPU)")
        before = it.claims()

        await it.link.cut()
        await world.api.delete(kinds.HYPERVISOR, lost)
        await world.api.delete(kinds.NODE, lost)
        it.forget()
        it.link.mend()

        await it.logged(SEEN_BY_KOPF)
        await record.told("0/2 nodes: 2 lack CPU (closest: n-0001, short of 62 CPU)")
        await create(world, [vm_body(f"new-{n}") for n in range(6)])
        await record.until(lambda: len(record.bound) == 10 and len(record.waiting) == 3, 60)
        assert Counter(record.bound.values()) == {lost: 2, others[0]: 4, others[1]: 4}
        assert before <= it.claims()
        it.check()


async def test_a_binding_whose_answer_was_lost_is_neither_lost_nor_made_twice(world: World) -> None:
    async with scene(world, closed=True, audit_interval="3600", request_deadline="1") as it:
        record = it.record
        await create(world, [vm_body(f"vm-{n:02}") for n in range(15)])
        await record.settled(running=0, waiting=15)

        def hold_after_the_first(_binding: Binding) -> None:
            if len(record.bindings) == 1:
                it.link.hold_answers()

        record.on_binding = hold_after_the_first
        await close(world, it.hollow.options, closed=False)
        await it.logged(IN_DOUBT)
        done = it.claims()
        assert len(done) <= 12

        await it.link.cut()
        await it.bereave([name for name, _claim in sorted(done)][::2])
        it.forget()
        it.link.release()
        it.link.mend()

        left = 15 - len(done) + len(done) // 2
        await record.settled(running=min(12, left), waiting=max(0, left - 12))
        assert {(name, claim) for name, claim in done if name in record.machines} <= it.claims()
        await create(world, [vm_body(f"new-{n:02}") for n in range(15 - left)])
        await record.settled(running=12, waiting=3)
        it.check()
