"""From watch events to work: what has changed, and whose business it is.

Level-based: an event says only that something is different now. What to do about it is found out by looking.
"""

from collections.abc import Callable, Mapping
from typing import Any

from berth_agent.cluster_view import ClusterView
from berth_agent.node.pods import sum_of_requests
from berth_agent.reconcile.plan.adoptions import former_uid
from berth_agent.reconcile.reconciler import Reconciler
from berth_agent.reconcile.rounds import Owner
from berth_api.hypervisors import Hypervisor
from berth_api.kinds import (
    CLUSTER_VIRTUAL_MACHINE_IMAGE,
    HYPERVISOR,
    POD,
    STORAGE_POOL,
    VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_CLASS,
    VIRTUAL_MACHINE_IMAGE,
    VIRTUAL_NETWORK,
    Kind,
)
from berth_api.objects import Resource
from berth_api.virtualmachines import VirtualMachine
from berth_api.workqueues import WorkQueue

REFERENCES = (
    CLUSTER_VIRTUAL_MACHINE_IMAGE,
    STORAGE_POOL,
    VIRTUAL_MACHINE_CLASS,
    VIRTUAL_MACHINE_IMAGE,
    VIRTUAL_NETWORK,
)
"""Kinds that VMs refer to."""

NODE_REPORT = "node"
"""The one key of the queue that reports on the node."""
PODS_PAUSE = 3.0
"""Seconds that a change of what the node's Pods request waits for others of its kind: a rollout is one report, not
hundreds. Nothing is overfilled meanwhile: a claim is admitted against the Pods as they are known here."""
GUESTS_PAUSE = 1.0
"""Seconds that what a guest does by itself waits for more of its kind, or a guest could keep the agent busy."""
LOSS_PAUSE = 1.0
"""Seconds until what somebody took out of the Hypervisor's status is put back: whoever does it again and again must not
keep the agent busy."""
LIBVIRT_PAUSE = 1.0
"""Seconds that a libvirtd which went may take to return before it is reported: it is restarted with each upgrade."""


class Intake:
    """Takes in what the watches and libvirt say, and queues who should look."""

    def __init__(
        self,
        view: ClusterView,
        reconciler: Reconciler,
        vms: WorkQueue[Owner],
        reports: WorkQueue[str],
        *,
        anchor_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._anchor_changed = anchor_changed
        self._view = view
        self._reconciler = reconciler
        self._vms = vms
        self._reports = reports

    def take(self, kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        """One event of a watch; `event` is None for an object of the initial list."""
        if kind is POD:
            self._take_pod(event, body)
            return
        owner = _owner(body)
        before = self._view.find(kind, owner.namespace, owner.name)
        if event == "DELETED":
            self._view.forget(kind, body)
        elif self._view.put(kind, body) is None:
            return
        replaced = before is not None and before.metadata.uid != owner.uid and event != "DELETED"
        if kind is VIRTUAL_MACHINE:
            if before is not None and replaced:
                self._look_at(owner._replace(uid=before.metadata.uid))
            self._look_at(owner)
            vm = self._view.vm(owner.uid)
            if vm is not None and former_uid(vm):
                self._reports.add_after(NODE_REPORT, GUESTS_PAUSE)
        elif before is None or replaced or event == "DELETED" or _has_new_spec(before, body):
            self._look_at_referrers(kind, owner)
            self._reports.add(NODE_REPORT)
        elif kind is HYPERVISOR and _has_lost(before, self._view.find(kind, owner.namespace, owner.name)):
            self._reports.add_after(NODE_REPORT, LOSS_PAUSE)

    def _take_pod(self, event: str | None, body: Mapping[str, Any]) -> None:
        owner = _owner(body)
        before = self._view.pod(owner.namespace, owner.name)
        if event == "DELETED":
            self._view.forget(POD, body)
        else:
            self._view.put(POD, body)
        after = self._view.pod(owner.namespace, owner.name)
        if any(each is not None and self._view.is_anchor(each) for each in (before, after)):
            self._anchor_changed()
            return
        if sum_of_requests([before] if before else []) != sum_of_requests([after] if after else []):
            self._reports.add_after(NODE_REPORT, PODS_PAUSE)

    def domain_changed(self, owner: Owner) -> None:
        """Libvirt says that something happened to a domain of ours, or of another cluster's."""
        self._vms.add(owner)
        if self._reconciler.is_apart(owner):
            self._reports.add_after(NODE_REPORT, GUESTS_PAUSE)

    def guest_changed(self, owner: Owner) -> None:
        """Libvirt says that a guest has done something, which it may do again and again."""
        self._vms.add_after(owner, GUESTS_PAUSE)

    def node_changed(self) -> None:
        """What the node has may be different: images come with VMs, plugins and pools by hand."""
        self._reports.add(NODE_REPORT)

    def libvirt_lost(self) -> None:
        """The node can start nothing, unless libvirt is back in a moment."""
        self._reports.add_after(NODE_REPORT, LIBVIRT_PAUSE)

    def libvirt_returned(self) -> None:
        """Everything may have happened meanwhile."""
        for vm in self._view.vms():
            self._vms.add(Owner.of(vm))
        self._reports.add(NODE_REPORT)

    def _look_at(self, owner: Owner) -> None:
        self._vms.add(owner)
        self._reconciler.outdated(owner)

    def _look_at_referrers(self, kind: Kind, referred: Owner) -> None:
        """Who failed for want of it may succeed now. Only its spec counts: its status is written by Berth itself."""
        for vm in self._view.vms():
            asked = vm.status.phase != "Running" or kind is VIRTUAL_MACHINE_CLASS
            if asked and refers(vm, kind, referred.namespace, referred.name):
                self._reconciler.changed(Owner.of(vm))
                self._vms.add(Owner.of(vm))


def _has_new_spec(before: Resource, body: Mapping[str, Any]) -> bool:
    return bool(before.metadata.generation != body["metadata"].get("generation"))


def _has_lost(before: Resource, after: Resource | None) -> bool:
    """Whether a Hypervisor's status says nothing any more of something that it told."""
    if not isinstance(before, Hypervisor) or not isinstance(after, Hypervisor):
        return False
    return bool(before.status.model_fields_set - after.status.model_fields_set)


def refers(vm: VirtualMachine, kind: Kind, namespace: str, name: str) -> bool:
    """Whether the VM's spec names this object."""
    if kind not in REFERENCES:
        return False
    if kind is VIRTUAL_NETWORK:
        return any(nic.network_name == name for nic in vm.spec.interfaces)
    if kind is STORAGE_POOL:
        return any(disk.pool == name for disk in vm.spec.disks)
    if kind is VIRTUAL_MACHINE_CLASS:
        return vm.spec.class_name == name
    images = [disk.image_ref for disk in vm.spec.disks]
    if vm.spec.firmware.kernel is not None:
        images += [vm.spec.firmware.kernel.image_ref, vm.spec.firmware.kernel.initrd_ref]
    in_reach = namespace in ("", vm.metadata.namespace)
    return in_reach and any(ref is not None and (ref.kind, ref.name) == (kind.kind, name) for ref in images)


def _owner(body: Mapping[str, Any]) -> Owner:
    metadata = body["metadata"]
    return Owner(metadata.get("namespace", ""), metadata["name"], metadata["uid"])
