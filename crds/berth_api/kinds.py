"""The kinds that Berth reads or writes, by their place in the API: what a client needs to build a path."""

from dataclasses import dataclass

from berth_api.objects import GROUP, VERSION


@dataclass(frozen=True)
class Kind:
    """A resource of the Kubernetes API."""

    kind: str
    plural: str
    namespaced: bool
    group: str = GROUP
    version: str = VERSION

    @property
    def api_version(self) -> str:
        """`group/version`, or only the version in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """URL path of the collection, the object or its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if self.namespaced and namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


VIRTUAL_MACHINE = Kind("VirtualMachine", "virtualmachines", namespaced=True)
VIRTUAL_MACHINE_CLASS = Kind("VirtualMachineClass", "virtualmachineclasses", namespaced=False)
VIRTUAL_MACHINE_IMAGE = Kind("VirtualMachineImage", "virtualmachineimages", namespaced=True)
CLUSTER_VIRTUAL_MACHINE_IMAGE = Kind("ClusterVirtualMachineImage", "clustervirtualmachineimages", namespaced=False)
VIRTUAL_NETWORK = Kind("VirtualNetwork", "virtualnetworks", namespaced=False)
STORAGE_POOL = Kind("StoragePool", "storagepools", namespaced=False)
HYPERVISOR = Kind("Hypervisor", "hypervisors", namespaced=False)

NODE = Kind("Node", "nodes", namespaced=False, group="", version="v1")
NAMESPACE = Kind("Namespace", "namespaces", namespaced=False, group="", version="v1")
POD = Kind("Pod", "pods", namespaced=True, group="", version="v1")
SECRET = Kind("Secret", "secrets", namespaced=True, group="", version="v1")
EVENT = Kind("Event", "events", namespaced=True, group="events.k8s.io", version="v1")
LEASE = Kind("Lease", "leases", namespaced=True, group="coordination.k8s.io", version="v1")
PRIORITY_CLASS = Kind("PriorityClass", "priorityclasses", namespaced=False, group="scheduling.k8s.io", version="v1")
POD_DISRUPTION_BUDGET = Kind(
    "PodDisruptionBudget", "poddisruptionbudgets", namespaced=True, group="policy", version="v1"
)
NETWORK_ATTACHMENT_DEFINITION = Kind(
    "NetworkAttachmentDefinition",
    "network-attachment-definitions",
    namespaced=True,
    group="k8s.cni.cncf.io",
    version="v1",
)
