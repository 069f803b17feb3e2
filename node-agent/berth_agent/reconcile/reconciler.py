"""One VM's round: observe, plan, act, report.

Rounds of one VM never overlap (the work queue sees to it); rounds of different VMs run side by side. A round holds no
state that matters: killed at any point, the next one continues from what it observes. Two things come from outside
while a round runs: a delete, which interrupts a step that may take long, and the loss of libvirt or the API server,
which fails the step and is tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from re import compile as regex
from time import perf_counter

import structlog

from berth_agent.reconcile.handovers import is_adopted, is_foreign
from berth_agent.reconcile.hardwares import hardware_of
from berth_agent.reconcile.holds import Holds
from berth_agent.reconcile.observe import observe, observe_remains
from berth_agent.reconcile.ownership import bound_elsewhere_or_gone
from berth_agent.reconcile.places import Places
from berth_agent.reconcile.plan.desired import Desired, Goal, desired_of
from berth_agent.reconcile.plan.histories import brought_up
from berth_agent.reconcile.plan.observed import Observed
from berth_agent.reconcile.plan.planning import plan
from berth_agent.reconcile.plan.reports import agents_part, status_of
from berth_agent.reconcile.plan.situations import Answers, Failure, Situation
from berth_agent.reconcile.plan.steps import ShutdownDomain, StartDomain, Step
from berth_agent.reconcile.ports import Aside, Chronicle, NoChronicle, stay
from berth_agent.reconcile.rounds import LOOK_ERRORS, STEP_ERRORS, ClaimRefused, Owner, Round, Tools
from berth_agent.reconcile.steps import act as take_step
from berth_agent.reconcile.turns import Turn
from berth_api.fields import AGENT
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import VirtualMachine
from berth_api.workqueues import TryLater

log = structlog.get_logger()
Act = Callable[[Step, Round], Awaitable[None]]
"""Takes one step."""


_LOOK_AGAIN_AFTER_DOUBT = 10.0
"""Seconds until a VM is looked at again whose object the watch has lost but the API server still has."""


_REASON = regex(r"[A-Za-z]([A-Za-z0-9_]{0,126}[A-Za-z0-9])?")
"""What a condition takes for a reason; an API error has what the server or a proxy before it said."""
_ASK_AGAIN = 60.0
"""Seconds until a node that had no room for more of a running guest is asked again."""


def _is_being_cancelled() -> bool:
    """Whether it is the round itself that is cancelled, as when the agent ends, and not just one of its steps."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _now() -> datetime:
    """Now, in whole seconds, as the API's times are."""
    return datetime.now(UTC).replace(microsecond=0)


class Interrupted(Exception):
    """The VM should not be what this round was making it. Look again at once."""


