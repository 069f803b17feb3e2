"""Berth's finalizer on a VM: it keeps the object until its node has released what it took.

Set by an admission policy at creation; here only where the server has none. JSON Patches with tests, so that a user's
own finalizers, and an object of the same name that came later, are never touched, and so that the finalizer is
dropped only from the very state in which the claim was seen released.
"""

from typing import Any

from berth_api import kinds
from berth_api.client import Api, Conflict, Invalid, NotFound
from berth_api.fields import FINALIZER
from berth_api.virtualmachines import VirtualMachine


def _unchanged(vm: VirtualMachine) -> list[dict[str, Any]]:
    """It is still the object, in the state, that was looked at."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": vm.metadata.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": vm.metadata.resource_version},
    ]


def _patch_to_add(vm: VirtualMachine) -> list[dict[str, Any]]:
    addition: dict[str, Any] = {"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER}
    if not vm.metadata.finalizers:
        addition |= {"path": "/metadata/finalizers", "value": [FINALIZER]}
    return [*_unchanged(vm), addition]


def _patch_to_drop(vm: VirtualMachine) -> list[dict[str, Any]]:
    path = f"/metadata/finalizers/{vm.metadata.finalizers.index(FINALIZER)}"
    return [*_unchanged(vm), {"op": "test", "path": path, "value": FINALIZER}, {"op": "remove", "path": path}]


async def _patch(api: Api, vm: VirtualMachine, operations: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        return await api.patch_json(kinds.VIRTUAL_MACHINE, vm.metadata.name, vm.metadata.namespace, operations)
    except Invalid as error:
        raise Conflict(error.status, "Changed", f"the VM has changed meanwhile: {error.message}") from error


async def add(api: Api, vm: VirtualMachine) -> dict[str, Any]:
    """Set the finalizer; the VM as it is then.

    Raises:
        Conflict: the VM has changed meanwhile.
        ApiError: it is gone, or the API server failed.
    """
    return await _patch(api, vm, _patch_to_add(vm))


async def drop(api: Api, vm: VirtualMachine) -> dict[str, Any] | None:
    """Remove the finalizer; the VM as it is then, or None where it is gone already.

    Raises:
        Conflict: the VM has changed meanwhile.
        ApiError: the API server failed.
    """
    try:
        return await _patch(api, vm, _patch_to_drop(vm))
    except NotFound:
        return None
