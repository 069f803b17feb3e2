"""A whole operation under every interleaving of users, agents, nodes, lost answers and leaders."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import looptime
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.fakes.api import TIMESTAMP
from tests.unit.operator.shores import Shore

from berth_api import kinds
from berth_api.client import Conflict, DeadlineExceeded, Forbidden, Unavailable
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import VirtualMachine
from berth_operator.controllers.aims import Aim, is_bound, wants_berth
from berth_operator.controllers.binding import needs_secret
from berth_operator.controllers.machines import released
from berth_operator.controllers.references import Unbindable
from berth_operator.controllers.secrets import read_user_data
from berth_operator.controllers.telling import UNSCHEDULABLE
from berth_operator.operation import Operation
from berth_operator.scheduling.addresses import ExhaustedError
from berth_operator.scheduling.entries import State
from berth_operator.scheduling.holdings import held_by
from berth_operator.scheduling.place import Rejection, place

T = TypeVar("T")
NAMES, NODES = [f"vm-{number}" for number in range(9)], [f"node-{number}" for number in range(3)]
PICK = st.integers(0, 99)
LOST, LATE = Unavailable(0, "", "connection reset"), DeadlineExceeded(0, "", "too slow")
FAULTS = (
    (LOST, False),
    (LOST, True),
    (LATE, False),
    (LATE, True),
    (Conflict(409, "Conflict", "changed"), False),
    (Forbidden(403, "Forbidden", "no"), False),
)
PACE = {"backoff_first": 0.2, "backoff_most": 2.0, "secret_poll": 3.0, "retry_parked": 1e6, "retell": 5.0}
WAITING = {"refusal_exclusion": 20.0, "reserve_after": 10.0, "reserve_hold": 20.0, "node_loss_confirm": 5.0}
WAITING |= {"start_backoff_first": 0.5, "start_backoff_most": 4.0}


class OperationMachine(RuleBasedStateMachine):
    """The API server is the truth; watches deliver when a rule says so."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop(_enabled=True)
        self.shore = self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def _begin(self) -> Shore:
        shore = Shore(**PACE, **WAITING)
        for name in NODES[:2]:
            shore.add_labelled_node(name)
        shore.begin_term()
        return shore

    def choose(self, number: int, vms: list[VirtualMachine]) -> VirtualMachine | None:
        return vms[number % len(vms)] if vms else None

    # Users

    @rule(
        number=PICK, cores=st.sampled_from([3, 5, 9]), apart=st.booleans(), secret=st.integers(0, 3), own=st.booleans()
    )
    def create(self, number: int, cores: int, apart: bool, secret: int, own: bool) -> None:
        name = NAMES[number % len(NAMES)]
        if self.shore.api.peek(VIRTUAL_MACHINE, name, "default") is None:
            self.run(self._create(name, cores, apart, not secret, own))

    async def _create(self, name: str, cores: int, apart: bool, secret: bool, own: bool) -> None:
        self.shore.launch(name, cores=cores, apart=apart, secret=secret, finalizer=own)

    @rule(number=PICK)
    def several_are_created(self, number: int) -> None:
        for more in range(4):
            self.create(number + more, 3 + more, apart=more % 2 == 0, secret=1, own=True)

    @rule(number=PICK)
    def delete(self, number: int) -> None:
        vm = self.choose(number, self.shore.machines())
        if vm is not None:
            self.run(self.shore.delete(vm.metadata.name))

    @rule(number=PICK, strategy=st.sampled_from(["Halted", "Always"]))
    def set_run_strategy(self, number: int, strategy: str) -> None:
        vm = self.choose(number, [vm for vm in self.shore.machines() if vm.spec.run_strategy != strategy])
        if vm is not None:
            self.run(self.shore.edit(vm.metadata.name, "/spec/runStrategy", strategy))

    @rule(number=PICK, group=st.booleans())
    def edit_labels(self, number: int, group: bool) -> None:
        """A label that is added to a VM that runs keeps nobody apart who is there already: left out."""
        vms = [vm for vm in self.shore.machines() if not (group and vm.status.claim)]
        vm = self.choose(number, vms)
        if vm is not None:
            self.run(self.shore.edit(vm.metadata.name, "/metadata/labels", {"app": "db" if group else "web"}))

    @rule()
    def toggle_secret(self) -> None:
        if self.shore.api.peek(kinds.SECRET, "s", "default") is None:
            body = {"metadata": {"name": "s", "namespace": "default"}, "data": {"k": "eA=="}}
            self.shore.api.add(kinds.SECRET, body)
        else:
            self.shore.api.remove(kinds.SECRET, "s", "default")

    # Nodes and their agents

    def claimed(self, *, admitted: bool | None = None) -> list[VirtualMachine]:
        found = []
        for vm in self.shore.machines():
            claim, status = vm.status.claim, vm.status
            if claim is None or claim.id in (status.refused_claim, status.released_claim):
                continue
            if admitted is None or (status.admitted_claim == claim.id) == admitted:
                found.append(vm)
        return found

    @rule(number=PICK, refuses=st.booleans())
    def the_agent_answers(self, number: int, refuses: bool) -> None:
        vm = self.choose(number, self.claimed(admitted=False))
        if vm is not None and vm.status.claim is not None:
            answer = {"refusedClaim" if refuses else "admittedClaim": vm.status.claim.id}
            self.run(self.shore.agent(vm.metadata.name, phase="Starting", **answer))

    @rule(number=PICK)
    def the_agent_releases(self, number: int) -> None:
        vm = self.choose(number, [vm for vm in self.claimed() if vm.metadata.deletion_timestamp is not None])
        if vm is not None and vm.status.claim is not None:
            self.run(self.release(vm))

    async def release(self, vm: VirtualMachine) -> None:
        assert vm.status.claim is not None
        claim = vm.status.claim.id
        await self.shore.agent(vm.metadata.name, phase="Terminating", admittedClaim=claim, releasedClaim=claim)

    @rule(number=PICK, as_asked=st.booleans())
    def a_guest_runs(self, number: int, as_asked: bool) -> None:
        """The agent admits whatever is claimed, and says whether the guest is as the spec asks."""
        vm = self.choose(number, [vm for vm in self.answered() if vm.metadata.deletion_timestamp is None])
        if vm is not None and vm.status.claim is not None:
            ready = {"type": "Ready", "status": str(as_asked), "reason": "Says", "lastTransitionTime": TIMESTAMP}
            self.run(
                self.shore.agent(
                    vm.metadata.name,
                    phase="Running",
                    admittedClaim=vm.status.claim.id,
                    startedAt=TIMESTAMP,
                    observedGeneration=vm.metadata.generation,
                    conditions=[ready],
                )
            )

    @rule(number=PICK, refuses=st.booleans())
    def a_guest_stops(self, number: int, refuses: bool) -> None:
        """It is off, and stays off under this claim; or it was not let start under it."""
        vm = self.choose(number, [vm for vm in self.answered() if vm.metadata.deletion_timestamp is None])
        if vm is not None and vm.status.claim is not None:
            admitted = vm.status.admitted_claim if refuses else vm.status.claim.id
            ended = {"endedAt": TIMESTAMP, "endReason": "Stopped", "admittedClaim": admitted}
            stopped = {"stoppedClaim": vm.status.claim.id, "observedGeneration": vm.metadata.generation}
            self.run(self.shore.agent(vm.metadata.name, phase="Stopped", **ended, **stopped))

    def answered(self) -> list[VirtualMachine]:
        """VMs that their node has something of."""
        return [vm for vm in self.claimed() if vm.status.admitted_claim is not None]

    @rule(number=PICK, cores=st.sampled_from([3, 5, 9]))
    def resize(self, number: int, cores: int) -> None:
        vm = self.choose(number, [vm for vm in self.shore.machines() if vm.spec.cpu and vm.spec.cpu.cores != cores])
        if vm is not None:
            self.run(self.shore.edit(vm.metadata.name, "/spec/cpu", {"cores": cores}))

    @rule(number=PICK, gone=st.booleans())
    def a_node_dies(self, number: int, gone: bool) -> None:
        """It beats no longer; and somebody may know for certain that it is off."""
        name = NODES[number % len(NODES)]
        self.shore.api.remove(kinds.LEASE, name, "berth-system")
        if gone:
            self.shore.api.remove(kinds.NODE, name)

    @rule(number=PICK)
    def add_or_remove_node(self, number: int) -> None:
        name = NODES[number % len(NODES)]
        if self.shore.api.peek(kinds.LEASE, name, "berth-system") is None:
            self.shore.drop_node(name)
            self.run(self._add_node(name))
        else:
            self.shore.drop_node(name)

    async def _add_node(self, name: str) -> None:
        self.shore.add_labelled_node(name)

    @rule(number=PICK, cordon=st.booleans())
    def cordon(self, number: int, cordon: bool) -> None:
        name = NODES[number % len(NODES)]
        if self.shore.api.peek(kinds.NODE, name) is not None:
            self.run(self.shore.patch(kinds.NODE, name, "/spec", {"unschedulable": cordon}))

    # The API server, leaders and time

    @rule(
        fault=st.sampled_from(FAULTS),
        verb=st.sampled_from(["apply", "apply", "get", "patch_json"]),
        times=st.integers(1, 3),
    )
    def fail(self, fault: tuple[Exception, bool], verb: str, times: int) -> None:
        error, after = fault
        for kind in (VIRTUAL_MACHINE, kinds.SECRET):
            self.shore.api.fail(error, verb=verb, kind=kind, times=times, after=after)

    @rule(number=PICK, after=st.booleans(), then=st.sampled_from(["Always", "Halted", "deleted", "gone"]))
    def an_answer_is_lost(self, number: int, after: bool, then: str) -> None:
        """The binding of a new VM is or is not written, and its user changes it before anybody knows."""
        self.create(number, 3, apart=False, secret=1, own=True)
        name = NAMES[number % len(NAMES)]
        self.shore.api.fail(LOST, verb="apply", kind=VIRTUAL_MACHINE, name=name, after=after)
        self.time_passes(0.05, delivered=True)
        if self.shore.api.peek(VIRTUAL_MACHINE, name, "default") is None:
            return  # it was there before, and being deleted
        if then == "gone":
            self.shore.api.remove(VIRTUAL_MACHINE, name, "default")
        elif then == "deleted":
            self.run(self.shore.delete(name))
        elif self.shore.vm(name).spec.run_strategy != then:
            self.run(self.shore.edit(name, "/spec/runStrategy", then))
        self.time_passes(0.05, delivered=True)

    @rule(latency=st.sampled_from([0.0, 0.3, 1.5]))
    def slow_down(self, latency: float) -> None:
        self.shore.api.latency = latency

    @rule(how=st.sampled_from(["killed", "frozen", "again"]))
    def another_term(self, how: str) -> None:
        self.run(self._another_term(how))

    async def _another_term(self, how: str) -> None:
        for _, leadership, _ in self.shore.terms:
            leadership.until = self.loop.time()
        if how != "frozen":
            await self.shore.end_terms()
        if how != "again":
            self.shore.operation = self.shore.new_operation()
        self.shore.begin_term()

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 1.0, 5.0]), delivered=st.booleans())
    def time_passes(self, seconds: float, delivered: bool) -> None:
        self.run(self._time_passes(seconds, delivered))

    async def _time_passes(self, seconds: float, delivered: bool) -> None:
        if delivered:
            await self.shore.watches_deliver()
        await asyncio.sleep(seconds)

    # What holds at any moment

    @invariant()
    def no_node_is_overfilled(self) -> None:
        snapshot = self.operation.ledger._snapshot
        held: Counter[str] = Counter()
        for claim in self.shore.claims():
            held[claim.node] += claim.cpu
        for name, row in snapshot.index.items():
            assert held[name] <= snapshot.cpu[row]

    @invariant()
    def groups_are_kept_apart(self) -> None:
        nodes = [claim.node for claim in self.shore.claims() if claim.member.anti_affinity]
        crowd = [
            claim.node
            for claim in self.shore.claims()
            if not claim.member.anti_affinity and ("app", "db") in claim.member.label_pairs
        ]
        alike = [
            claim.node
            for claim in self.shore.claims()
            if claim.member.anti_affinity and ("app", "db") in claim.member.label_pairs
        ]
        assert max(Counter(alike).values(), default=0) <= 1
        assert not set(nodes) & set(crowd)

    @invariant()
    def no_address_is_given_twice(self) -> None:
        addresses = Counter(address for claim in self.shore.claims() for address in claim.addresses)
        assert max(addresses.values(), default=0) <= 1

    # What holds once all is quiet

    @property
    def operation(self) -> Operation:
        return self.shore.operation

    @precondition(lambda self: self.shore.terms)
    @rule()
    def settle(self) -> None:
        self.run(self.shore.calm(60.0))
        ledger, machines = self.operation.ledger, self.shore.machines()
        assert {claim.key: claim for claim in ledger.holdings} == {claim.key: claim for claim in self.shore.claims()}
        assert ledger._assumed == {}
        assert self.operation._binding._unsure == {}
        for vm in machines:
            if vm.metadata.deletion_timestamp is not None:
                assert not released(vm), f"{vm.key} was let go by nobody"
                assert not self.is_gone(vm.status.node_name or ""), f"{vm.key} waits for a node that is gone"
            elif wants_berth(vm):
                self.check_waiting(vm)
            elif is_bound(vm):
                self.check_standing(vm)
        waiting = {vm.key for vm in machines if self.operation._aims.of(vm) is not None}
        assert len(self.operation.scheduler.queue) <= len(waiting)
        assert self.operation.scheduler._aside.keys() <= waiting

    def is_silent(self, node: str) -> bool:
        return self.shore.api.peek(kinds.LEASE, node, "berth-system") is None

    def is_gone(self, node: str) -> bool:
        return self.is_silent(node) and self.shore.api.peek(kinds.NODE, node) is None

    def check_standing(self, vm: VirtualMachine) -> None:
        """A VM that is bound says where it stands: lost with its node, waiting for what it has not, or well."""
        condition, aim = vm.status.condition("Scheduled"), self.operation._aims.of(vm)
        assert condition is not None
        assert condition.status == "True"
        if self.is_silent(vm.status.node_name or ""):
            assert condition.reason == "NodeLost"
            assert aim is None
        elif aim is None:
            assert condition.reason == "Bound", condition.message
        else:
            assert condition.reason == aim.value, condition.message
            assert self.run(self._reason(vm)) != "none: it fits", condition.message

    def check_waiting(self, vm: VirtualMachine) -> None:
        """It says why, it waits somewhere, and for something that it has not."""
        scheduler = self.operation.scheduler
        condition = vm.status.condition("Scheduled")
        assert condition is not None
        assert (condition.status, vm.status.claim) == ("False", None)
        aside = vm.key in scheduler._aside
        assert aside != (scheduler.queue.state(vm.key) is State.PARKED)
        if condition.reason == ExhaustedError.reason:  # still so, even if a node was reserved for another VM since
            deciding = self.operation.scheduler._deciding
            with pytest.raises(Unbindable, match="no free address left"):
                deciding._interfaces.choose(vm, deciding.wish(vm).resolved.networks)
        else:
            assert condition.reason == self.run(self._reason(vm)), condition.message

    async def _reason(self, vm: VirtualMachine) -> str:
        """Why the VM cannot be bound now."""
        deciding, aim = self.operation.scheduler._deciding, self.operation._aims.of(vm)
        try:
            if aim is None or needs_secret(vm, aim):
                await read_user_data(self.shore.api, vm)
            wish = deciding.wish(vm)
            if aim is not None and aim.stays:
                return self._reason_to_stay(vm, wish.request.cpu)
            placement = place(self.operation._inventory.snapshot(), wish.request, wish.profile)
            if isinstance(placement, Rejection):
                return UNSCHEDULABLE
            deciding._interfaces.choose(vm, wish.resolved.networks)
        except Unbindable as why:
            return why.reason
        return "none: it fits"

    def _reason_to_stay(self, vm: VirtualMachine, cpu: int) -> str:
        """Why a bound VM does not get its CPU: the other columns are never short here, and nodes may be cordoned."""
        snapshot, held = self.operation._inventory.snapshot(), held_by(vm)
        row = snapshot.index.get(vm.status.node_name or "")
        assert held is not None
        starts = self.operation._aims.of(vm) is Aim.START
        if row is None or (starts and not snapshot.schedulable[row]):
            return "its node takes none"
        reserved = held.node in snapshot.reservations
        return UNSCHEDULABLE if snapshot.free_cpu[row] + held.cpu < cpu or reserved else "none: it fits"

    def teardown(self) -> None:
        try:
            self.everything_goes()
        finally:
            self.run(self.shore.end_terms())
            self.run(self.loop.shutdown_asyncgens())
            self.loop.close()

    def everything_goes(self) -> None:
        self.settle()
        for vm in self.shore.machines():
            self.run(self.shore.delete(vm.metadata.name))
        self.run(self.shore.calm(10.0))
        for vm in self.claimed():
            self.run(self.release(vm))
        self.run(self.shore.calm(20.0))
        assert self.shore.machines() == []
        operation, scheduler = self.operation, self.operation.scheduler
        snapshot = operation.ledger._snapshot
        rows = list(snapshot.index.values())
        for free, total in (
            (snapshot.free_cpu, snapshot.cpu),
            (snapshot.free_memory, snapshot.memory),
            (snapshot.free_slots, snapshot.slots),
        ):
            assert (free[rows] == total[rows]).all()
        assert not any(pool.held.any() for pool in snapshot.pools.values())
        left = (
            scheduler._since,
            scheduler._failures,
            scheduler._aside._timers,
            scheduler._aside.keys(),
            scheduler.queue,
        )
        assert [len(each) for each in left] == [0] * 5
        assert (operation._refusals._until, operation._refusals._noted) == ({}, {})
        assert operation._pauses._refused == {}
        assert (operation._waiting._references, operation._waiting._by_reference) == ({}, {})
        assert (len(operation.ledger), snapshot.reservations) == (0, {})


OperationMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestOperation = OperationMachine.TestCase
