"""The one way in which the operator writes a VM's status."""

from typing import Any

from berth_api.client import Api
from berth_api.fields import OPERATOR
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import VirtualMachine


async def apply_status(api: Api, vm: VirtualMachine, body: dict[str, Any]) -> dict[str, Any]:
    """Apply what was decided on the VM as it is given: if it has changed since, nothing is written.

    Raises:
        Conflict: it has changed since.
        ApiError: it could not be written, or nobody knows whether it was.
    """
    return await api.apply(
        VIRTUAL_MACHINE,
        vm.metadata.name,
        vm.metadata.namespace,
        body,
        field_manager=OPERATOR,
        subresource="status",
        resource_version=vm.metadata.resource_version,
    )
