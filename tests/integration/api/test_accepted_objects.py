"""The API server takes every good object, and stores what was written: no defaults but those that are meant."""

from typing import Any

import pytest
from tests.integration.api.conftest import removed
from tests.integration.api.specimens import specimen, spoiled

from berth_api import kinds
from berth_api.client import ApiClient
from berth_api.customresources import CUSTOM_RESOURCES
from berth_api.kinds import Kind

pytestmark = pytest.mark.integration

MODELS = {resource.kind: resource.model for resource in CUSTOM_RESOURCES}
IN_ZONE = {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"app": "db"}}}
REQUIRED, PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))
EVERYTHING: dict[str, Any] = {
    "spec.runStrategy": "RerunOnFailure",
    "spec.paused": True,
    "spec.restartedAt": "2026-01-01T00:00:00Z",
    "spec.cpu": {
        "cores": 2,
        "sockets": 1,
        "threads": 1,
        "maxSockets": 4,
        "model": "host-model",
        "features": ["avx2", "sse4.2"],
    },
    "spec.memory": {"size": "2Gi", "maxSize": "8Gi"},
    "spec.machineType": "pc-q35-7.2",
    "spec.firmware": {"type": "EFI", "secureBoot": True, "uuid": "4c4c4544-0050-3710-8058-b4c04f4d3432"},
    "spec.disks.0.bootOrder": 1,
    "spec.disks.0.storagePoolName": "shared",
    "spec.disks.0.bus": "scsi",
    "spec.networks.0.macAddress": "52:54:00:12:34:56",
    "spec.networks.0.ipAddresses": ["10.1.1.5", "fd00:1::5"],
    "spec.cloudInit": {
        "userDataSecretRef": {"name": "seed", "key": "user-data"},
        "sshAuthorizedKeys": ["ssh-ed25519 AAAA me"],
    },
    "spec.nodeName": "node-1",
    "spec.nodeSelector": {"berth.dev/accelerator": "kvm", "empty": ""},
    "spec.affinity": {
        "nodeAffinity": {
            REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["3"]}]}]},
            PREFERRED: [{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}],
        },
        "vmAffinity": {REQUIRED: [IN_ZONE]},
        "vmAntiAffinity": {PREFERRED: [{"weight": 100, "vmAffinityTerm": {**IN_ZONE, "namespaceSelector": {}}}]},
    },
    "spec.tolerations": [
        {"operator": "Exists"},
        {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
    ],
    "spec.topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3},
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
    ],
    "spec.priorityClassName": "high",
    "spec.schedulerProfile": "packed",
    "spec.evictionStrategy": "None",
    "spec.recoveryStrategy": "None",
    "spec.terminationGracePeriodSeconds": 0,
}

