"""Whose VM is this? Asked of the API server itself before anything is destroyed or started.

An object leaves an agent's watch when it is deleted, but also when it is bound elsewhere, and a watch may be behind. So
the answer is never taken from the watch: only 404, another object under the name, or a binding to another node mean
that what is here may go.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from berth_agent.reconcile.rounds import ObjectUnreadable, Owner
from berth_api.client import Api, NotFound
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import VirtualMachine


async def bound_elsewhere_or_gone(api: Api, *, node: str, owner: Owner) -> bool:
    """Whether the API server says that nothing of this VM belongs on this node.

    An object without a binding counts as ours: nothing is destroyed on its account. So does one here that adopts what
    its node knows under this UID.

    Raises:
        ApiError: the API server gave no answer; then nothing may be destroyed.
    """
    vm = await _found(api, owner, _goes_on_as)
    return vm is None or vm.status.node_name not in (None, "", node)


async def current(api: Api, owner: Owner) -> VirtualMachine | None:
    """The object as the API server has it now; None if it is gone, or another object has its name.

    Raises:
        ApiError: the API server gave no answer.
        ObjectUnreadable: it gave one that cannot be understood; nothing may be destroyed either.
    """
    return await _found(api, owner, _is)


def _is(body: Mapping[str, Any], uid: str) -> bool:
    return bool(body["metadata"]["uid"] == uid)


def _goes_on_as(body: Mapping[str, Any], uid: str) -> bool:
    return _is(body, uid) or (body.get("status", {}).get("claim") or {}).get("adopts") == uid


async def _found(api: Api, owner: Owner, is_it: Callable[[Mapping[str, Any], str], bool]) -> VirtualMachine | None:
    """Of what is left on a node sometimes only the UID is known, which the API server does not look up."""
    bodies: Sequence[Mapping[str, Any]]
    if not owner.name:
        bodies = (await api.list(VIRTUAL_MACHINE)).items
    else:
        try:
            bodies = [await api.get(VIRTUAL_MACHINE, owner.name, owner.namespace)]
        except NotFound:
            return None
    return next((_read(body) for body in bodies if is_it(body, owner.uid)), None)


def _read(body: Mapping[str, Any]) -> VirtualMachine:
    try:
        return VirtualMachine.from_api(body)
    except ValidationError:
        name = f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}"
        raise ObjectUnreadable(f"the VirtualMachine {name} cannot be read by this version of Berth") from None
