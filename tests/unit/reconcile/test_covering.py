"""An edited spec gets at its next start only what the VM was bound with."""

from typing import Any

import pytest

from berth_agent.reconcile.plan.covering import uncovered
from berth_api.virtualmachines import VirtualMachine

MIB = 1024**2
NIC = {"name": "lan", "networkName": "red"}
DISK = {"name": "root", "size": "1Gi"}


def verdict(*, cpus: int = 2, memory: int = 512 * MIB, **spec: Any) -> str | None:
    vm = VirtualMachine.from_api(
        {
            "metadata": {"name": "a", "namespace": "d", "uid": "u"},
            "spec": {"className": "c", "disks": [DISK], "networks": [NIC], **spec},
            "status": {
                "nodeName": "n",
                "claim": {
                    "id": "1",
                    "epoch": 1,
                    "cpu": "2",
                    "memory": "800Mi",
                    "storage": "1Gi",
                    "pools": [{"name": "default", "size": "1Gi"}],
                    "interfaces": [
                        {
                            "name": "lan",
                            "networkName": "red",
                            "macAddress": "02:be:00:00:00:01",
                            "ipAddresses": ["10.1.1.5/24", "fd00::5/64"],
                        }
                    ],
                },
            },
        }
    )
    assert vm.status.claim is not None
    return uncovered(vm, vm.status.claim, cpus=cpus, memory=memory, accelerator="tcg")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"cpus": 1, "memory": 64 * MIB},
        {"networks": []},
        {"networks": [{**NIC, "macAddress": "02:be:00:00:00:01", "ipAddresses": ["10.1.1.5", "fd00:0::5"]}]},
        {"disks": [{**DISK, "size": "512Mi"}]},
        {"cloudInit": {"userData": "#!/bin/sh"}},
    ],
)
def test_what_the_claim_covers_may_start(spec: dict[str, Any]) -> None:
    assert verdict(**spec) is None


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"cpus": 3}, "3 CPUs, but 2 are claimed"),
        ({"memory": 800 * MIB}, "of memory, but 800Mi are claimed"),
        ({"disks": [DISK, {"name": "more", "size": "1Gi"}]}, "2Gi in the storage pool default, but 1Gi are claimed"),
        ({"disks": [{**DISK, "storagePoolName": "fast"}]}, "pool fast, but 0 are claimed"),
        ({"networks": [NIC, {"name": "spy", "networkName": "red"}]}, "interface spy"),
        ({"networks": [{**NIC, "networkName": "blue"}]}, "interface lan"),
        ({"networks": [{**NIC, "macAddress": "02:be:00:00:00:99"}]}, "interface lan"),
        ({"networks": [{**NIC, "ipAddresses": ["10.1.1.6"]}]}, "interface lan"),
        ({"networks": None}, "interface default"),
        ({"cloudInit": {"userDataSecretRef": {"name": "s", "key": "k"}}}, "userDataSecretRef was added"),
    ],
)
def test_what_is_beyond_the_claim_is_named_with_what_to_do(spec: dict[str, Any], says: str) -> None:
    found = verdict(**spec)
    assert found is not None
    assert says in found
    assert "else set it back" in found
