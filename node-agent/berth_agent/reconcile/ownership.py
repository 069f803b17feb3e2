"""Whose VM is this? Asked of the API server itself before anything is destroyed or started.

An object leaves an agent's watch when it is deleted, but also when it is bound elsewhere, and a watch may be behind. So
the answer is never taken from the watch: only 404, another object under the name, or a binding to another node mean
that what is here may go.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from berth_agent.reconcile.rounds import ObjectUnreadable, Owner
from berth_api.client import Api, NotFound
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import VirtualMachine


async def bound_elsewhere_or_gone(api: Api, *, node: str, owner: Owner) -> bool:
    """Whether the API server says that nothing of this VM belongs on this node.

    An object without a binding counts as ours: nothing is destroyed on its account.

    Raises:
        ApiError: the API server gave no answer; then nothing may be destroyed.
    """
    vm = await current(api, owner)
    return vm is None or vm.status.node_name not in (None, "", node)


async def current(api: Api, owner: Owner) -> VirtualMachine | None:
    """The object as the API server has it now; None if it is gone, or another object has its name.

    Raises:
        ApiError: the API server gave no answer.
        ObjectUnreadable: it gave one that cannot be understood; nothing may be destroyed either.
    """
    if not owner.name:
        return await _search(api, owner.uid)
    try:
        vm = _read(await api.get(VIRTUAL_MACHINE, owner.name, owner.namespace))
    except NotFound:
        return None
    return vm if vm.metadata.uid == owner.uid else None


async def _search(api: Api, uid: str) -> VirtualMachine | None:
    """Of what is left on a node sometimes only the UID is known, which the API server does not look up."""
    listed = await api.list(VIRTUAL_MACHINE)
    return next((_read(body) for body in listed.items if body["metadata"]["uid"] == uid), None)


def _read(body: Mapping[str, Any]) -> VirtualMachine:
    try:
        return VirtualMachine.from_api(body)
    except ValidationError:
        name = f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}"
        raise ObjectUnreadable(f"the VirtualMachine {name} cannot be read by this version of Berth") from None
