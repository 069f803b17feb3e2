"""Saying on parked VMs why they wait, beside the work and never before it."""

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from berth_api import logs
from berth_api.client import ApiError, Conflict
from berth_api.virtualmachines import Phase, VirtualMachine
from berth_operator.controllers.aims import Aim, is_bound
from berth_operator.controllers.binding import Binding
from berth_operator.leases import Leadership, NotLeadingError
from berth_operator.scheduling.entries import Entry
from berth_operator.scheduling.queue import SchedulingQueue

_LOGGER = logging.getLogger(__name__)
_TRIES = 3
UNSCHEDULABLE = Aim.BERTH.value


@dataclass(frozen=True)
class Note:
    """What is told of a rejection, and the filters that it comes from, with the nodes that each turned down."""

    reason: str
    message: str
    filters: tuple[tuple[str, int], ...] = ()


class Telling:
    """Tells one VM after the other; several of `run` may run at a time.

    Args:
        queue: The queue of the present term.
        current: The VM as it is now, if it still wants a berth.
    """

    def __init__(
        self,
        binding: Binding,
        queue: Callable[[], SchedulingQueue[Hashable, Note]],
        current: Callable[[Entry], VirtualMachine | None],
        clock: Callable[[], float],
    ) -> None:
        self._binding, self._queue, self._current, self._clock = binding, queue, current, clock
        self._due = asyncio.Event()

    def wake(self) -> None:
        """There may be something to tell."""
        self._due.set()

    async def run(self, leadership: Leadership) -> None:
        """Tell until cancelled."""
        while True:
            told = self._queue().untold(self._clock(), 1)
            if not told:
                self._due.clear()
                await self._due.wait()
            for entry, note in told:
                await self._tell(entry, note, leadership)

    async def _tell(self, entry: Entry, note: Note, leadership: Leadership) -> None:
        with logs.tagged(vm="/".join(entry.key), uid=entry.uid):
            await self._tell_or_say(entry, note, leadership)

    async def _tell_or_say(self, entry: Entry, note: Note, leadership: Leadership) -> None:
        try:
            told = await self._try(entry, note, leadership)
        except (ApiError, NotLeadingError) as error:
            _LOGGER.warning("%s: could not be told why it waits: %s", "/".join(entry.key), error)
            told = False
        except Exception:
            _LOGGER.exception("%s: a bug in telling why it waits; trying again later", "/".join(entry.key))
            told = False
        if not told:
            self._queue().tell_again(entry.key)  # it counts as told; should it come back, it was not

    async def _try(self, entry: Entry, note: Note, leadership: Leadership) -> bool:
        """Whoever changed a VM that runs made its agent write, too, just when there is something to tell."""
        for _ in range(_TRIES):
            vm = self._current(entry)
            if vm is None:
                return False
            try:
                await self._say(vm, note, leadership)
            except Conflict:
                await self._binding.refresh(vm)
            else:
                return True
        return False

    async def _say(self, vm: VirtualMachine, note: Note, leadership: Leadership) -> None:
        if is_bound(vm):
            await self._binding.explain_bound(vm, note.reason, note.message, leadership)
            return
        phase: Phase = "Unschedulable" if note.reason == UNSCHEDULABLE else "Pending"
        await self._binding.explain(vm, note.reason, note.message, leadership, phase)
