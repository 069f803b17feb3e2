"""What a VM wants of the scheduler, as it is now: a node, its CPU and memory again, another size; or nothing.

Level-based: whoever asks again gets the present answer, so a wish that its user took back is gone at once.
"""

from collections.abc import Callable, Iterable
from enum import Enum

from berth_api.hypervisors import HypervisorRemains
from berth_api.running import should_run
from berth_api.virtualmachines import VirtualMachine
from berth_operator.cluster import Cluster
from berth_operator.controllers.needs import differs, needed
from berth_operator.controllers.references import Unbindable, size_of
from berth_operator.controllers.remains import is_held
from berth_operator.store import Key

START_PENDING, RESIZE_PENDING = "StartPending", "ResizePending"


class Aim(Enum):
    """What a VM wants. The value: the reason of its condition Scheduled while it waits."""

    BERTH = "Unschedulable"
    """A node, and a claim on it."""
    START = START_PENDING
    """It is stopped and shall run: its CPU and memory, on the node that it is bound to."""
    RESIZE = RESIZE_PENDING
    """Its spec asks for more, or by now for less, than its claim has."""

    @property
    def stays(self) -> bool:
        """The VM is bound: no other node will do."""
        return self is not Aim.BERTH


def wants_berth(vm: VirtualMachine) -> bool:
    """Whether a VM is to be given a node: it shall run, has none, and nobody deletes it."""
    if vm.metadata.deletion_timestamp is not None or vm.spec.run_strategy == "Halted":
        return False
    return not is_bound(vm)


def is_bound(vm: VirtualMachine) -> bool:
    """Whether the VM has a node, which has not refused it."""
    claim = vm.status.claim
    if claim is None or vm.has_foreign_claim:
        return False
    return bool(vm.status.node_name) and vm.status.refused_claim != claim.id


def start_was_refused(vm: VirtualMachine) -> bool:
    """Whether the node's agent did not take the claim under which the VM was to start."""
    claim, ready = vm.status.claim, vm.status.condition("Ready")
    refused = ready is not None and ready.reason == "ClaimRefused"
    return claim is not None and vm.status.stopped_claim == claim.id and refused


class Aims:
    """Says what VMs want.

    Args:
        accelerator: Of a node; None where the node is not known.
        lost: Whether a node is lost: nothing is decided about what is bound to it.
        remains: Guests of a VM's name that nodes hold and no VM accounts for.
    """

    def __init__(
        self,
        cluster: Cluster,
        accelerator: Callable[[str], str | None],
        lost: Callable[[str], bool],
        remains: Callable[[Key], Iterable[tuple[str, HypervisorRemains]]] = lambda _key: (),
    ) -> None:
        self._cluster, self._accelerator, self._lost, self._remains = cluster, accelerator, lost, remains

    def of(self, vm: VirtualMachine) -> Aim | None:
        """What the VM wants; None: nothing."""
        gone = vm.metadata.deletion_timestamp is not None
        if wants_berth(vm) or (not gone and not is_bound(vm) and is_held(vm, self._remains(vm.key))):
            return Aim.BERTH  # one that is Halted has disks where its guest is, as if it had been stopped there
        claim = vm.status.claim
        if claim is None or gone or not is_bound(vm) or self._lost(vm.status.node_name or ""):
            return None
        if vm.status.stopped_claim == claim.id:
            return Aim.START if should_run(vm) else None
        return Aim.RESIZE if self._wants_resize(vm) else None

    def _wants_resize(self, vm: VirtualMachine) -> bool:
        claim, accelerator = vm.status.claim, self._accelerator(vm.status.node_name or "")
        answered = vm.status.admitted_claim is not None  # until then the agent refuses what the spec outgrew
        if claim is None or not accelerator or not answered or vm.spec.run_strategy == "Halted":
            return False
        try:
            cpu, memory = size_of(vm, self._cluster)
        except Unbindable:  # without its class nothing can be said of it, and the guest goes on
            return False
        return differs(vm, claim, needed(vm, cpu, memory, accelerator))
