"""Pauses between the starts of a guest that keeps ending.

KubeVirt's figures: 10 s times the square of the failures, at most five minutes. Jitter comes from the VM itself and not
from chance, so that the same VM always waits as long after the same failure, whoever asks, and a plan stays pure.
Source: KubeVirt pkg/virt-controller/watch/vm, calculateStartBackoffTime.
"""

from datetime import datetime, timedelta
from zlib import crc32

from berth_api.virtualmachines import VirtualMachine

FIRST = 10.0
"""Seconds after the first failure."""
MOST = 300.0
"""Seconds at most."""
JITTER = 0.25
"""The largest share by which a pause is shortened, so that VMs that failed together do not start together."""


def pause(uid: str, failures: int) -> timedelta:
    """What to wait after so many failures in a row."""
    if failures <= 0:
        return timedelta()
    share = crc32(f"{uid}/{failures}".encode()) / 2**32
    return timedelta(seconds=min(MOST, FIRST * failures**2) * (1 - JITTER * share))


def next_start(vm: VirtualMachine) -> datetime | None:
    """When a guest that has ended may be started again; None: at once. `vm` is brought up to what is seen."""
    ended, reason = vm.status.ended_at, vm.status.end_reason
    if ended is None or reason in ("Stopped", "NodeRebooted"):
        return None
    return ended + pause(vm.metadata.uid, vm.status.failure_count or 0)
