"""Nodes that have the firmware the VM boots with: EFI, and Secure Boot where it wants that. All have BIOS."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes that report it."""
    wanted = request.requirements.firmware
    if not wanted:
        return None
    return snapshot.firmware.where(lambda known: wanted <= (known or frozenset()))


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """The firmware in question."""
    return ", ".join(sorted(request.requirements.firmware))


FILTER = Filter("Firmware", keep, "lacks the firmware", "lack the firmware", detail, lasting=True)
