"""What can go wrong while a cluster is made, with what to do about it in the message."""

from pathlib import Path


class DevError(Exception):
    """A development cluster, or a part of it, could not be made or used."""


class CommandError(DevError):
    """A program that was run to its end failed; the message carries what it wrote."""


class PartFailedError(DevError):
    """A long-running part of the cluster died or did not become ready in time.

    The message ends with the last lines of the part's log, since whoever reads it wants these first.
    """

    def __init__(self, part: str, reason: str, log: Path, *, tail_lines: int = 15) -> None:
        self.part = part
        self.log = log
        lines = log.read_text(errors="replace").splitlines()[-tail_lines:] if log.exists() else ["(no log)"]
        shown = "\n".join(f"    {line[:400]}" for line in lines)
        super().__init__(f"{part}: {reason}\n{shown}\n  the whole log: {log}")
