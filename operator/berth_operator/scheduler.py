"""The scheduler at work: it takes VMs from the queue in their order, decides one at a time, and writes side by side.

VMs that are bound and want their CPU and memory back, or another size, stand in the same queue, in the same order: what
comes free is given to whoever is first, wherever that one stands.

Decisions are made between two awaits, so each sees all earlier ones; writes take their time, many at once. A slot for
the write is taken *before* a VM is taken from the queue: what is decided is written at once, and whoever comes with a
higher priority while the API server is slow is next. What has to be read first (a Secret) is read in the slot, too.
Rejections are told by a task of their own, so that saying why never delays a binding.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from random import Random
from typing import Any

from berth_api import logs
from berth_api.client import ApiError, Conflict, NotFound, TooManyRequests
from berth_api.fields import ADOPT
from berth_api.virtualmachines import VirtualMachine
from berth_operator.cluster import Cluster
from berth_operator.controllers.aims import Aim, Aims, is_bound
from berth_operator.controllers.binding import Binding, needs_secret, unprepared
from berth_operator.controllers.deciding import Deciding, Decision, Wish
from berth_operator.controllers.references import Unbindable
from berth_operator.controllers.refusals import Pauses, Refusals
from berth_operator.controllers.reserving import Reserving
from berth_operator.controllers.telling import Note, Telling
from berth_operator.inventory import Inventory
from berth_operator.leases import Leadership, NotLeadingError
from berth_operator.metrics import Levels, Metrics
from berth_operator.pacing import Pacing
from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.entries import Entry, State
from berth_operator.scheduling.lines import Verdict
from berth_operator.scheduling.place import Rejection
from berth_operator.scheduling.profiles import DEFAULT
from berth_operator.scheduling.queue import SchedulingQueue
from berth_operator.scheduling.reservations import Reservations
from berth_operator.store import Key
from berth_operator.waiting import Aside, WaitingRoom
from berth_operator.writing import Writes

Work = Callable[[], Coroutine[Any, Any, None]]
"""What takes time. Not begun before its task is: a term may end in between."""
_LOGGER = logging.getLogger(__name__)
_TELLERS = 8
_SHORTEST_REST = 0.02
"""Seconds: something may be due that only a teller can do, and all of them are busy."""
_BUG = "a bug; trying again later, the others go on"
_ROOM = frozenset({Cure.CLAIM_FREED, Cure.NODE_CHANGED})


class Scheduler:
    """Gives VMs their nodes, for as long as `run` runs."""

    def __init__(
        self,
        cluster: Cluster,
        inventory: Inventory,
        deciding: Deciding,
        binding: Binding,
        *,
        aims: Aims,
        refusals: Refusals,
        pauses: Pauses,
        waiting: WaitingRoom,
        metrics: Metrics,
        clock: Callable[[], float],
        pacing: Pacing | None = None,
        random: Random | None = None,
    ) -> None:
        self._cluster, self._inventory = cluster, inventory
        self._deciding, self._binding = deciding, binding
        self._aims, self._refusals, self._pauses = aims, refusals, pauses
        self._waiting, self._metrics = waiting, metrics
        self._clock, self._pacing = clock, pacing or Pacing()
        self._random = random or Random()  # noqa: S311 - jitter, not secrecy
        self._failures: dict[Key, int] = {}
        self._since: dict[Key, float] = {}
        self._aside = Aside(waiting, self.retry, self._pacing.poll)
        self._stirred = asyncio.Event()
        self._telling = Telling(binding, lambda: self.queue, self._current, clock)
        self._open, self._went_on = False, clock()
        self.reset()

    def reset(self) -> None:
        """A new term begins with an empty queue."""
        reservations = Reservations(after=self._pacing.reserve_after, hold=self._pacing.reserve_hold)
        self.queue: SchedulingQueue[Hashable, Note] = SchedulingQueue(self._pacing.pace, reservations)
        self._reserving = Reserving(reservations, self.queue, self._cluster, self._deciding)
        self._aside.clear()
        self._failures.clear()
        self._since.clear()
        self._binding.reset()

    def open(self) -> None:
        """Take VMs from now on."""
        self._open, self._went_on = True, self._clock()

    def close(self) -> None:
        """Take no more, and forget all."""
        self._open = False
        self.reset()

    def want(self, vm: VirtualMachine) -> None:
        """A VM wants something; to be called whenever it is seen to."""
        if not self._open:
            return
        made = vm.metadata.creation_timestamp
        priority = self._cluster.priority(vm.spec.priority_class_name)
        status, labels = vm.status, (*sorted(vm.metadata.labels.items()), vm.metadata.annotations.get(ADOPT))
        claim = status.claim.id if status.claim is not None else None
        revision = (vm.metadata.generation, labels, claim, status.refused_claim, status.stopped_claim)
        entry = Entry(vm.key, vm.metadata.uid, priority or 0, made.timestamp() if made else 0.0, revision)
        if self._aside.holds(entry):
            return
        if vm.key in self._aside:
            self._aside.take(vm.key)
        now = self._clock()
        self._since.setdefault(vm.key, now)
        self.queue.add(entry, now)
        self._stirred.set()

    def leave(self, key: Key) -> None:
        """A VM is gone, or wants nothing any longer."""
        self._aside.take(key)
        self._since.pop(key, None)
        self._failures.pop(key, None)
        if key in self.queue:
            self.queue.remove(key, self._clock())

    def retry(self, key: Key) -> None:
        """Try a VM again at once: what it waits for has changed, or may have."""
        self._aside.take(key)
        namespace, name = key
        vm = self._cluster.machines.get(name, namespace)
        if key in self.queue:
            self.queue.retry(key)
        elif vm is not None and self._aims.of(vm) is not None:
            self.want(vm)
        self._stirred.set()

    def happened(self, cure: Cure) -> None:
        """Something took place that may help those who wait."""
        self.queue.happened(cure)
        self._stirred.set()

    @property
    def stalled(self) -> float:
        """Seconds for which nothing was taken from the queue although something is there to be decided."""
        return self._clock() - self._went_on if self._open and self.busy else 0.0

    @property
    def busy(self) -> bool:
        """Whether there is more to decide than is being written."""
        return self.queue.sizes()[State.ACTIVE] > 0

    def levels(self, claims: int) -> Levels:
        """How many VMs wait, where, and for what, beside so many claims."""
        parked: Counter[str] = Counter()
        for verdict, count in self.queue.waiting():
            parked.update({name: count for name, _ in verdict.note.filters} or {verdict.note.reason: count})
        sizes = self.queue.sizes()
        return Levels(queue=sizes, parked=parked, writes=sizes[State.IN_FLIGHT], claims=claims)

    async def run(self, leadership: Leadership) -> None:
        """Schedule until cancelled; then finish what is being written, where the leadership lasts."""
        writes = Writes(self._pacing.writes, self._clock)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._schedule(leadership, writes), name="schedule")
                for number in range(_TELLERS):
                    group.create_task(self._telling.run(leadership), name=f"tell {number}")
        finally:
            await writes.finish(leadership)

    async def _schedule(self, leadership: Leadership, writes: Writes) -> None:
        while True:
            self._went_on = self._clock()
            await writes.slot()
            self._reserve()
            entry = self.queue.pop(self._clock())
            if entry is None:
                writes.give_back()
                await self._rest()
                continue
            work = self._attempt(entry, leadership)
            if work is None:
                writes.give_back()
            else:
                writes.begin(work, f"bind {'/'.join(entry.key)}")
            await asyncio.sleep(0)

    async def _rest(self) -> None:
        """Until something happens or becomes due."""
        self._stirred.clear()
        now = self._clock()
        due = self.queue.next_time(now)
        try:
            async with asyncio.timeout(None if due is None else max(_SHORTEST_REST, due - now)):
                await self._stirred.wait()
        except TimeoutError:
            self._telling.wake()

    def _attempt(self, entry: Entry, leadership: Leadership) -> Coroutine[Any, Any, None] | None:
        """Decide about a VM. What is left to do takes time, or is nothing."""
        namespace, name = entry.key
        vm = self._cluster.machines.get(name, namespace)
        if vm is not None and self._binding.unsure(vm):
            return self._guarded(entry, vm, partial(self._clear_up, entry, vm, leadership))
        aim = self._aims.of(vm) if vm is not None else None
        if vm is None or aim is None:
            self.queue.done(entry.key, self._clock())
            return None
        if aim is Aim.START and (pause := self._pauses.left(entry.uid)):
            self.queue.back_off(entry.key, pause, self._clock())
            return None
        if unprepared(vm, aim):
            return self._guarded(entry, vm, partial(self._prepare_and_bind, entry, vm, leadership))
        try:
            decided = self._decide(entry, vm, None, leadership.epoch)
            work = self._follow(entry, vm, decided, leadership)
        except Exception:  # noqa: BLE001 - logged as a bug, and the others go on
            self._fail(entry, vm, _BUG, logging.ERROR, exc_info=True)
            return None
        return None if work is None else self._guarded(entry, vm, work)

    def _follow(
        self, entry: Entry, vm: VirtualMachine, decided: Decision | Unbindable | None, leadership: Leadership
    ) -> Work | None:
        """What is to be written after a decision."""
        if isinstance(decided, Unbindable):
            self._aside.put(entry, decided)
            return partial(self._say_why, entry, decided, leadership)
        return None if decided is None else partial(self._bind, entry, vm, decided, leadership)

    def _decide(
        self, entry: Entry, vm: VirtualMachine, user_data: bytes | None, epoch: int
    ) -> Decision | Unbindable | None:
        """A decision whose claim counts; what has to be told; or nothing: it is parked, or wants nothing any longer."""
        now, aim = self._clock(), self._aims.of(vm)
        if aim is None or (user_data is None and needs_secret(vm, aim)):
            if aim is not None:
                self.queue.retry(entry.key)  # it changed while something else was read: its Secret is to be read first
            self.queue.done(entry.key, now)
            return None
        try:
            wish = self._deciding.wish(vm)
            shape = _shape(vm, aim, wish)
            if self.queue.join(entry.key, shape, now) is not None:
                self._metrics.unschedulable(wish.profile.name, {})
                self._outlive_refusals(entry)
                self._telling.wake()
                return None
            if aim.stays:
                decision = self._deciding.decide_again(vm, wish, aim, user_data, epoch)
            else:
                decision = self._deciding.decide(vm, wish, user_data, epoch)
        except Unbindable as why:
            if not why.waits_for_room:
                return why
            note = Note(aim.value if aim.stays else why.reason, why.message)
            self._waiting.wait(entry.key, why.waits_for)
            self._park(entry, (entry.key, why.reason), Verdict(_ROOM, note, room=False))
            return None
        self._metrics.decided(self._clock() - now)
        if isinstance(decision, Rejection):
            note = Note(aim.value, decision.message, tuple(sorted(decision.by_filter.items())))
            self._metrics.unschedulable(wish.profile.name, decision.by_filter)
            self._park(entry, shape, Verdict(decision.cured_by, note, decision.room))
            self._outlive_refusals(entry)
            return None
        self.queue.placed(entry.key, shape, now)
        return decision

    def _outlive_refusals(self, entry: Entry) -> None:
        """Try a parked VM again when the first node that refused it may be asked once more."""
        again = self._refusals.until_over(entry.uid)
        if again is not None:
            self._aside.retry_later(entry.key, again)

    def _park(self, entry: Entry, shape: Hashable, verdict: Verdict[Note]) -> None:
        self._failures.pop(entry.key, None)
        self.queue.park(entry.key, shape, verdict, self._clock())
        self._telling.wake()

    async def _clear_up(self, entry: Entry, vm: VirtualMachine, leadership: Leadership) -> None:
        await self._binding.clear_up(vm, leadership)
        self.queue.retry(entry.key)
        self.queue.done(entry.key, self._clock())

    async def _prepare_and_bind(self, entry: Entry, vm: VirtualMachine, leadership: Leadership) -> None:
        decided: Decision | Unbindable | None
        try:
            user_data = await self._binding.prepare(vm, leadership, self._aims.of(vm) or Aim.BERTH)
        except Unbindable as why:
            decided = why
        else:
            current = self._current(entry)
            if current is None:
                self.queue.done(entry.key, self._clock())
                return
            vm, decided = current, self._decide(entry, current, user_data, leadership.epoch)
        work = self._follow(entry, vm, decided, leadership)
        if work is not None:
            await work()

    async def _bind(self, entry: Entry, vm: VirtualMachine, decision: Decision, leadership: Leadership) -> None:
        since = self._since.get(entry.key, self._clock())
        logs.tag(node=decision.node)
        try:
            await self._binding.write(vm, decision, leadership)
        except (Conflict, NotFound):
            self._metrics.conflicted()
            raise
        self._failures.pop(entry.key, None)
        self.queue.done(entry.key, self._clock())
        self.happened(Cure.CLAIM_ADDED)
        self._metrics.bound(_profile(vm), self._clock() - since)

    async def _say_why(self, entry: Entry, why: Unbindable, leadership: Leadership) -> None:
        current = self._current(entry)
        aim = self._aims.of(current) if current is not None else None
        if current is not None and aim is not None and is_bound(current):
            await self._binding.explain_bound(current, aim.value, why.message, leadership)
        elif current is not None:
            await self._binding.explain(current, why.reason, why.message, leadership)
        self._failures.pop(entry.key, None)
        self.queue.done(entry.key, self._clock())

    def _current(self, entry: Entry) -> VirtualMachine | None:
        """The VM as it is now, if it is still that one and still wants something."""
        namespace, name = entry.key
        vm = self._cluster.machines.get(name, namespace)
        return vm if vm is not None and vm.metadata.uid == entry.uid and self._aims.of(vm) is not None else None

    async def _guarded(self, entry: Entry, vm: VirtualMachine, work: Work) -> None:
        """Whatever fails is tried again after a pause; the others go on. To be run by a task of its own."""
        logs.tag(**logs.fields_of(vm))
        try:
            await work()
        except NotLeadingError as error:
            self._fail(entry, vm, f"{error}; another leader will see to it", logging.INFO)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._fail(entry, vm, "what it waited for was cancelled; trying again later", logging.WARNING)
        except (Conflict, NotFound) as changed:
            self._fail(entry, vm, f"{changed}; looking again", logging.DEBUG)
        except ApiError as error:
            self._metrics.failed(_profile(vm))
            level = logging.WARNING if error.retryable else logging.ERROR
            at_least = error.retry_after if isinstance(error, TooManyRequests) else 0.0
            self._fail(entry, vm, f"the API server: {error}", level, at_least=at_least)
        except Exception:  # noqa: BLE001 - logged as a bug, and the others go on
            self._fail(entry, vm, _BUG, logging.ERROR, exc_info=True)
        finally:
            self._stirred.set()  # whoever changed meanwhile is active from now on, and nobody else tells

    def _fail(
        self, entry: Entry, vm: VirtualMachine, why: str, level: int, *, at_least: float = 0.0, exc_info: bool = False
    ) -> None:
        with logs.tagged(**logs.fields_of(vm)):
            _LOGGER.log(level, "%s: %s", "/".join(vm.key), why, exc_info=exc_info)
        self._aside.forgive(entry.key)
        failures = self._failures[entry.key] = self._failures.get(entry.key, 0) + 1
        pause = max(at_least, self._pacing.backoff.pause(failures, self._random))
        if self.queue.state(entry.key) is State.IN_FLIGHT:
            self.queue.back_off(entry.key, pause, self._clock())
        if entry.key not in self.queue:
            del self._failures[entry.key]
            if self._binding.unsure(vm):
                self.queue.add(entry, self._clock())  # nobody else would find out whether it was written
        self._stirred.set()

    def _reserve(self) -> None:
        try:
            self._reserving.update(self._inventory.snapshot(), self._clock())
        except Exception:
            _LOGGER.exception("a bug in keeping room for VMs that wait; the others go on")


def _profile(vm: VirtualMachine) -> str:
    return vm.spec.scheduler_profile or DEFAULT


def _shape(vm: VirtualMachine, aim: Aim, wish: Wish) -> Hashable:
    """What makes VMs alike: what they ask for; but one that stays where it is, or where its guest is, has no like."""
    return (vm.metadata.uid, aim, wish.request) if aim.stays or wish.held is not None else wish.request
