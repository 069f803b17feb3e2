"""Binding on a real API server: one write, two field managers, and every way back from a binding."""

import asyncio
import statistics
import time
from base64 import b64decode, b64encode
from typing import Any

import pytest
from nacl.public import SealedBox
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import DIGEST, World, scheduled

from berth_api import kinds
from berth_api.client import NotFound
from berth_api.fields import AGENT, FINALIZER, OPERATOR

pytestmark = pytest.mark.integration


def managers(vm: dict[str, Any]) -> dict[str, str]:
    """Field managers of the status, with the operation they used."""
    return {
        entry["manager"]: entry["operation"]
        for entry in vm["metadata"]["managedFields"]
        if entry.get("subresource") == "status"
    }


async def test_a_vm_is_bound_by_one_write_in_a_few_milliseconds(world: World) -> None:
    await world.add_node("node-1", memory="32Gi", cpu="32")
    async with world.operator():
        await world.create_vm("warm-up")
        await world.bound("warm-up")
        offset = world.server.audit.stat().st_size
        took = []
        for number in range(20):
            started = time.monotonic()
            await world.create_vm(f"vm-{number}")
            vm = await world.bound(f"vm-{number}")
            took.append(time.monotonic() - started)
        assert vm["status"]["phase"] == "Scheduled"
        assert statistics.median(took) < 0.25
        assert max(took) < 1.0
        writes, _ = world.server.writes_since(offset)
        about_vm = [write for write in writes if "/virtualmachines/vm-7" in write["requestURI"]]
        assert [write["verb"] for write in about_vm] == ["patch"]
        assert managers(vm) == {OPERATOR: "Apply"}

        async def told() -> bool:
            events = (await world.api.list(kinds.EVENT, "default")).items
            about = [event for event in events if event["regarding"]["name"] == "vm-7"]
            return [(event["reason"], event["note"]) for event in about] == [("Scheduled", "bound to node node-1")]

        await eventually(told, 5)


async def test_an_agent_takes_the_phase_over_and_the_binding_stays_the_operators(world: World) -> None:
    await world.add_node("node-1")
    async with world.operator(audit_interval="1"):
        await world.create_vm("web")
        claim = (await world.bound("web"))["status"]["claim"]
        await world.answer("web", admittedClaim=claim["id"], phase="Starting")
        await world.answer("web", admittedClaim=claim["id"], phase="Running", observedGeneration=1)
        await asyncio.sleep(2.5)
        vm = await world.vm("web")
        assert managers(vm) == {OPERATOR: "Apply", AGENT: "Apply"}
        assert (vm["status"]["phase"], vm["status"]["nodeName"], vm["status"]["claim"]) == ("Running", "node-1", claim)
        assert scheduled(vm)["status"] == "True"


async def test_a_refused_vm_goes_to_another_node_and_keeps_its_addresses(world: World) -> None:
    await world.add_node("node-1")
    await world.add_node("node-2")
    async with world.operator():
        await world.create_vm("web")
        first = (await world.bound("web"))["status"]
        await world.answer("web", refusedClaim=first["claim"]["id"], phase="Scheduled")

        async def moved() -> dict[str, Any] | None:
            vm = await world.vm("web")
            return vm if vm["status"].get("nodeName") not in (None, first["nodeName"]) else None

        vm = await eventually(moved)
        assert vm["status"]["claim"]["id"] != first["claim"]["id"]
        assert vm["status"]["claim"]["interfaces"] == first["claim"]["interfaces"]
        assert vm["status"]["phase"] == "Scheduled"
        await world.answer("web", admittedClaim=vm["status"]["claim"]["id"], phase="Running")
        assert "refusedClaim" not in (await world.vm("web"))["status"]


