"""Which guest a VM goes on with: of another cluster, or of before a restore. See decision 0012."""

from berth_api.virtualmachines import VirtualMachine


def former_uid(vm: VirtualMachine) -> str:
    """UID under which the node knows the guest that goes on as this VM; empty where there is none."""
    claim = vm.status.claim
    if claim is None or vm.has_foreign_claim or claim.adopts == vm.metadata.uid:
        return ""
    return claim.adopts or ""


def machine_id(vm: VirtualMachine, domain_uuid: str | None) -> str:
    """What the guest knows itself by, from its first start on: its own UID, or of an adopted guest the former one.

    Args:
        vm: The VM.
        domain_uuid: UUID of its domain, if it has one: that of the first start, however often a guest was adopted.
    """
    former = former_uid(vm)
    if not former:
        return vm.metadata.uid
    return former if vm.spec.firmware.uuid or not domain_uuid else domain_uuid
