"""A status that came with a VM from a back-up, and is about another object: see decision 0012.

A back-up that restores statuses gives the new object, with its new UID, the binding of the old one: to a node of
another cluster, or to one that has given its room to others long ago. Whoever wrote it owns its fields, so an apply
would leave the agents' part standing (when it was started, how often, by which claim), and a VM that runs once would
count as having run. So all of it is replaced, from the very state that was looked at. It is the only status that the
operator does not apply. What stays is the old object's UID and node: a guest that is reported under it is the VM's.
Once a node has admitted the VM, they are taken away, too.
"""

from datetime import datetime
from typing import Any

from berth_api.client import Api, Conflict, Invalid
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import VirtualMachine
from berth_operator import statuses

RESTORED = "Restored"
_MESSAGE = "the status was that of another object, of before a restore: it is taken away, and the VM placed anew"


async def clear(api: Api, vm: VirtualMachine, *, now: datetime) -> dict[str, Any]:
    """Replace the status by that of a VM that was never bound; the VM as it is then.

    Raises:
        Conflict: the VM has changed meanwhile.
        ApiError: it was not written, or nobody knows.
    """
    body = statuses.unbound(vm, phase="Pending", reason=RESTORED, message=_MESSAGE, now=now)
    claim, node = vm.status.claim, vm.status.node_name
    former = {"formerUID": claim.machine_uid} if claim is not None else {}
    former |= {"formerNodeName": node} if node else {}
    return await _patch(api, vm, [{"op": "replace", "path": "/status", "value": {**body["status"], **former}}])


async def forget(api: Api, vm: VirtualMachine) -> dict[str, Any]:
    """Take away what is said of the object of before a restore, once the VM runs as the one that it is.

    Where it was then has nothing of it any longer, and a node of that name would be waited for, for ever.

    Raises:
        Conflict: the VM has changed meanwhile.
        ApiError: it was not written, or nobody knows.
    """
    said = {"formerUID": vm.status.former_uid, "formerNodeName": vm.status.former_node_name}
    paths = [f"/status/{name}" for name, value in said.items() if value is not None]
    return await _patch(api, vm, [{"op": "remove", "path": path} for path in paths])


async def _patch(api: Api, vm: VirtualMachine, operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Change the status of the VM as it was looked at, or none."""
    tests = [
        {"op": "test", "path": "/metadata/uid", "value": vm.metadata.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": vm.metadata.resource_version},
    ]
    try:
        return await api.patch_json(
            VIRTUAL_MACHINE, vm.metadata.name, vm.metadata.namespace, [*tests, *operations], subresource="status"
        )
    except Invalid as error:
        raise Conflict(error.status, "Changed", f"the VM has changed meanwhile: {error.message}") from error
