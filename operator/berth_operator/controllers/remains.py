"""Guests that a node holds and this cluster has no object for: a VM of that name goes where its guest is.

After a control plane was lost and VMs were restored from a back-up, their objects have new UIDs, and the nodes still
run what the old ones asked for. A VM that was placed elsewhere would run twice. Whose guest it is, is told by namespace
and name: those are the user's own words for it, and the only ones that a back-up keeps. See decision 0012.

What a node's agent reports could be a lie that draws VMs, and what is sealed for them, to its node. So it counts only
for VMs whose owner or administrator has agreed to it by the annotation `berth.dev/adopt`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from berth_api.fields import ADOPT
from berth_api.virtualmachines import VirtualMachine
from berth_operator.controllers.references import Unbindable

ANY = "*"
"""Value of the annotation by which every node is believed."""


@dataclass(frozen=True)
class Holder:
    """A node that holds the guest of a VM, under a UID that is not the VM's."""

    node: str
    uid: str


def holder_of(vm: VirtualMachine, remains: Iterable[tuple[str, str]]) -> Holder | None:
    """The node that holds a guest of this VM's name; None where there is none.

    Args:
        vm: A VM without a node.
        remains: Nodes that hold one, and its UID there.

    Raises:
        Unbindable: several do, or the VM may not go there: nobody but an administrator can tell what to do.
    """
    agreed = vm.metadata.annotations.get(ADOPT)
    holders = [Holder(node, uid) for node, uid in remains if agreed in (ANY, node)]
    if not holders:
        return None
    if len(holders) > 1:
        where = ", ".join(f"{holder.node} ({holder.uid})" for holder in holders)
        raise Unbindable(
            "HeldTwice",
            f"several guests of this name are left from before a restore: {where}: name one of these nodes in the "
            f"annotation {ADOPT}, or end all but one on their nodes",
            waits_for_room=True,
        )
    (holder,) = holders
    if vm.spec.node_name not in (None, "", holder.node):
        raise Unbindable(
            "HeldElsewhere",
            f"node {holder.node} holds a guest of this name from before a restore, and nodeName asks for "
            f"{vm.spec.node_name}: leave nodeName out, or end the guest on {holder.node}",
            waits_for_room=True,
        )
    return holder
