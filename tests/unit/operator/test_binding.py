"""Binding a VM: what is written, what keeps it from being bound, and what wakes it."""

import asyncio
from base64 import b64decode, b64encode
from typing import Any

import pytest
from nacl.public import SealedBox
from tests.unit.operator.worlds import DIGEST, KEY, World, vm_body

from berth_api import kinds
from berth_api.client import Conflict
from berth_api.fields import FINALIZER
from berth_api.overhead import memory_overhead
from berth_api.quantities import to_bytes
from berth_operator.scheduling.macs import generate

pytestmark = pytest.mark.looptime
MIB = 1024**2


async def furnished(**settings: Any) -> World:
    world = World(**settings)
    world.furnish()
    return world


async def test_one_write_binds_claims_and_addresses_a_vm() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web")
    async with world.leading():
        vm = world.vm("web")
    status = vm.status
    assert (status.node_name, status.phase, status.observed_generation) == ("node-1", "Scheduled", 1)
    assert status.claim is not None
    assert (status.claim.epoch, status.claim.cpu, status.claim.storage) == (7, "1", "1Gi")
    assert to_bytes(status.claim.memory) == 256 * MIB + memory_overhead(1, 256 * MIB, "tcg")
    assert [(pool.name, pool.size) for pool in status.claim.pools] == [("default", "1Gi")]
    (nic,) = status.claim.interfaces
    assert (nic.name, nic.network_name, nic.ip_addresses) == ("nic", "lan", ("10.7.0.2/24",))
    assert nic.mac_address.startswith("02:be:")
    assert world.why("web") == ("Bound", "bound to node node-1")
    assert len(world.status_writes()) == 1
    assert world.api.managers(kinds.VIRTUAL_MACHINE, "web", "default") == {"berth-operator"}


async def test_nothing_is_written_once_all_is_said() -> None:
    world = await furnished(audit_interval=45.0)
    world.add_node("node-1")
    world.add_vm("web")
    world.add_vm("huge", memory={"size": "1Ti"})
    world.add_vm("lost", networks=[{"name": "nic", "networkName": "none"}])
    async with world.leading():
        await world.settle(35)
        before = len(world.api.writes)
        for _ in range(10):
            await world.beat("node-1")
            await world.settle(30)
        assert [call for call in world.api.writes[before:] if call.kind != "Lease"] == []


async def test_a_vm_without_finalizer_gets_it_before_it_is_bound() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web", finalizers=("example.com/mine",))
    world.add_vm("bare", finalizers=())
    async with world.leading():
        assert world.vm("web").metadata.finalizers == ("example.com/mine", FINALIZER)
        assert world.vm("bare").metadata.finalizers == (FINALIZER,)
    verbs = [(call.verb, call.subresource) for call in world.api.writes if call.name == "web"]
    assert verbs == [("patch_json", ""), ("apply", "status")]


def disk(**more: Any) -> list[dict[str, Any]]:
    image = {"kind": "ClusterVirtualMachineImage", "name": "tiny"}
    return [{"name": "root", "imageRef": image, "size": "1Gi", **more}]


def nic(**more: Any) -> list[dict[str, Any]]:
    return [{"name": "nic", "networkName": "lan", **more}]


