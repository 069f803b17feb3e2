"""Nodes whose accelerator can do what the VM asks: only KVM can pass the host's CPU through.

Source: libvirt, "CPU model and topology": host-passthrough needs KVM.
"""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes under KVM, where that is needed."""
    return snapshot.accelerated if request.requirements.cpu_model == "host-passthrough" else None


FILTER = Filter("Accelerator", keep, "lacks KVM for host-passthrough", "lack KVM for host-passthrough", lasting=True)
