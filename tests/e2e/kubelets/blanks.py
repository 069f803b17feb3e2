"""VMs whose guests find nothing to boot from: they run, and take next to nothing of the machine."""

from typing import Any


def blank(name: str, **spec: Any) -> dict[str, Any]:
    """A VM with an empty disk and no NIC; `spec` replaces parts of it. It has no system that heeds the power button."""
    own = {
        "cpu": {"cores": 1},
        "memory": {"size": "64Mi"},
        "disks": [{"name": "root", "size": "16Mi"}],
        "networks": [],
        "terminationGracePeriodSeconds": 0,
        **spec,
    }
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "berth.dev/v1alpha1", "kind": "VirtualMachine", "metadata": metadata, "spec": own}