@pytest.mark.parametrize(
    ("spec", "reason", "hint"),
    [
        (
            {"cpu": None, "memory": None, "className": "small"},
            "ClassNotFound",
            "create it, or name another in className",
        ),
        ({"networks": nic(networkName="wan")}, "NetworkNotFound", "VirtualNetwork wan does not exist"),
        ({"networks": None}, "NetworkNotFound", "VirtualNetwork default does not exist: create it"),
        ({"networks": nic(networkName="private")}, "NamespaceNotAllowed", "add it to the network's allowedNamespaces"),
        (
            {"disks": disk(imageRef={"name": "tiny"})},
            "ImageNotFound",
            "VirtualMachineImage tiny does not exist in namespace",
        ),
        ({"disks": disk(storagePoolName="fast")}, "StoragePoolNotFound", "StoragePool fast of disk root"),
        ({"disks": [{"name": "root", "volumeName": "v"}]}, "VolumesNotSupported", "use imageRef, or a blank disk"),
        ({"networks": nic(ipAddresses=["10.8.0.1"])}, "AddressOutsideSubnet", "choose an address of 10.7.0.0/24"),
        ({"networks": nic(ipAddresses=["10.7.0.1"])}, "AddressOutsideSubnet", "never given out"),
        ({"networks": nic(ipAddresses=["10.7.0.9"])}, "AddressInUse", "held by VM default/first"),
        ({"networks": nic(macAddress="02:00:00:00:00:01")}, "MacAddressInUse", "held by VM default/first"),
        ({"cloudInit": {"userDataSecretRef": {"name": "s", "key": "k"}}}, "SecretNotFound", "Secret s does not exist"),
        ({"cloudInit": {"userDataSecretRef": {"name": "there", "key": "k"}}}, "SecretKeyNotFound", "has no key k"),
        ({"cloudInit": {"userDataSecretRef": {"name": "there", "key": "big"}}}, "UserDataTooLarge", "70000 bytes"),
        (
            {
                "affinity": {
                    "vmAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {"topologyKey": "h", "labelSelector": {"matchLabels": {"app": "db"}}}
                        ]
                    }
                }
            },
            "Unschedulable",
            "0/1 nodes: 1 is not near the VMs of vmAffinity (app=db by h)",
        ),
        (
            {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
            "Unschedulable",
            "1 would make topologySpreadConstraints uneven (z, maxSkew 1)",
        ),
        ({"priorityClassName": "urgent"}, "PriorityClassNotFound", "PriorityClass urgent does not exist: create it"),
        ({"schedulerProfile": "mine"}, "SchedulerProfileNotFound", "to one of default, pack"),
        ({"firmware": {"kernel": {"imageRef": {"name": "vmlinuz"}}}}, "NotSupported", "firmware.kernel"),
    ],
)
async def test_a_vm_says_what_keeps_it_from_being_bound(spec: dict[str, Any], reason: str, hint: str) -> None:
    world = await furnished()
    world.api.add(
        kinds.VIRTUAL_NETWORK,
        {
            "metadata": {"name": "private"},
            "spec": {"cni": {"plugins": [{"type": "x"}]}, "allowedNamespaces": ["other"]},
        },
    )
    secret = {"metadata": {"name": "there", "namespace": "default"}, "data": {"big": b64encode(bytes(70000)).decode()}}
    world.api.add(kinds.SECRET, secret)
    world.add_node("node-1")
    world.add_vm("first", networks=nic(ipAddresses=["10.7.0.9"], macAddress="02:00:00:00:00:01"))
    async with world.leading():
        world.add_vm("web", **spec)
        await world.settle()
    vm = world.vm("web")
    assert world.why("web")[0] == reason
    assert hint in world.why("web")[1]
    phase = "Unschedulable" if reason == "Unschedulable" else "Pending"
    assert (vm.status.phase, vm.status.node_name, vm.status.claim) == (phase, None, None)
    events = [
        call.body for call in world.api.writes if call.kind == "Event" and call.body["regarding"]["name"] == "web"
    ]
    assert [(event["reason"], event["type"]) for event in events] == [("FailedScheduling", "Warning")]


async def test_a_vm_is_bound_when_what_it_waited_for_appears() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web", cpu=None, memory=None, className="small")
    async with world.leading():
        assert world.why("web")[0] == "ClassNotFound"
        size = {"cpu": {"cores": 2}, "memory": {"size": "512Mi"}}
        world.api.add(kinds.VIRTUAL_MACHINE_CLASS, {"metadata": {"name": "small"}, "spec": size})
        await world.settle(0.5)
        claim = world.vm("web").status.claim
        assert claim is not None
        assert claim.cpu == "2"


async def test_a_vm_is_bound_when_its_secret_appears_and_only_its_node_can_read_it() -> None:
    world = await furnished(secret_poll=5.0)
    world.add_node("node-1")
    world.add_vm("web", cloudInit={"userDataSecretRef": {"name": "s", "key": "user-data"}})
    async with world.leading():
        data = {"user-data": b64encode(b"#cloud-config\npassword: hidden").decode()}
        world.api.add(kinds.SECRET, {"metadata": {"name": "s", "namespace": "default"}, "data": data})
        await world.settle(6)
        claim = world.vm("web").status.claim
    assert claim is not None
    assert claim.sealed_user_data is not None
    assert SealedBox(KEY).decrypt(b64decode(claim.sealed_user_data)) == b"#cloud-config\npassword: hidden"
    assert "hidden" not in str(world.api.peek(kinds.VIRTUAL_MACHINE, "web", "default"))


async def test_a_disk_smaller_than_its_image_is_refused_as_soon_as_the_size_is_known() -> None:
    world = await furnished()
    world.add_node("node-1", images=[{"digest": DIGEST, "format": "qcow2", "virtualSize": "2Gi", "size": "100Mi"}])
    async with world.leading():
        await world.settle()
        world.add_vm("web")
        await world.settle()
    reason, message = world.why("web")
    assert reason == "DiskSmallerThanImage"
    assert "image tiny needs 2147483648 bytes" in message


async def test_a_vm_that_fits_nowhere_says_so_and_is_bound_when_room_appears() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("huge", memory={"size": "8Gi"})
    async with world.leading():
        assert world.why("huge")[0] == "Unschedulable"
        assert "0/1 nodes: 1 lacks memory (closest: node-1, short of " in world.why("huge")[1]
        assert world.vm("huge").status.phase == "Unschedulable"
        world.add_node("node-2", memory="16Gi")
        await world.settle(0.5)
        assert world.vm("huge").status.node_name == "node-2"


