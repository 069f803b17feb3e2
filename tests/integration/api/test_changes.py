"""What may change on an object, and what never does."""

from typing import Any

import pytest
from tests.integration.api.conftest import remove
from tests.integration.api.specimens import CHECKSUM, REMOVED, specimen, spoiled

from berth_api import kinds
from berth_api.client import ApiClient, Invalid
from berth_api.kinds import Kind

pytestmark = pytest.mark.integration

OTHER_CHECKSUM = CHECKSUM.replace("0", "1")
IN_FAST = {"spec.disks.2.storagePoolName": "fast"}


async def change(
    api: ApiClient, kind: Kind, before: dict[str, Any], after: dict[str, Any], name: str = "changing"
) -> dict[str, Any]:
    """Create a specimen with the first changes and replace it by one with the second ones."""
    namespace = "default" if kind.namespaced else ""
    await remove(api, kind, name)
    first = spoiled(specimen(kind, name), before)
    stored = await api.create(kind, first, namespace)
    second = spoiled(first, after)
    return await api.update(kind, name, namespace, {**second, "metadata": {**stored["metadata"], **second["metadata"]}})


REFUSED: tuple[tuple[str, Kind, dict[str, Any], dict[str, Any], str], ...] = (
    ("a disk shrinks", kinds.VIRTUAL_MACHINE, {}, {"spec.disks.0.size": "9Gi"}, "a disk cannot shrink"),
    (
        "a disk's image changes",
        kinds.VIRTUAL_MACHINE,
        {},
        {"spec.disks.0.imageRef.name": "x"},
        "add a disk with another name",
    ),
    (
        "a blank disk gets an image",
        kinds.VIRTUAL_MACHINE,
        {},
        {"spec.disks.2.imageRef": {"name": "x"}},
        "the image of an existing disk cannot change",
    ),
    (
        "a disk becomes a volume",
        kinds.VIRTUAL_MACHINE,
        {},
        {"spec.disks.2.size": REMOVED, "spec.disks.2.volumeName": "v"},
        "a VM's own disk cannot become a volume",
    ),
    ("a disk moves to a pool", kinds.VIRTUAL_MACHINE, {}, IN_FAST, "a disk stays in its storage pool"),
    (
        "a disk moves to the default pool",
        kinds.VIRTUAL_MACHINE,
        IN_FAST,
        {"spec.disks.2.storagePoolName": REMOVED},
        "a disk stays in its storage pool",
    ),
    ("a class changes", kinds.VIRTUAL_MACHINE_CLASS, {}, {"spec.cpu.cores": 2}, "a class never changes"),
    (
        "a class gains a description",
        kinds.VIRTUAL_MACHINE_CLASS,
        {},
        {"spec.description": "x"},
        "a class never changes",
    ),
    (
        "a checksum changes",
        kinds.VIRTUAL_MACHINE_IMAGE,
        {},
        {"spec.checksum": OTHER_CHECKSUM},
        "the checksum is the image's identity",
    ),
    (
        "a golden checksum changes",
        kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE,
        {},
        {"spec.checksum": OTHER_CHECKSUM},
        "the checksum is the image's identity",
    ),
    ("a pool moves", kinds.STORAGE_POOL, {}, {"spec.path": "/elsewhere"}, "a pool's type and path never change"),
)

ALLOWED: tuple[tuple[str, Kind, dict[str, Any], dict[str, Any]], ...] = (
    ("a disk grows", kinds.VIRTUAL_MACHINE, {}, {"spec.disks.0.size": "0.02Ti"}),
    ("a disk's size is written otherwise", kinds.VIRTUAL_MACHINE, {}, {"spec.disks.0.size": 10737418240}),
    ("a disk goes", kinds.VIRTUAL_MACHINE, {}, {"spec.disks.2": REMOVED}),
    ("a disk comes", kinds.VIRTUAL_MACHINE, {}, {"spec.disks.3": {"name": "more", "size": "1Gi"}}),
    (
        "disks change places",
        kinds.VIRTUAL_MACHINE,
        {},
        {"spec.disks": [*reversed(specimen(kinds.VIRTUAL_MACHINE)["spec"]["disks"])]},
    ),
    ("another volume under a name", kinds.VIRTUAL_MACHINE, {}, {"spec.disks.1.volumeName": "other"}),
    ("the default pool by its name", kinds.VIRTUAL_MACHINE, {}, {"spec.disks.2.storagePoolName": "default"}),
    (
        "a class instead of sizes",
        kinds.VIRTUAL_MACHINE,
        {},
        {"spec.cpu": REMOVED, "spec.memory": REMOVED, "spec.className": "small"},
    ),
    (
        "sizes instead of a class",
        kinds.VIRTUAL_MACHINE,
        {"spec.cpu": REMOVED, "spec.memory": REMOVED, "spec.className": "small"},
        {"spec.className": REMOVED, "spec.cpu": {"cores": 1}, "spec.memory": {"size": "1Gi"}},
    ),
    ("less memory", kinds.VIRTUAL_MACHINE, {}, {"spec.memory.size": "512Mi"}),
    ("a VM is halted", kinds.VIRTUAL_MACHINE, {}, {"spec.runStrategy": "Halted"}),
    ("a class gains a label", kinds.VIRTUAL_MACHINE_CLASS, {}, {"metadata.labels": {"a": "b"}}),
    (
        "an image moves to another server",
        kinds.VIRTUAL_MACHINE_IMAGE,
        {},
        {"spec.source.http.url": "https://cdn.example.com/x"},
    ),
    ("a pool becomes shared", kinds.STORAGE_POOL, {}, {"spec.shared": True}),
    (
        "a network gains a subnet",
        kinds.VIRTUAL_NETWORK,
        {},
        {"spec.subnets.1": {"cidr": "fd00:1::/64", "gateway": "fd00:1::1"}},
    ),
)


@pytest.mark.parametrize(
    ("kind", "before", "after", "message"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED]
)
async def test_what_would_lose_data_or_identity_is_refused(
    api: ApiClient, kind: Kind, before: dict[str, Any], after: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await change(api, kind, before, after)
    assert message in refusal.value.message


@pytest.mark.parametrize(("kind", "before", "after"), [pytest.param(*case[1:], id=case[0]) for case in ALLOWED])
async def test_the_rest_may_change(api: ApiClient, kind: Kind, before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = await change(api, kind, before, after)
    assert changed["metadata"]["name"] == "changing"
