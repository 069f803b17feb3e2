"""Guests are started when the VMs beside them are prepared, so that no booting guest keeps a VM from its preparation.

Where many VMs come to a node at once, each guest that boots takes the processors from the VMs whose disks and NICs are
still being made, and these take many times longer. Preparing a VM takes a tenth of a second, its boot many: so whoever
is prepared lets those go first who are not, and all of them run sooner.

Nobody waits for long: not for a preparation that takes its time (an image that has to be fetched), and no VM longer
than `PATIENCE` in all. A preparation that ends in any way (prepared, failed, cancelled) is over; a VM that is alone
never waits. Time is the event loop's.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PATIENCE = 2.0
"""Seconds that a VM waits at most, and after which a preparation is no longer waited for."""


class Turns:
    """The turns of one node's VMs.

    Args:
        patience: Seconds, see `PATIENCE`.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._preparing: dict[Turn, asyncio.TimerHandle] = {}
        self._all_prepared = asyncio.Event()
        self._all_prepared.set()

    @contextmanager
    def preparing(self) -> "Iterator[Turn]":
        """Enter it around the preparation of a VM and the start of its guest."""
        turn = Turn(self)
        self._preparing[turn] = asyncio.get_running_loop().call_later(self.patience, self.leave, turn)
        self._all_prepared.clear()
        try:
            yield turn
        finally:
            self.leave(turn)

    @property
    def are_all_prepared(self) -> bool:
        """Whether nobody is waited for."""
        return self._all_prepared.is_set()

    def leave(self, turn: "Turn") -> None:
        """Nobody waits for this one any more."""
        timer = self._preparing.pop(turn, None)
        if timer is None:
            return
        timer.cancel()
        if not self._preparing:
            self._all_prepared.set()

    async def until_all_are_prepared(self) -> None:
        """Return when nobody is waited for, or patience is at its end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                await self._all_prepared.wait()


class Turn:
    """The turn of one VM, from when its preparation begins."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def prepared(self) -> bool:
        """Say that this VM is prepared; returns whether its guest may be started at once."""
        self._turns.leave(self)
        return self._turns.are_all_prepared

    async def come(self) -> None:
        """Return when the guest may be started."""
        await self._turns.until_all_are_prepared()