async def test_a_freed_claim_makes_room() -> None:
    world = await furnished()
    world.add_node("node-1", memory="1200Mi")
    world.add_vm("first", memory={"size": "400Mi"})
    async with world.leading():
        world.add_vm("second", memory={"size": "400Mi"})
        await world.settle()
        assert world.vm("second").status.phase == "Unschedulable"
        claim = world.vm("first").status.claim
        assert claim is not None
        await world.api.delete(kinds.VIRTUAL_MACHINE, "first", "default")
        await world.agent("first", releasedClaim=claim.id)
        await world.settle(0.5)
        assert world.vm("second").status.node_name == "node-1"
        assert world.api.peek(kinds.VIRTUAL_MACHINE, "first", "default") is None


async def test_two_vms_that_are_created_at_once_never_share_an_address_or_overfill_a_node() -> None:
    world = await furnished()
    world.api.latency = 0.1
    world.add_node("node-1", memory="2Gi")
    for number in range(30):
        world.add_vm(f"vm-{number}")
    async with world.leading():
        vms = [world.vm(f"vm-{number}") for number in range(30)]
    claims = [vm.status.claim for vm in vms if vm.status.claim]
    addresses = [nic.ip_addresses for claim in claims for nic in claim.interfaces]
    assert 0 < len(claims) < 30
    assert len(set(addresses)) == len(addresses)
    assert sum(to_bytes(claim.memory) for claim in claims) <= (2048 - 512) * MIB
    assert all(vm.status.phase == "Unschedulable" for vm in vms if vm.status.claim is None)


async def test_a_halted_vm_is_not_bound_until_it_shall_run() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web", runStrategy="Halted")
    async with world.leading():
        assert world.why("web")[0] == "Halted"
        assert (world.vm("web").status.phase, world.vm("web").status.node_name) == ("Stopped", None)
        operations = [{"op": "replace", "path": "/spec/runStrategy", "value": "Always"}]
        await world.api.patch_json(kinds.VIRTUAL_MACHINE, "web", "default", operations)
        await world.settle(0.5)
        assert world.vm("web").status.node_name == "node-1"


async def test_a_lost_race_is_decided_again_on_the_new_state() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web")
    world.api.fail(Conflict(409, "Conflict", "changed"), verb="apply", kind=kinds.VIRTUAL_MACHINE)
    async with world.leading():
        assert world.vm("web").status.node_name == "node-1"
        assert len(world.operation.ledger) == 1


async def test_a_decision_on_a_state_that_is_no_longer_true_is_never_written() -> None:
    world = await furnished()
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("web")
        stale = world.api.peek(kinds.VIRTUAL_MACHINE, "web", "default")
        assert stale is not None
        operations = [{"op": "replace", "path": "/spec/runStrategy", "value": "Halted"}]
        await world.api.patch_json(kinds.VIRTUAL_MACHINE, "web", "default", operations)
        world.operation.cluster.machines.upsert(stale)
        await asyncio.sleep(5)
        assert world.vm("web").status.claim is None
        assert len(world.operation.ledger) == 0
        await world.settle(30)
        assert world.why("web")[0] == "Halted"


async def test_the_transition_time_moves_only_with_the_status() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web", networks=nic(networkName="wan"))
    async with world.leading():
        first = world.vm("web").status.condition("Scheduled")
        await asyncio.sleep(10)
        world.add_vm("huge", memory={"size": "1Ti"})
        operations = [{"op": "replace", "path": "/spec/networks/0/networkName", "value": "man"}]
        await world.api.patch_json(kinds.VIRTUAL_MACHINE, "web", "default", operations)
        await world.settle()
        second = world.vm("web").status.condition("Scheduled")
        assert first is not None
        assert second is not None
        assert second.message != first.message
        assert second.last_transition_time == first.last_transition_time
        operations[0]["value"] = "lan"
        await world.api.patch_json(kinds.VIRTUAL_MACHINE, "web", "default", operations)
        await world.settle()
        third = world.vm("web").status.condition("Scheduled")
        assert third is not None
        assert third.last_transition_time > second.last_transition_time


async def test_generated_macs_avoid_those_that_the_user_gave_to_another_interface() -> None:
    world = await furnished()
    world.add_node("node-1")
    body = vm_body("web")
    body["metadata"]["uid"] = "11111111-1111-4111-8111-111111111111"
    clash = generate("02:be", body["metadata"]["uid"], "auto", 0)
    body["spec"]["networks"] = [*nic(name="auto"), *nic(name="fixed", macAddress=clash)]
    world.api.add(kinds.VIRTUAL_MACHINE, body)
    async with world.leading():
        claim = world.vm("web").status.claim
        assert claim is not None
        macs = {one.name: one.mac_address for one in claim.interfaces}
        assert macs["fixed"] == clash
        assert macs["auto"] != clash
