"""Guests that a node holds and this cluster has no object for: a VM of that name goes where its guest is.

After a control plane was lost and VMs were restored from a back-up, their objects have new UIDs, and the nodes still
run what the old ones asked for. A VM that was placed elsewhere would run twice. Whose guest it is, is told by namespace
and name: those are the user's own words for it, and the only ones that a back-up keeps. See decision 0012.

What a node's agent reports could be a lie that draws VMs, and what is sealed for them, to its node. So a VM goes there
only where its owner has agreed: by the annotation `berth.dev/adopt`, or by restoring it. Any other waits, and says so:
agents cannot stop VMs by it that come later, as the API server takes from them what they bring along and nothing more.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from berth_api.fields import ADOPT, RESTORE_LABELS
from berth_api.hypervisors import HypervisorRemains, RemainingInterface
from berth_api.virtualmachines import VirtualMachine
from berth_operator.controllers.references import Unbindable

ANY = "*"
"""Value of the annotation by which every node is believed."""
NEVER = "never"
"""Value of the annotation by which none is. Of a node that is called so, `*` has to be said."""
_MOST_NAMED = 5
"""Nodes that a message names."""


@dataclass(frozen=True)
class Holder:
    """A node that holds the guest of a VM, under a UID that is not the VM's."""

    node: str
    uid: str
    interfaces: tuple[RemainingInterface, ...] = ()
    """As the guest has them."""


def was_admitted(vm: VirtualMachine) -> bool:
    """Whether it has run in this cluster, as the object that it is: a status of another one is taken away as a whole.

    Nothing is left of it elsewhere then, whatever nodes say by now.
    """
    return vm.status.admitted_claim is not None and not vm.has_foreign_claim


def is_settled(vm: VirtualMachine) -> bool:
    """Whether what it was before a restore counts no longer, though its status still says it."""
    restored = vm.status.former_uid is not None or vm.status.former_node_name is not None
    claim = vm.status.claim
    return restored and was_admitted(vm) and claim is not None and claim.id == vm.status.admitted_claim


def awaited_by(vm: VirtualMachine, owes_report: Callable[[str], bool], owing: AbstractSet[str]) -> list[str]:
    """Nodes that may hold the guest of a VM, and have not said yet what they hold.

    Args:
        vm: A VM without a node.
        owes_report: Whether there is a Node of that name which has not told yet.
        owing: Those that have an agent, too. Who is content with any node waits for all of these, but for no Node that
            has never had an agent: it may never have one.
    """
    asked, status = vm.metadata.annotations.get(ADOPT, ""), vm.status
    if asked == NEVER or was_admitted(vm):
        return []
    named = [node for node in (status.former_node_name, asked) if node and owes_report(node)]
    if asked == ANY or (not asked and status.former_uid is None and _is_labelled(vm)):
        named += sorted(owing)
    return list(dict.fromkeys(named))


def holder_of(
    vm: VirtualMachine, remains: Iterable[tuple[str, HypervisorRemains]], *, awaited: Sequence[str] = ()
) -> Holder | None:
    """The node that holds a guest of this VM's name; None where there is none, or none is wanted.

    Args:
        vm: A VM without a node.
        remains: Nodes that hold one, and what they say of it.
        awaited: Nodes that may hold one and have not told yet; see `awaited_by`.

    Raises:
        Unbindable: it is not known yet where the guest is, nobody has agreed to it, several nodes hold one, or the VM
            may not go there: nobody but its owner or an administrator can tell what to do.
    """
    asked = vm.metadata.annotations.get(ADOPT, "")
    holders = [Holder(node, guest.uid, guest.interfaces) for node, guest in remains]
    if asked == NEVER:
        return None
    if awaited and not any(holder.uid == vm.status.former_uid or holder.node == asked for holder in holders):
        raise _silent(awaited)
    if not holders:
        return None
    agreed = _agreed(vm, asked, holders)
    if not agreed and was_admitted(vm):
        return None
    if not agreed:
        raise Unbindable(
            "Held",
            f"a guest of this name is left from another cluster, or from before a restore: {_named(holders)}. Name the "
            f"node in the annotation {ADOPT} to go on with that, or write {NEVER} there to have the VM made anew, and "
            "have both",
            waits_for_room=True,
        )
    if len(agreed) > 1:
        raise Unbindable(
            "HeldTwice",
            f"several guests of this name are left from before a restore: {_named(agreed)}: name one of these nodes in "
            f"the annotation {ADOPT}, or end all but one on their nodes",
            waits_for_room=True,
        )
    (holder,) = agreed
    if vm.spec.node_name not in (None, "", holder.node):
        raise Unbindable(
            "HeldElsewhere",
            f"node {holder.node} holds a guest of this name from before a restore, and nodeName asks for "
            f"{vm.spec.node_name}: leave nodeName out, or end the guest on {holder.node}",
            waits_for_room=True,
        )
    return holder


def is_held(vm: VirtualMachine, remains: Iterable[tuple[str, HypervisorRemains]]) -> bool:
    """Whether it is clear which guest the VM goes on with; see `holder_of`."""
    try:
        return holder_of(vm, remains) is not None
    except Unbindable:
        return False


def _agreed(vm: VirtualMachine, asked: str, holders: Sequence[Holder]) -> list[Holder]:
    """Those that the VM's owner is content with. The UID of the object that was backed up tells one from the others."""
    former = vm.status.former_uid
    known = [holder for holder in holders if holder.uid == former]
    if asked:
        named = [holder for holder in holders if asked in (ANY, holder.node)]
        return [holder for holder in named if holder in known] or named
    if former is None and _is_labelled(vm) and not was_admitted(vm):
        return list(holders)
    return known


def _is_labelled(vm: VirtualMachine) -> bool:
    return any(label in vm.metadata.labels for label in RESTORE_LABELS)


def _silent(awaited: Sequence[str]) -> Unbindable:
    nodes = ", ".join(awaited[:_MOST_NAMED]) + (
        f" and {len(awaited) - _MOST_NAMED} more" * (len(awaited) > _MOST_NAMED)
    )
    return Unbindable(
        "HolderSilent",
        f"its guest of before a restore may be on {nodes}, whose agent has not said yet what it holds: start or "
        f"upgrade that agent, delete the Node if it is gone, name another node in the annotation {ADOPT}, or write "
        f"{NEVER} there to have the VM made anew",
        waits_for_room=True,
    )


def _named(holders: Iterable[Holder]) -> str:
    return ", ".join(f"{holder.node} ({holder.uid})" for holder in holders)
