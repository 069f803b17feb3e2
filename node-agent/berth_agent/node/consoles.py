"""The guests' consoles, as virtlogd writes them to files that it rotates."""

import asyncio
import os
from pathlib import Path

from berth_agent.storage.disk_names import is_uid

_OLD = 4
"""Rotated files that virtlogd may keep: its `max_backups` is 3 by default, counted from 0."""


class Consoles:
    """A log file a VM, named by its UID."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory, which only root may look into: consoles show secrets."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path_of(self, uid: str) -> Path:
        """Where the console of the VM is logged."""
        return self._directory / f"{uid}.log"

    async def delete(self, uid: str) -> None:
        """Delete the log and what was rotated out of it."""
        path = self.path_of(uid)
        files = [path, *(path.with_name(f"{path.name}.{number}") for number in range(_OLD))]
        await asyncio.to_thread(_unlink_all, files)

    def owners(self) -> frozenset[str]:
        """UIDs of the VMs that have a log here."""
        with os.scandir(self._directory) as entries:
            found = {entry.name.split(".log", 1)[0] for entry in entries if ".log" in entry.name}
        return frozenset(filter(is_uid, found))


def _unlink_all(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