class RemainsError(TryLater):
    """Something of a VM that does not belong here could not be taken down yet."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.step.name}: {failure.message}")


@dataclass
class _Running:
    """A round under way, so that it can be interrupted."""

    goal: Goal
    observed: Observed
    task: "asyncio.Task[None] | None" = None
    interrupted: bool = False


@dataclass
class _Stop:
    """A graceful stop under way."""

    destroy_at: datetime
    asked_at: datetime | None = None


def _raise_if_interrupted(running: _Running) -> None:
    """What was cancelled is what the round was waiting for, and not the round itself.

    Raises:
        Interrupted: so it is.
    """
    if running.interrupted and not _is_being_cancelled():
        raise Interrupted from None


def _state(observed: Observed) -> tuple[object, ...]:
    """What of a guest makes another look worthwhile although something has just failed."""
    return observed.power, observed.live, observed.ready


async def _let_end(work: Round) -> None:
    """Two reports must not cross: one that a step has begun is over before the round writes another, or ends."""
    if work.answering is not None:
        answering, work.answering = work.answering, None
        await asyncio.wait([answering])
        if not answering.cancelled() and answering.exception() is not None:
            log.info("an answer was not written", **work.owner.fields, error=str(answering.exception()))


def _no(work: Round, refused: ClaimRefused) -> Answers:
    """How a claim is refused: a VM that has nothing here goes elsewhere, one with disks here stays, off."""
    if work.observed.nothing:
        return replace(work.answers, refused=refused.claim_id, refusal=str(refused))
    return replace(work.answers, stopped=refused.claim_id, refusal=str(refused))


class Reconciler:
    """Brings the VMs of this node to what their objects say."""

    def __init__(
        self,
        tools: Tools,
        holds: Holds,
        *,
        now: Callable[[], datetime] = _now,
        act: Act = take_step,
        chronicle: Chronicle | None = None,
        aside: Aside = stay,
    ) -> None:
        self._tools = tools
        self._take_step = act
        self._chronicle = chronicle or NoChronicle()
        self._places = Places(aside)
        self._holds = holds
        self._now = now
        self._running: dict[str, _Running] = {}
        self._stops: dict[str, _Stop] = {}

    async def reconcile(self, owner: Owner) -> float | None:
        """Do one round for the VM; returns the seconds after which to look again, None to wait for an event.

        Raises:
            ApiError: the API server gave no answer, or did not take the report.
            TryLater: the VM could not be looked at, and nothing was changed; or its remains could not be taken down.
        """
        begun, outcome = perf_counter(), "failed"
        try:
            again = await self._look_at(owner)
        except Interrupted:
            outcome = "interrupted"
            return 0.0
        except LOOK_ERRORS as error:
            log.warning("VM cannot be looked at", **owner.fields, reason=type(error).__name__, error=str(error))
            raise TryLater(str(error)) from error
        else:
            outcome = "done"
            return again
        finally:
            self._chronicle.round(perf_counter() - begun, outcome)

    async def _look_at(self, owner: Owner) -> float | None:
        vm = self._tools.view.vm(owner.uid)
        if vm is None:
            return await self._purge(owner)
        self._chronicle.saw(vm)
        return await self._reconcile(vm)

    async def _reconcile(self, vm: VirtualMachine) -> float | None:
        claim = vm.status.claim
        if claim is None or claim.id in (vm.status.refused_claim, vm.status.released_claim):
            return None
        if vm.has_foreign_claim:  # it comes from a back-up of another object, and the operator will take it away
            log.info("a claim for another object counts for nothing", **Owner.of(vm).fields, of=claim.machine_uid)
            return None
        observed = self._look_out(vm, await observe(self._tools, vm))
        held = 0.0 if self._is_overdue(vm.metadata.uid) else self._holds.remaining(vm, state=_state(observed))
        return held or await self._round(vm, observed)

    def _is_overdue(self, uid: str) -> bool:
        """Whether a guest's grace is over: what failed before must not keep the plug from being pulled."""
        return uid in self._stops and self._grace_left(uid) == 0.0

    def _grace_left(self, uid: str) -> float:
        """Seconds that a guest which was asked to stop still has; 0 where there are none, or none was asked."""
        stop = self._stops.get(uid)
        return max(0.0, (stop.destroy_at - self._now()).total_seconds()) if stop is not None else 0.0

    def outdated(self, owner: Owner) -> None:
        """Interrupt what is being made for a VM that should not be made any more. Delete always wins."""
        running = self._running.get(owner.uid)
        if running is None or not running.goal.is_making:
            return
        vm = self._tools.view.vm(owner.uid)
        if vm is not None and self._desired(vm, running.observed).goal.is_making:
            return
        running.interrupted = True
        if running.task is not None:
            running.task.cancel()

    def is_apart(self, owner: Owner) -> bool:
        """Whether it is another cluster's guest, of which the node tells."""
        return any(remains.owner.uid == owner.uid for remains in self._tools.facts.remains)

    def changed(self, owner: Owner) -> None:
        """Something that the VM refers to has changed: what failed may succeed now."""
        self._holds.lift(owner.uid)

    async def _round(self, vm: VirtualMachine, observed: Observed) -> float | None:
        desired = self._with_grace(vm, self._desired(vm, observed), observed)
        to_do = plan(desired, observed, self._now())
        work = Round.of_vm(vm, desired, observed, self._tools, self.report)
        failure = await self._act(work, to_do.steps)
        if failure is None and any(isinstance(step, ShutdownDomain) for step in to_do.steps):
            self._stops[vm.metadata.uid].asked_at = self._now()
        if work.answers.released is not None and failure is None:
            self._tools.lookout.forget(vm.metadata.uid)
            return None
        if to_do.steps:
            work.observed = self._look_out(vm, await observe(self._tools, vm))
        await self.report(work, failure)
        if work.answers.stopped is not None and vm.status.claim is not None:
            self._tools.admissions.rest(vm.metadata.uid, vm.status.claim)
        if failure is not None:
            wait = self._holds.hold(vm, retryable=failure.retryable, state=_state(work.observed))
            return min(wait, self._grace_left(vm.metadata.uid) or wait)
        self._holds.forget(vm.metadata.uid)
        if work.answers.refusal and work.observed.power.is_active:
            return 0.0 if work.answers.stopped is not None else _ASK_AGAIN
        return to_do.look_again_after.total_seconds() if to_do.look_again_after is not None else None

    def _look_out(self, vm: VirtualMachine, observed: Observed) -> Observed:
        """See that a running guest is asked how it is, and add what it has said: a probe begins by saying no."""
        if not observed.power.is_active:
            self._tools.lookout.forget(vm.metadata.uid)
            return observed
        self._tools.lookout.watch(vm, observed)
        return self._tools.lookout.add(vm.metadata.uid, observed)

    def _desired(self, vm: VirtualMachine, observed: Observed) -> Desired:
        lived = brought_up(vm, observed, self._now())
        return desired_of(lived, observed, hardware_of(self._tools, vm))

    async def _purge(self, owner: Owner) -> float | None:
        """Take down what is left of a VM, once the API server itself says that it does not belong here."""
        if is_adopted(self._tools, owner.uid) or await is_foreign(self._tools, owner.uid):
            return None
        if not await bound_elsewhere_or_gone(self._tools.api, node=self._tools.node_name, owner=owner):
            return _LOOK_AGAIN_AFTER_DOUBT
        work = Round.of_nobody(owner, await observe_remains(self._tools, owner.uid), self._tools, self.report)
        failure = await self._act(work, plan(work.desired, work.observed, self._now()).steps)
        if failure is not None:
            raise RemainsError(failure)
        await self._tools.origins.forget(owner.uid)
        self._tools.lookout.forget(owner.uid)
        self._chronicle.forget(owner.uid)
        self._tools.admissions.release(owner.uid)
        self._holds.forget(owner.uid)
        self._stops.pop(owner.uid, None)
        return None

    def _with_grace(self, vm: VirtualMachine, desired: Desired, observed: Observed) -> Desired:
        """Give a stop that nobody has dated (a delete has its own date) the VM's grace, from the first time it is seen.

        An agent that is started anew begins the grace again: later, never earlier.
        """
        uid = vm.metadata.uid
        if not desired.goal.is_stopping or not observed.power.is_active:
            self._stops.pop(uid, None)
            return desired
        grace = timedelta(seconds=vm.spec.termination_grace_period_seconds)
        stop = self._stops.setdefault(uid, _Stop(desired.destroy_at or self._now() + grace))
        return desired.stopping(destroy_at=desired.destroy_at or stop.destroy_at, asked_at=stop.asked_at)

    async def _act(self, work: Round, steps: tuple[Step, ...]) -> Failure | None:
        """Take the steps in order; the first that fails ends the round."""
        running = self._running[work.owner.uid] = _Running(work.desired.goal, work.observed)
        try:
            with self._turn_of(steps) as turn:
                for step in steps:
                    if turn is not None and isinstance(step, StartDomain):
                        await self._let_others_go_first(turn, running)
                    failure = await self._take(work, step, running)
                    if failure is not None:
                        return failure
            await work.answered()
        except ClaimRefused as refused:
            work.answers = _no(work, refused)
        finally:
            del self._running[work.owner.uid]
            await _let_end(work)
        return None

    def _turn_of(self, steps: tuple[Step, ...]) -> AbstractContextManager[Turn | None]:
        """The turn of a VM that is prepared and started by these steps; others take none."""
        if any(isinstance(step, StartDomain) for step in steps):
            return self._tools.turns.preparing()
        return nullcontext()

    async def _let_others_go_first(self, turn: Turn, running: _Running) -> None:
        """Wait for the turn, without a place in the queue; a delete does not wait for it."""
        if turn.prepared():
            return
        waiting = running.task = asyncio.create_task(turn.come(), name="turn")
        try:
            async with self._places.lent(within=self._tools.turns.patience):
                await waiting
        except asyncio.CancelledError:
            _raise_if_interrupted(running)
            raise
        finally:
            running.task = None

    async def _take(self, work: Round, step: Step, running: _Running) -> Failure | None:
        if running.interrupted:
            raise Interrupted
        async with self._places.during(step):
            begun = perf_counter()
            task = asyncio.ensure_future(self._take_step(step, work))
            running.task = task if step.interruptible else None
            try:
                failure = await self._outcome(step, task)
            except asyncio.CancelledError:
                _raise_if_interrupted(running)
                raise
            finally:
                running.task = None
            seconds = perf_counter() - begun
        if failure is None:
            log.info("step done", **work.owner.fields, step=step.name, seconds=round(seconds, 3))
        else:
            log.warning(
                "step failed", **work.owner.fields, step=step.name, reason=failure.reason, error=failure.message
            )
        self._chronicle.step(step, seconds, failure)
        return failure

    async def _outcome(self, step: Step, task: "asyncio.Future[None]") -> Failure | None:
        """Wait for the step, its deadline at most."""
        try:
            async with asyncio.timeout(step.deadline):
                await task
        except STEP_ERRORS as error:
            reason = error.reason if _REASON.fullmatch(error.reason) else type(error).__name__
            return Failure(step, reason, str(error), error.retryable)
        except TimeoutError:
            late = f"{step.name} took longer than {step.deadline:g} s"
            return Failure(step, "DeadlineExceeded", late, retryable=True)
        return None

    async def report(self, work: Round, failure: Failure | None = None) -> None:
        """Write the agent's part of the status, if it says anything new.

        Raises:
            ApiError: it could not be written. The round is done again, and so is the report.
        """
        vm = self._tools.view.vm(work.owner.uid) or work.vm
        now = self._now()
        situation = Situation(
            vm, work.desired, work.observed, work.answers, failure, work.vm.metadata.generation, work.desired.waits(now)
        )
        status = status_of(situation, now)
        if status == agents_part(vm):
            return
        namespace, name = vm.key
        body = {"metadata": {"uid": vm.metadata.uid}, "status": status}
        written = await self._tools.api.apply(
            VIRTUAL_MACHINE, name, namespace, body, field_manager=AGENT, subresource="status"
        )
        self._chronicle.reported(vm, status, failure)
        work.take_in(written)
