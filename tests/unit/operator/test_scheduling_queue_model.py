"""The queue against a naive model of it: lists, scanned; any interleaving of everything that may be called."""

from dataclasses import dataclass, field
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.entries import Entry, Key, Order, State
from berth_operator.scheduling.lines import Verdict
from berth_operator.scheduling.parking import Pace
from berth_operator.scheduling.queue import SchedulingQueue
from berth_operator.scheduling.reservations import Reservations

PACE = Pace(retry=300.0, pause=1.0, retell=30.0)
NAMES = st.sampled_from("abcdefgh")
SHAPES = st.sampled_from("xxxyyz")
VERDICTS = st.builds(
    Verdict,
    st.frozensets(st.sampled_from(Cure), max_size=2),
    st.sampled_from(["one reason", "another reason"]),
)
ENTRIES = st.builds(
    lambda name, uid, priority, revision: Entry(
        ("ns", name), f"{name}{uid}", priority, float(ord(name) * 7 % 5), revision
    ),
    NAMES,
    st.sampled_from([0, 0, 0, 0, 1]),
    st.sampled_from([0, 0, 0, 0, 5]),
    st.sampled_from([0, 0, 0, 1]),
)


@dataclass
class Vm:
    entry: Entry
    state: State = State.ACTIVE
    until: float = 0.0
    shape: str | None = None
    """Parked: its line. In flight: the line on trial for which it is."""
    seen: int = 0
    again: Entry | None = None
    forced: bool = False
    gone: bool = False
    told_at: float = -inf


@dataclass
class Shape:
    causes: frozenset[Cure]
    note: str
    judged: Order
    seen: int
    at: float
    ready: bool = False
    """Somebody of it was placed, or a trial of it ended without a verdict."""