GOOD: tuple[tuple[str, Kind, dict[str, Any]], ...] = (
    *((f"plain {kind.kind}", kind, {}) for kind in MODELS),
    ("a VM with everything", kinds.VIRTUAL_MACHINE, EVERYTHING),
    (
        "a VM of a class",
        kinds.VIRTUAL_MACHINE,
        {"spec": {"className": "small", "disks": [{"name": "root", "size": "1Gi"}]}},
    ),
    ("a VM without NICs", kinds.VIRTUAL_MACHINE, {"spec.networks": []}),
    ("a VM of 63 letters", kinds.VIRTUAL_MACHINE, {"metadata.name": "a" * 63}),
    *(
        (f"machine type {name}", kinds.VIRTUAL_MACHINE, {"spec.machineType": name})
        for name in ("q35", "pc-q35-4.0.1", "pc-q35-rhel9.4.0", "pc-q35-noble")
    ),
    (
        "64 CPU features of 63 letters",
        kinds.VIRTUAL_MACHINE,
        {"spec.cpu.features": [f"f{number:02}".ljust(63, "x") for number in range(64)]},
    ),
    ("memory in bytes", kinds.VIRTUAL_MACHINE, {"spec.memory.size": 1073741824}),
    ("memory in decimals", kinds.VIRTUAL_MACHINE, {"spec.memory.size": "1.5G"}),
    ("user-data of just the size", kinds.VIRTUAL_MACHINE, {"spec.cloudInit.userData": "#" * 65536}),
    ("fields of a newer version", kinds.VIRTUAL_MACHINE, {"spec.notYetKnown": 1}),
    (
        "a diskless VM",
        kinds.VIRTUAL_MACHINE,
        {"spec.disks": [], "spec.firmware": {"kernel": {"imageRef": {"name": "k"}}}},
    ),
    *(
        (f"an image at {url}", kinds.VIRTUAL_MACHINE_IMAGE, {"spec.source.http.url": url})
        for url in (
            "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2",
            "http://10.88.0.2/tiny.qcow2",
            "http://images/tiny.qcow2?token=a%2Bb#x",
            "http://images.svc.cluster.local:8080/",
            "http://[fd00:10::2]:80/tiny.qcow2",
            "http://localhosts.example.com/x",
            "HTTP://example.com/x".replace("HTTP", "http"),
        )
    ),
    ("a file image", kinds.VIRTUAL_MACHINE_IMAGE, {"spec.source": {"file": {"path": "a/b_c-1.2.qcow2"}}}),
    (
        "a network by reference",
        kinds.VIRTUAL_NETWORK,
        {"spec": {"networkAttachmentDefinitionRef": {"namespace": "a", "name": "b"}}},
    ),
    (
        "a network of its own IPAM",
        kinds.VIRTUAL_NETWORK,
        {
            "spec": {
                "cni": {
                    "plugins": [
                        {"type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/16"}]]}}
                    ]
                }
            }
        },
    ),
    (
        "a network with everything",
        kinds.VIRTUAL_NETWORK,
        {
            "spec.subnets.0": {
                "cidr": "10.1.1.0/24",
                "gateway": "10.1.1.1",
                "range": {"start": "10.1.1.10", "end": "10.1.1.99"},
                "excluded": ["10.1.1.20", "10.1.1.32/28"],
                "dnsServers": ["10.1.1.1", "fd00::53"],
            },
            "spec.subnets.1": {"cidr": "fd00:1::/64"},
            "spec.mtu": 9000,
            "spec.allowedNamespaces": ["default"],
        },
    ),
    (
        "a hypervisor with everything",
        kinds.HYPERVISOR,
        {
            "spec": {
                "schedulable": False,
                "maintenance": True,
                "overcommit": {"cpu": 16, "memory": 1.5},
                "reserved": {"cpu": "500m", "memory": "1Gi", "storage": 0},
                "maxVirtualMachines": 0,
            }
        },
    ),
)


@pytest.mark.parametrize(("kind", "changes"), [pytest.param(*case[1:], id=case[0]) for case in GOOD])
async def test_a_good_object_is_taken_and_read(api: ApiClient, kind: Kind, changes: dict[str, Any]) -> None:
    body = spoiled(specimen(kind, "good"), changes)
    async with removed(api, kind, body["metadata"]["name"]):
        stored = await api.create(kind, body, "default" if kind.namespaced else "")
        model = MODELS[kind]
        read = model.from_api(stored)
        assert read.key == (body["metadata"].get("namespace", ""), body["metadata"]["name"])
        written = model.from_api({**body, "metadata": stored["metadata"]})
        assert read == written, "the stored defaults are those that the model reads where nothing is stored"


async def test_only_the_marked_defaults_are_stored(api: ApiClient) -> None:
    body = spoiled(specimen(kinds.VIRTUAL_MACHINE, "defaults"), {})
    async with removed(api, kinds.VIRTUAL_MACHINE, "defaults"):
        stored = await api.create(kinds.VIRTUAL_MACHINE, body, "default")
        added = {
            "runStrategy": "Always",
            "evictionStrategy": "LiveMigrate",
            "recoveryStrategy": "Restart",
            "terminationGracePeriodSeconds": 30,
            "cpu": {"cores": 2, "sockets": 1, "threads": 1},
        }
        assert {name: value for name, value in stored["spec"].items() if name != "disks"} == {
            name: value for name, value in {**body["spec"], **added}.items() if name != "disks"
        }


async def test_plugins_keep_their_own_fields(api: ApiClient) -> None:
    plugin = {"type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/16"}]]}, "mtu": 1400}
    body = {"metadata": {"name": "open"}, "spec": {"cni": {"plugins": [plugin]}}}
    async with removed(api, kinds.VIRTUAL_NETWORK, "open"):
        stored = await api.create(kinds.VIRTUAL_NETWORK, body)
        assert stored["spec"]["cni"]["plugins"] == [plugin]
        network = MODELS[kinds.VIRTUAL_NETWORK].from_api(stored)
        assert network.to_api()["spec"]["cni"]["plugins"][0]["ipam"] == plugin["ipam"]
