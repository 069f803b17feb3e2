"""The agent's part of a VM's status, as a pure function of what was asked, seen, answered and gone wrong.

The whole part is made each time and written only where it differs from what the object already says, so an unchanged
VM causes no writes. A condition's transition time moves only when its status does.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from berth_agent.reconcile.plan.conditions import AGENTS_CONDITIONS, conditions_of
from berth_agent.reconcile.plan.histories import brought_up
from berth_agent.reconcile.plan.observed import ObservedInterface
from berth_agent.reconcile.plan.phases import phase_of
from berth_agent.reconcile.plan.situations import Situation
from berth_api.quantities import from_bytes
from berth_api.virtualmachines import DiskStatus, InterfaceStatus, VirtualMachine, VirtualMachineStatus

_Seen = TypeVar("_Seen")


def status_of(situation: Situation, now: datetime) -> dict[str, Any]:
    """The agent's status of a VM that is bound here, as the API server takes it."""
    vm, desired, observed, answers = situation.vm, situation.desired, situation.observed, situation.answers
    record = brought_up(vm, observed, now).status
    status = VirtualMachineStatus(
        admitted_claim=answers.admitted,
        refused_claim=answers.refused,
        released_claim=answers.released,
        stopped_claim=answers.stopped,
        phase=phase_of(situation),
        interfaces=tuple(_interface(nic) for nic in _in_order(desired.interface_names, observed.interfaces)),
        disks=tuple(
            DiskStatus(
                name=disk.name,
                target=disk.target,
                capacity=from_bytes(disk.capacity),
                source=disk.path,
                digest=disk.digest,
            )
            for disk in _in_order(desired.disk_names, observed.disks)
        ),
        domain_uuid=observed.domain_uuid,
        machine_type=observed.machine_type or vm.status.machine_type,
        started_at=record.started_at,
        ended_at=record.ended_at,
        end_reason=record.end_reason,
        node_boot_id=record.node_boot_id,
        restarted_at=record.restarted_at,
        restart_count=record.restart_count,
        failure_count=record.failure_count,
        guest=observed.guest if observed.power.is_active else None,
        observed_generation=situation.seen_generation,
        conditions=conditions_of(situation, now),
    )
    return {name: value for name, value in status.to_api().items() if value not in ([], None)}


def _in_order(names: Iterable[str], found: Mapping[str, _Seen]) -> Iterable[_Seen]:
    return (found[name] for name in names if name in found)


def _interface(nic: ObservedInterface) -> InterfaceStatus:
    return InterfaceStatus(
        name=nic.name,
        network_name=nic.network_name,
        device=nic.device,
        sandbox=nic.sandbox,
        mac_address=nic.mac_address,
        ip_addresses=tuple(address.split("/")[0] for address in nic.ip_addresses),
    )


_OPERATORS_FIELDS = ("nodeName", "claim", "formerUID", "formerNodeName")


def agents_part(vm: VirtualMachine) -> dict[str, Any]:
    """What the object's status says already, as far as it is the agent's: comparable with `status_of`."""
    status = vm.status.model_copy(
        update={"conditions": tuple(c for c in vm.status.conditions if c.type in AGENTS_CONDITIONS)}
    ).to_api()
    return {name: value for name, value in status.items() if value not in ([], None) and name not in _OPERATORS_FIELDS}