async def test_a_vm_refused_by_its_only_node_loses_its_binding_whole(world: World) -> None:
    await world.add_node("node-1")
    async with world.operator():
        await world.create_vm("web")
        claim = (await world.bound("web"))["status"]["claim"]
        await world.answer("web", refusedClaim=claim["id"], phase="Starting")
        vm = await world.reason("web", "Unschedulable")
        assert "nodeName" not in vm["status"]
        assert "claim" not in vm["status"]
        assert vm["status"]["phase"] == "Unschedulable"
        assert "1 refused this VM lately" in scheduled(vm)["message"]


async def test_a_vm_that_fits_nowhere_is_bound_when_a_node_appears(world: World) -> None:
    await world.add_node("node-1", memory="1Gi")
    async with world.operator():
        await world.create_vm("huge", memory={"size": "2Gi"})
        vm = await world.reason("huge", "Unschedulable")
        assert vm["status"]["phase"] == "Unschedulable"
        assert scheduled(vm)["message"].startswith("0/1 nodes: 1 lacks memory (closest: node-1, short of 1.")
        await world.add_node("node-2", memory="8Gi")
        assert (await world.bound("huge", 2))["status"]["nodeName"] == "node-2"


async def test_the_finalizer_goes_only_after_the_node_has_released_the_claim(world: World) -> None:
    await world.add_node("node-1")
    async with world.operator():
        await world.create_vm("web")
        claim = (await world.bound("web"))["status"]["claim"]
        await world.answer("web", admittedClaim=claim["id"], phase="Running")
        await world.api.delete(kinds.VIRTUAL_MACHINE, "web", "default")
        await asyncio.sleep(1)
        assert (await world.vm("web"))["metadata"]["finalizers"] == [FINALIZER]
        await world.answer("web", admittedClaim=claim["id"], releasedClaim=claim["id"], phase="Terminating")

        async def gone() -> bool:
            try:
                await world.vm("web")
            except NotFound:
                return True
            return False

        await eventually(gone, 2)


async def test_an_unbound_vm_is_deleted_at_once_and_a_users_finalizer_stays(world: World) -> None:
    async with world.operator():
        body = await world.create_vm("web")
        await world.reason("web", "Unschedulable")
        operations = [{"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/mine"}]
        await world.api.patch_json(kinds.VIRTUAL_MACHINE, "web", "default", operations)
        await world.api.delete(kinds.VIRTUAL_MACHINE, "web", "default", uid=body["metadata"]["uid"])

        async def dropped() -> bool:
            return (await world.vm("web"))["metadata"]["finalizers"] == ["example.com/mine"]

        await eventually(dropped, 2)


async def test_a_vm_without_the_finalizer_gets_it_and_no_third_field_manager(world: World) -> None:
    await world.add_node("node-1")
    async with world.operator():
        await world.create_vm("web")
        operations = [{"op": "remove", "path": "/metadata/finalizers"}]
        await world.bound("web")
        await world.api.delete(kinds.VIRTUAL_MACHINE, "web", "default")
        await world.api.patch_json(kinds.VIRTUAL_MACHINE, "web", "default", operations)
        body = {"metadata": {"name": "bare", "namespace": "default"}, "spec": (await world.create_vm("web-2"))["spec"]}
        await world.api.create(kinds.VIRTUAL_MACHINE, body, "default")
        vm = await world.bound("bare")
        assert vm["metadata"]["finalizers"] == [FINALIZER]
        assert {entry["manager"] for entry in vm["metadata"]["managedFields"]} == {"test", OPERATOR}


