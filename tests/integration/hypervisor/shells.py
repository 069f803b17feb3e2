"""A root shell on a guest's console, from Debian's kernel and root disk without anything else of Debian's started.

The kernel is loaded by QEMU itself: it is there in seconds, where the whole system takes minutes under TCG.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.hypervisor.listeners import until

from berth_agent.domain.requests import DirectKernel, DomainRequest

_COMMAND_LINE = "console=ttyS0 quiet root=/dev/vda1 init=/bin/sh cryptomgr.notests mitigations=off"
_SECTOR = 512
_DEADLINE = 60


@dataclass(frozen=True)
class DebianBoot:
    """What a guest with a shell boots from."""

    image: Path
    kernel: DirectKernel


def extract(image: Path, folder: Path) -> DebianBoot:
    """Take kernel and initrd out of the image of a Debian disk."""
    raw = folder / "debian.raw"
    _run("qemu-img", "convert", "-O", "raw", str(image), str(raw))
    table = json.loads(_run("sfdisk", "--json", str(raw)))["partitiontable"]
    file_system = f"{raw}?offset={table['partitions'][0]['start'] * _SECTOR}"
    listing = _run("debugfs", "-R", "ls -p /boot", file_system)
    names = [line.split("/")[5] for line in listing.splitlines() if line.startswith("/")]
    paths = []
    for kind in ("vmlinuz-", "initrd.img-"):
        name = next(name for name in names if name.startswith(kind))
        _run("debugfs", "-R", f"dump /boot/{name} {folder / name}", file_system)
        paths.append(str(folder / name))
    raw.unlink()
    return DebianBoot(image, DirectKernel(path=paths[0], initrd_path=paths[1], command_line=_COMMAND_LINE))


class Shell:
    """The guest's console, spoken to."""

    def __init__(self, request: DomainRequest, descriptor: int) -> None:
        self._log = Path(request.console_log_path)
        self._descriptor = descriptor
        self._said = 0

    async def ready(self) -> None:
        """Wait for the prompt, and make the guest look like one."""
        await until(lambda: "# " in self._text(), "the guest's shell prompts")
        await self.run("mount -t proc proc /proc; mount -t sysfs sys /sys 2>/dev/null")

    async def run(self, command: str) -> str:
        """What the guest prints upon a command."""
        self._said += 1
        start, mark = len(self._text()), f"end-of-{self._said}"
        self.send(f"{command}; echo end-of'-{self._said}'")
        await until(lambda: mark in self._text()[start:], f"the guest has done {command}")
        said = self._text()[start:].partition(mark)[0].splitlines()
        return "\n".join(line for line in said if f"echo end-of'-{self._said}'" not in line).strip()

    def send(self, line: str) -> None:
        """Give a command whose end nobody will hear of."""
        os.write(self._descriptor, f"{line}\n".encode())

    def _text(self) -> str:
        return self._log.read_text(errors="replace").replace("\r", "") if self._log.exists() else ""


@contextmanager
def open_shell(request: DomainRequest, console: str) -> Iterator[Shell]:
    """The shell of a guest that is being booted, on its console's pseudo terminal."""
    descriptor = os.open(console, os.O_RDWR | os.O_NOCTTY)
    try:
        yield Shell(request, descriptor)
    finally:
        os.close(descriptor)


def _run(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=_DEADLINE).stdout
