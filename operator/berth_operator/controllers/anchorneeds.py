"""What a node's anchor should be, by what is known of the node and by the ledger of claims.

A node that takes no new Pods is one that somebody wants empty, or keeps for some: whoever drains it waits until its
anchor is gone, and looks again and again, by its name even. So there the anchor is not made again for its own sake. On
a cordoned node it is made only for VMs that the node's agent has admitted: a claim that was written just before the
node was drained finds no anchor, is refused, and the VM goes elsewhere.
"""

from collections.abc import Iterable, Mapping

from berth_api.anchors import LEAST, Size, anchored, total
from berth_api.hypervisors import Hypervisor
from berth_api.quantities import to_bytes, to_millis
from berth_operator.cluster import Cluster
from berth_operator.controllers.anchorplans import Wanted
from berth_operator.objects import Node
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.ledger import Ledger

_KEEPS_AWAY = ("NoSchedule", "NoExecute")
"""Effects of taints that keep new Pods away."""


class AnchorNeeds:
    """Says what each node's anchor should be."""

    def __init__(self, cluster: Cluster, ledger: Ledger, template: str) -> None:
        """Get ready.

        Args:
            cluster: What is known of it.
            ledger: What is claimed where.
            template: What anchors should be made from.
        """
        self._cluster, self._ledger, self._template = cluster, ledger, template

    def of(self, node: str, failures: Mapping[str, int]) -> Wanted | None:
        """The node's; None: there is no Hypervisor, or no Node, and the garbage collectors see to it.

        Args:
            node: Which.
            failures: How many anchors in a row did not stay, by node.
        """
        hypervisor, known = self._cluster.hypervisors.get(node), self._cluster.nodes.get(node)
        if hypervisor is None or known is None or hypervisor.metadata.deletion_timestamp is not None:
            return None
        holdings = list(self._ledger.held_on(node))
        first = self._sum((each for each in holdings if self._is_admitted(each)), hypervisor)
        claimed = self._sum(holdings, hypervisor)
        fits = True
        if known.allocatable is not None:  # the API server takes no resize beyond it, and no kubelet would allocate it
            most = Size(known.allocatable.cpu, known.allocatable.memory)
            room = _without_pods(most, hypervisor)
            first, claimed, fits = first & room, claimed & most, room.covers(claimed)
        if failures.get(node):  # nobody knows what was in its way
            first = LEAST
        needed = self._is_needed(hypervisor, known)
        return Wanted(hypervisor.metadata.uid, self._template, first | LEAST, claimed, needed, fits)

    def counts(self, hypervisor: Hypervisor) -> bool:
        """Whether a node without an anchor lacks one."""
        known = self._cluster.nodes.get(hypervisor.metadata.name)
        return (
            known is not None and hypervisor.metadata.deletion_timestamp is None and self._is_needed(hypervisor, known)
        )

    def is_held(self, node: str) -> bool:
        """Whether VMs hold CPU or memory there: those that run, are to run, or have not confirmed that they do not."""
        return any(_takes_something(each) for each in self._ledger.held_on(node))

    def _is_needed(self, hypervisor: Hypervisor, known: Node) -> bool:
        held = [each for each in self._ledger.held_on(known.name) if _takes_something(each)]
        if known.cordoned:
            return any(self._is_admitted(each) for each in held)
        if any(taint.effect in _KEEPS_AWAY for taint in known.taints):
            return bool(held)
        return bool(held) or hypervisor.status.capacity is not None  # libvirt was seen there, VMs may come

    def _sum(self, holdings: Iterable[Holding], hypervisor: Hypervisor) -> Size:
        return anchored(total(Size(each.cpu, each.memory) for each in holdings), hypervisor.spec.overcommit)

    def _is_admitted(self, holding: Holding) -> bool:
        namespace, name = holding.owner.split("/", 1)
        vm = self._cluster.machines.get(name, namespace)
        return vm is not None and vm.metadata.uid == holding.uid and vm.status.admitted_claim is not None


def _takes_something(holding: Holding) -> bool:
    return bool(holding.cpu or holding.memory)


def _without_pods(most: Size, hypervisor: Hypervisor) -> Size:
    """What the node's Pods have left of it, by the agent's last report; the anchor is not among them."""
    pods = hypervisor.status.pod_requests
    taken = Size(to_millis(pods.cpu), to_bytes(pods.memory)) if pods is not None else Size()
    return Size(max(0, most.cpu - taken.cpu), max(0, most.memory - taken.memory))
