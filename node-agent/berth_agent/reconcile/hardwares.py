"""The hardware that an object asks for now, as far as it can be said without touching the node."""

from berth_agent.cluster_view import ReferenceMissing
from berth_agent.domain.hardware import parts_of
from berth_agent.reconcile.plan.covering import uncovered_amounts
from berth_agent.reconcile.plan.differences import Hardware
from berth_agent.reconcile.plan.hardware import machine_type
from berth_agent.reconcile.rounds import Tools
from berth_api.quantities import to_bytes
from berth_api.virtualmachines import VirtualMachine


def hardware_of(tools: Tools, vm: VirtualMachine) -> Hardware | None:
    """What the guest should have; None while its class is not there, or without a claim."""
    try:
        cpu, memory = tools.view.size(vm)
    except ReferenceMissing:
        return None
    claim = vm.status.claim
    if claim is None:
        return None
    host = tools.facts.capabilities
    size = to_bytes(memory.size)
    lacking = uncovered_amounts(vm, claim, cpus=cpu.count, memory=size, accelerator=host.accelerator)
    machine = machine_type(vm, host.default_machine_type)
    covered = lacking is None and vm.status.admitted_claim == claim.id
    return Hardware(cpu.count, size, parts_of(vm.spec, cpu, memory, machine), covered)