@dataclass
class Model:
    vms: dict[Key, Vm] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    events: list[Cure] = field(default_factory=list)

    def members(self, shape: str) -> list[Vm]:
        parked = [vm for vm in self.vms.values() if vm.state is State.PARKED and vm.shape == shape]
        return sorted(parked, key=lambda vm: vm.entry.order)

    def trial(self, shape: str) -> Vm | None:
        flying = [vm for vm in self.vms.values() if vm.state is State.IN_FLIGHT and vm.shape == shape]
        assert len(flying) <= 1
        return flying[0] if flying else None

    def stirred(self, shape: str) -> bool:
        one = self.shapes[shape]
        return not one.causes.isdisjoint(self.events[one.seen :])

    def may(self, shape: str, now: float) -> bool:
        one = self.shapes[shape]
        after_event = self.stirred(shape) and now >= one.at + PACE.pause
        return self.trial(shape) is None and (one.ready or after_event or now >= one.at + PACE.retry)

    def must(self, shape: str, now: float) -> bool:
        return self.may(shape, now) and (
            self.shapes[shape].ready or self.stirred(shape) or now >= self.shapes[shape].at + 1.25 * PACE.retry
        )

    def close_empty(self) -> None:
        for shape in list(self.shapes):
            if not self.members(shape) and self.trial(shape) is None:
                del self.shapes[shape]

    def end_trial(self, vm: Vm) -> None:
        if vm.shape is not None:
            self.shapes[vm.shape].ready = True
            vm.shape = None

    def lands(self, vm: Vm) -> bool:
        if vm.gone:
            self.end_trial(vm)
            del self.vms[vm.entry.key]
            return False
        if vm.again is None or (vm.again == vm.entry and not vm.forced):
            return True
        self.end_trial(vm)
        told_at = vm.told_at if vm.again.uid == vm.entry.uid else -inf
        self.vms[vm.entry.key] = Vm(vm.again, told_at=told_at)
        return False


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queue: SchedulingQueue[str, str] = SchedulingQueue(PACE, Reservations())
        self.model = Model()
        self.now = 0.0

    def in_flight(self, draw: int) -> Vm:
        flying = sorted(
            (vm for vm in self.model.vms.values() if vm.state is State.IN_FLIGHT), key=lambda vm: vm.entry.order
        )
        return flying[draw % len(flying)]

    def flies(self) -> bool:
        return any(vm.state is State.IN_FLIGHT for vm in self.model.vms.values())

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(entry=ENTRIES)
    def add(self, entry: Entry) -> None:
        self.queue.add(entry, self.now)
        vm = self.model.vms.get(entry.key)
        if vm is None:
            self.model.vms[entry.key] = Vm(entry)
        elif vm.state is State.IN_FLIGHT:
            vm.again, vm.gone = entry, False
        elif vm.entry != entry:
            told_at = vm.told_at if vm.entry.uid == entry.uid else -inf
            self.model.vms[entry.key] = Vm(entry, told_at=told_at)
        self.model.close_empty()

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.queue.remove(("ns", name), self.now)
        vm = self.model.vms.get(("ns", name))
        if vm is not None and vm.state is State.IN_FLIGHT:
            vm.gone = True
        elif vm is not None:
            del self.model.vms[vm.entry.key]
        self.model.close_empty()

    @rule(name=NAMES)
    def retry(self, name: str) -> None:
        self.queue.retry(("ns", name))
        vm = self.model.vms.get(("ns", name))
        if vm is not None and vm.state is State.IN_FLIGHT:
            vm.again, vm.forced = vm.again or vm.entry, True
        elif vm is not None:
            vm.state, vm.shape = State.ACTIVE, None
        self.model.close_empty()

    @rule(cure=st.sampled_from(Cure))
    def happened(self, cure: Cure) -> None:
        self.queue.happened(cure)
        self.model.events.append(cure)

    @rule()
    def pop(self) -> None:
        self.take()

    def take(self) -> Vm | None:
        model = self.model
        for vm in model.vms.values():
            if vm.state is State.BACKOFF and vm.until <= self.now:
                vm.state = State.ACTIVE
        active = [vm.entry for vm in model.vms.values() if vm.state is State.ACTIVE]
        heads = {model.members(shape)[0].entry.key: shape for shape in model.shapes if model.members(shape)}
        must = [model.vms[key].entry for key, shape in heads.items() if model.must(shape, self.now)]
        due = sorted(active + must, key=lambda entry: entry.order)
        popped = self.queue.pop(self.now)
        if popped is None:
            assert not due
            return None
        assert not due or popped.order <= due[0].order
        vm = model.vms[popped.key]
        assert vm.entry == popped
        if vm.state is State.PARKED:
            assert model.may(heads[popped.key], self.now)
            assert vm.shape == heads[popped.key]
            model.shapes[vm.shape].ready = False
        else:
            assert vm.state is State.ACTIVE
        vm.state, vm.seen = State.IN_FLIGHT, len(model.events)
        vm.again, vm.forced, vm.gone = None, False, False
        return vm

    @rule(entries=st.lists(ENTRIES, min_size=2, max_size=6), shape=SHAPES, verdict=VERDICTS)
    def many_are_rejected(self, entries: list[Entry], shape: str, verdict: Verdict[str]) -> None:
        for entry in entries:
            self.add(entry)
        for _ in entries:
            vm = self.take()
            if vm is not None and not self.joins(vm, shape):
                self.rejected(vm, shape, verdict)

    @precondition(flies)
    @rule(draw=st.integers(0, 5), shape=SHAPES)
    def join(self, draw: int, shape: str) -> None:
        self.joins(self.in_flight(draw), shape)

    def joins(self, vm: Vm, shape: str) -> bool:
        model = self.model
        vm.seen = len(model.events)
        one, rival = model.shapes.get(shape), model.trial(shape)
        rivals = [*model.members(shape), *([rival] if rival is not None and rival is not vm else [])]
        led = any(other.entry.order < vm.entry.order for other in rivals)
        verdict = self.queue.join(vm.entry.key, shape, self.now)
        if one is None:
            assert verdict is None
        elif led:
            assert verdict is not None
        elif one.ready or rival is not None or model.stirred(shape) or not one.judged < vm.entry.order:
            assert verdict is None
        elif self.now < one.at + PACE.retry:
            assert verdict is not None
        if verdict is not None:
            assert one is not None
            assert (verdict.causes, verdict.note) == (one.causes, one.note)
            if model.lands(vm):
                self.enter(vm, shape)
        model.close_empty()
        return verdict is not None

    def enter(self, vm: Vm, shape: str) -> None:
        """Without a verdict of its own."""
        own = vm.shape == shape
        self.model.end_trial(vm)
        vm.state, vm.shape = State.PARKED, shape
        if own:
            self.model.shapes[shape].ready = True

    @precondition(flies)
    @rule(draw=st.integers(0, 5), shape=SHAPES, verdict=VERDICTS)
    def park(self, draw: int, shape: str, verdict: Verdict[str]) -> None:
        self.rejected(self.in_flight(draw), shape, verdict)

    def rejected(self, vm: Vm, shape: str, verdict: Verdict[str]) -> None:
        model = self.model
        self.queue.park(vm.entry.key, shape, verdict, self.now)
        if model.lands(vm):
            members = model.members(shape)
            if members and members[0].entry.order < vm.entry.order:
                self.enter(vm, shape)
            else:
                if vm.shape != shape:
                    model.end_trial(vm)
                vm.state, vm.shape = State.PARKED, shape
                model.shapes[shape] = Shape(verdict.causes, verdict.note, vm.entry.order, vm.seen, self.now)
        model.close_empty()

    @precondition(flies)
    @rule(draw=st.integers(0, 5), shape=SHAPES)
    def placed(self, draw: int, shape: str) -> None:
        vm, model = self.in_flight(draw), self.model
        self.queue.placed(vm.entry.key, shape, self.now)
        model.end_trial(vm)
        if shape in model.shapes and model.trial(shape) is None:
            model.shapes[shape].ready = True
        model.close_empty()

    @precondition(flies)
    @rule(draw=st.integers(0, 5))
    def done(self, draw: int) -> None:
        vm, model = self.in_flight(draw), self.model
        self.queue.done(vm.entry.key, self.now)
        vm.forced = True
        if model.lands(vm):
            model.end_trial(vm)
            del model.vms[vm.entry.key]
        model.close_empty()

    @precondition(flies)
    @rule(draw=st.integers(0, 5), delay=st.sampled_from([0.5, 5.0]))
    def back_off(self, draw: int, delay: float) -> None:
        vm, model = self.in_flight(draw), self.model
        self.queue.back_off(vm.entry.key, delay, self.now)
        if model.lands(vm):
            model.end_trial(vm)
            vm.state, vm.until = State.BACKOFF, self.now + delay
        model.close_empty()

    @rule()
    def tell(self) -> None:
        model = self.model
        told = self.queue.untold(self.now)
        assert len({entry.key for entry, _ in told}) == len(told)
        for entry, note in told:
            vm = model.vms[entry.key]
            assert vm.state is State.PARKED
            assert vm.entry == entry
            assert vm.shape is not None
            assert note == model.shapes[vm.shape].note
            assert vm.told_at + PACE.retell <= self.now
            vm.told_at = self.now
        assert all(vm.told_at > -inf for vm in model.vms.values() if vm.state is State.PARKED)

    @invariant()
    def everybody_is_where_the_model_says(self) -> None:
        vms = self.model.vms
        assert len(self.queue) == len(vms)
        for key, vm in vms.items():
            assert self.queue.state(key) is vm.state
        for state, size in self.queue.sizes().items():
            assert size == sum(vm.state is state for vm in vms.values())
        assert self.queue.shapes == len(self.model.shapes)
        for shape in "xyz":
            assert self.queue.parked(shape) == len(self.model.members(shape))

    @invariant()
    def whoever_waits_for_time_alone_is_known_to(self) -> None:
        due = self.queue.next_time(self.now)
        if any(vm.state is not State.IN_FLIGHT for vm in self.model.vms.values()):
            shapes = {vm.shape for vm in self.model.vms.values() if vm.state is State.PARKED}
            idle = all(self.model.trial(shape) is not None for shape in shapes if shape)
            others = any(vm.state in (State.ACTIVE, State.BACKOFF) for vm in self.model.vms.values())
            assert due is not None or (idle and not others)
        assert due is None or due >= self.now


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