async def test_two_vms_that_want_the_same_addresses_do_not_both_get_them(world: World) -> None:
    await world.add_node("node-1")
    nic = {"name": "nic", "networkName": "lan", "macAddress": "02:00:00:00:00:07"}
    fixed = {"name": "nic", "networkName": "lan", "ipAddresses": ["10.7.0.77"]}
    async with world.operator():
        await world.create_vm("mac-1", networks=[nic])
        await world.bound("mac-1")
        await world.create_vm("mac-2", networks=[nic])
        assert "held by VM default/mac-1" in scheduled(await world.reason("mac-2", "MacAddressInUse"))["message"]
        await world.create_vm("ip-1", networks=[fixed])
        claim = (await world.bound("ip-1"))["status"]["claim"]
        assert claim["interfaces"][0]["ipAddresses"] == ["10.7.0.77/24"]
        await world.create_vm("ip-2", networks=[fixed])
        await world.reason("ip-2", "AddressInUse")
        await world.api.delete(kinds.VIRTUAL_MACHINE, "ip-1", "default")
        await world.answer("ip-1", releasedClaim=claim["id"])
        assert (await world.bound("ip-2", 2))["status"]["claim"]["interfaces"][0]["ipAddresses"] == ["10.7.0.77/24"]


async def test_user_data_from_a_secret_reaches_only_the_node(world: World) -> None:
    await world.add_node("node-1")
    async with world.operator():
        await world.create_vm("web", cloudInit={"userDataSecretRef": {"name": "s", "key": "user-data"}})
        await world.reason("web", "SecretNotFound")
        data = {"user-data": b64encode(b"#cloud-config hidden").decode()}
        await world.api.create(
            kinds.SECRET, {"metadata": {"name": "s", "namespace": "default"}, "data": data}, "default"
        )
        vm = await world.bound("web", 5)
        sealed = b64decode(vm["status"]["claim"]["sealedUserData"])
        assert SealedBox(world.keys["node-1"]).decrypt(sealed) == b"#cloud-config hidden"


async def test_waiting_for_what_is_missing_ends_when_it_appears(world: World) -> None:
    await world.add_node("node-1")
    async with world.operator():
        await world.create_vm("web", networks=[{"name": "nic", "networkName": "wan"}])
        await world.reason("web", "NetworkNotFound")
        spec = {"cni": {"plugins": [{"type": "macvlan"}]}}
        await world.api.create(kinds.VIRTUAL_NETWORK, {"metadata": {"name": "wan"}, "spec": spec})
        vm = await world.bound("web", 2)
        assert (
            "ipAddresses" not in vm["status"]["claim"]["interfaces"][0]
            or not vm["status"]["claim"]["interfaces"][0]["ipAddresses"]
        )


async def test_nodes_images_pools_and_networks_tell_what_there_is(world: World) -> None:
    await world.add_node("node-1")
    copy = {"digest": DIGEST, "format": "qcow2", "virtualSize": "512Mi", "size": "90Mi"}
    hypervisor = (await world.api.get(kinds.HYPERVISOR, "node-1"))["status"] | {"images": [copy]}
    await world.api.apply(
        kinds.HYPERVISOR, "node-1", "", {"status": hypervisor}, field_manager=AGENT, subresource="status"
    )
    async with world.operator():
        await world.create_vm("web")
        await world.bound("web")

        async def told() -> bool:
            labels = (await world.api.get(kinds.NODE, "node-1"))["metadata"]["labels"]
            image = (await world.api.get(kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, "tiny"))["status"]
            pool = (await world.api.get(kinds.STORAGE_POOL, "default"))["status"]
            network = (await world.api.get(kinds.VIRTUAL_NETWORK, "lan"))["status"]
            assert labels["capacity.berth.dev/memory-mib"] == "4096"
            assert labels["cpu-model.berth.dev/Haswell"] == "true"
            assert (image["phase"], image["nodes"], image["virtualSize"]) == ("Ready", ["node-1"], "536870912")
            assert pool == {"nodes": 1}
            assert (network["allocated"], network["free"]) == (1, 252)
            return True

        await eventually(told, 5)
        await world.api.delete(kinds.HYPERVISOR, "node-1")

        async def unlabelled() -> bool:
            labels = (await world.api.get(kinds.NODE, "node-1"))["metadata"].get("labels", {})
            return not [key for key in labels if "berth.dev" in key]

        await eventually(unlabelled, 5)
