"""Whether a VM should run, by its run strategy and what became of its last guest.

One definition for both parts: the operator claims CPU and memory for a stopped VM just when the agent would start it.
What each strategy does when a guest ends is the table in docs/lifecycle.md.
"""

from berth_api.virtualmachines import VirtualMachine


def restart_pending(vm: VirtualMachine) -> bool:
    """Whether `restartedAt` asks for a restart that no start has honoured yet. Before the first start there is none."""
    wanted, status = vm.spec.restarted_at, vm.status
    return wanted is not None and status.started_at is not None and wanted != status.restarted_at


def gave_back(vm: VirtualMachine) -> bool:
    """Whether the CPU and memory of the VM's claim are free: whatever runs without another claim must not."""
    claim = vm.status.claim
    return claim is not None and claim.id == vm.status.stopped_claim


def should_run(vm: VirtualMachine) -> bool:
    """Whether there should be a guest. A guest that has ended counts as what its status says: see `endReason`."""
    status = vm.status
    if vm.metadata.deletion_timestamp is not None or vm.spec.run_strategy == "Halted":
        return False
    if status.ended_at is None or status.end_reason == "Stopped" or restart_pending(vm):
        return True
    match vm.spec.run_strategy:
        case "RerunOnFailure":
            return status.end_reason != "PoweredOff"
        case "Once":
            return False
        case _:
            return True
