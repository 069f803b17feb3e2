"""The CustomResourceDefinitions: what `kubectl` shows of each kind, and how it may be selected."""

from dataclasses import dataclass
from typing import Any

from berth_api import kinds
from berth_api.hypervisors import Hypervisor
from berth_api.kinds import Kind
from berth_api.objects import Resource
from berth_api.schema import root_schema
from berth_api.storagepools import StoragePool
from berth_api.virtualmachineclasses import VirtualMachineClass
from berth_api.virtualmachineimages import ClusterVirtualMachineImage, VirtualMachineImage
from berth_api.virtualmachines import VirtualMachine
from berth_api.virtualnetworks import VirtualNetwork

CATEGORY = "berth"
KEPT = {
    "helm.sh/resource-policy": "keep",
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
"""On each definition: a tool that takes away what it installed would take every object with the definition. Helm does
not, for those of a chart's crds/, but Argo CD and Flux's Kustomizations treat them as they do all else."""
_READY = '.status.conditions[?(@.type=="Ready")].status'


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    json_path: str
    type: str = "string"
    wide: bool = False
    description: str = ""

    def to_api(self) -> dict[str, Any]:
        """An item of `additionalPrinterColumns`."""
        column: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.json_path}
        if self.description:
            column["description"] = self.description
        if self.wide:
            column["priority"] = 1
        return column


_AGE = Column("AGE", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True)
class CustomResource:
    """A kind, its model, and how it is presented."""

    kind: Kind
    model: type[Resource]
    short_name: str
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()


_IMAGE_COLUMNS = (
    Column("STATUS", ".status.phase"),
    Column("FORMAT", ".status.format"),
    Column("SIZE", ".status.virtualSize", description="Size of the disk in the image."),
    Column("CHECKSUM", ".spec.checksum", wide=True),
    _AGE,
)

CUSTOM_RESOURCES: tuple[CustomResource, ...] = (
    CustomResource(
        kinds.VIRTUAL_MACHINE,
        VirtualMachine,
        "vm",
        (
            Column("STATUS", ".status.phase"),
            Column("READY", _READY),
            Column("NODE", ".status.nodeName"),
            Column("IP", ".status.interfaces[0].ipAddresses[0]"),
            Column("CPU", ".status.claim.cpu", wide=True, description="CPU claimed on the node."),
            Column("MEMORY", ".status.claim.memory", wide=True, description="Memory claimed on the node."),
            _AGE,
        ),
        selectable=(".status.nodeName", ".status.phase"),
    ),
    CustomResource(
        kinds.VIRTUAL_MACHINE_CLASS,
        VirtualMachineClass,
        "vmclass",
        (
            Column("SOCKETS", ".spec.cpu.sockets", "integer"),
            Column("CORES", ".spec.cpu.cores", "integer", description="Cores of each socket."),
            Column("MEMORY", ".spec.memory.size"),
            Column("DESCRIPTION", ".spec.description", wide=True),
            _AGE,
        ),
    ),
    CustomResource(kinds.VIRTUAL_MACHINE_IMAGE, VirtualMachineImage, "vmimage", _IMAGE_COLUMNS),
    CustomResource(kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, ClusterVirtualMachineImage, "cvmimage", _IMAGE_COLUMNS),
    CustomResource(
        kinds.VIRTUAL_NETWORK,
        VirtualNetwork,
        "vnet",
        (
            Column("SUBNET", ".spec.subnets[0].cidr"),
            Column("ALLOCATED", ".status.allocated", "integer"),
            Column("FREE", ".status.free", "integer"),
            _AGE,
        ),
    ),
    CustomResource(
        kinds.STORAGE_POOL,
        StoragePool,
        "spool",
        (
            Column("TYPE", ".spec.type"),
            Column("PATH", ".spec.path"),
            Column("SHARED", ".spec.shared", "boolean"),
            Column("NODES", ".status.nodes", "integer", description="Nodes on which the pool is active."),
            _AGE,
        ),
    ),
    CustomResource(
        kinds.HYPERVISOR,
        Hypervisor,
        "hv",
        (
            Column("READY", _READY),
            Column("SCHEDULABLE", ".spec.schedulable", "boolean"),
            Column("CPU", ".status.capacity.cpu"),
            Column("MEMORY", ".status.capacity.memory"),
            Column("ACCELERATOR", ".status.accelerator"),
            Column("AGENT", ".status.agentVersion", wide=True),
            Column("LIBVIRT", ".status.libvirtVersion", wide=True),
            Column("HYPERVISOR", ".status.hypervisorVersion", wide=True),
            _AGE,
        ),
    ),
)


def definition(resource: CustomResource) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind (apiextensions.k8s.io/v1)."""
    kind = resource.kind
    schema = root_schema(resource.model)
    version: dict[str, Any] = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [column.to_api() for column in resource.columns],
        "schema": {"openAPIV3Schema": schema},
    }
    if resource.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in resource.selectable]
    if "status" in schema["properties"]:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"annotations": dict(KEPT), "name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {
                "categories": [CATEGORY],
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "shortNames": [resource.short_name],
                "singular": kind.kind.lower(),
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }
