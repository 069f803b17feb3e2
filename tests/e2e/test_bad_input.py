"""Bad input: a clear condition that says what to change, and nothing left behind."""

from typing import Any

import pytest
from tests.e2e.conftest import VM, World, address_of, http_answer, network
from tests.e2e.image_servers import HostileImageServer
from tests.e2e.traces import all_traces

from berth_dev.errors import CommandError

GOOD_DIGEST = "ab" * 32


def image(name: str, url: str, digest: str = GOOD_DIGEST) -> dict[str, Any]:
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualMachineImage",
        "metadata": {"name": name},
        "spec": {"source": {"http": {"url": url}}, "checksum": f"sha256:{digest}"},
    }


def vm_on(world: World, reference: str, size: str = "64Mi") -> dict[str, Any]:
    disk = {"name": "root", "imageRef": {"kind": "VirtualMachineImage", "name": reference}, "size": size}
    return world.vm("web", disks=[disk])


@pytest.mark.parametrize(
    ("path", "reason", "says"),
    [
        ("good", "ChecksumMismatch", "correct the checksum"),
        ("missing", "ImageNotFound", "404"),
        ("hang", "DownloadStalled", "sent nothing for 3 s"),
        ("half", "DownloadTruncated", "ended before the image did"),
        ("loopback", "DestinationForbidden", "127.0.0.1"),
    ],
)
def test_a_bad_image_server_is_named_on_the_vm(
    world: World, hostile_server: HostileImageServer, path: str, reason: str, says: str
) -> None:
    before = all_traces(world.cluster)
    world.apply(image("bad", hostile_server.url(path)), vm_on(world, "bad"))
    message = world.wait_for_reason("web", "DisksReady", reason)
    assert says in message
    assert world.condition("web", "Ready")["reason"] == reason
    vm = world.get("web")
    before[vm["status"]["nodeName"]]["files"].append(f"/var/lib/berth/origins/{vm['metadata']['uid']}.json")
    assert all_traces(world.cluster) == {
        node: {**left, "files": sorted(left["files"])} for node, left in before.items()
    }


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("localhost", "must not lead to"),
        ("127.0.0.1", "must not lead to"),
        ("169.254.169.254", "must not lead to"),
        ("[::1]", "must be a valid http"),
        ("[::ffff:127.0.0.1]", "must be a valid http"),
        ("2130706433", "must be a valid http"),
    ],
)
def test_an_image_url_with_an_address_of_the_node_itself_is_refused_by_the_api(
    world: World, host: str, says: str
) -> None:
    with pytest.raises(CommandError, match=says):
        world.apply(image("bad", f"http://{host}/latest/meta-data"))


def test_an_image_url_with_a_name_that_the_node_resolves_to_its_loopback_is_refused_by_the_agent(world: World) -> None:
    """Only the node knows what its /etc/hosts says, so the API cannot refuse it."""
    world.apply(image("bad", "http://localhost.localdomain/latest/meta-data"), vm_on(world, "bad"))
    assert "127.0.0.1" in world.wait_for_reason("web", "DisksReady", "DestinationForbidden")


def test_a_file_outside_the_configured_directory_is_refused(world: World) -> None:
    for path in ("../../etc/passwd", "/etc/passwd"):
        bad = image("bad", "http://images.berth.test/x")
        bad["spec"]["source"] = {"file": {"path": path}}
        with pytest.raises(CommandError, match=r"(?i)relative|should match|invalid"):
            world.apply(bad)
    missing = image("bad", "http://images.berth.test/x")
    missing["spec"]["source"] = {"file": {"path": "not-there.qcow2"}}
    world.apply(missing, vm_on(world, "bad"))
    assert world.wait_for_reason("web", "DisksReady", "ImageNotFound")


def test_a_vm_recovers_when_its_image_is_corrected(world: World, hostile_server: HostileImageServer) -> None:
    world.apply(image("mine", hostile_server.url("missing"), hostile_server.digest), vm_on(world, "mine"))
    world.wait_for_reason("web", "DisksReady", "ImageNotFound")
    world.apply(image("mine", hostile_server.url("good"), hostile_server.digest))
    world.kubectl("wait", "--for=condition=Ready", f"{VM}/web", "--timeout=120s", timeout=130)
    assert http_answer(address_of(world.get("web")))["hostname"] == "web"


def test_a_disk_smaller_than_its_image_says_how_large_it_must_be(world: World) -> None:
    built = world.cluster.images["tiny"]
    world.apply(image("mine", built.url, built.sha256), vm_on(world, "mine", size="16Mi"))
    condition = world.wait_for_any("web", "DiskSmallerThanImage")
    assert condition["status"] == "False"
    assert "at least" in condition["message"]


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"networks": [{"name": "a", "networkName": "nowhere"}]}, "NetworkNotFound", "nowhere"),
        ({"className": "nothing", "cpu": None, "memory": None}, "ClassNotFound", "nothing"),
        (
            {
                "disks": [
                    {"name": "root", "imageRef": {"kind": "VirtualMachineImage", "name": "no-image"}, "size": "1Gi"}
                ]
            },
            "ImageNotFound",
            "no-image",
        ),
        ({"disks": [{"name": "root", "size": "1Gi", "storagePoolName": "no-pool"}]}, "StoragePoolNotFound", "no-pool"),
    ],
)
def test_what_is_not_there_is_named(world: World, spec: dict[str, Any], reason: str, says: str) -> None:
    world.apply(world.vm("web", **spec))
    assert says in world.wait_for_reason("web", "Scheduled", reason)


def test_a_plugin_that_is_not_there_is_named_with_where_it_was_searched(world: World) -> None:
    """By the scheduler where the nodes have told of it already, by the agent where they had no time to."""
    prefix = str(world.cluster.vm_subnet.network_address).rpartition(".")[0]
    world.cluster.kubectl.apply([network("no-plugin", prefix, type="not-a-plugin")])
    world.apply(world.vm("web", networks=[{"name": "lan", "networkName": "no-plugin"}]))
    condition = world.wait_for_any("web", "PluginNotFound", "Unschedulable")
    assert "'not-a-plugin' was not found in" in condition["message"]


def test_a_plugin_that_fails_says_why_and_is_cleaned_up_after(world: World) -> None:
    prefix = str(world.cluster.vm_subnet.network_address).rpartition(".")[0]
    world.cluster.kubectl.apply([network("broken", prefix, bridge="lo")])
    world.apply(world.vm("web", networks=[{"name": "lan", "networkName": "broken"}]))
    message = world.wait_for_reason("web", "NetworkReady", "PluginFailed")
    assert "lo" in message


def test_a_second_vm_cannot_have_the_address_or_the_mac_of_the_first(world: World) -> None:
    address = str(world.cluster.vm_gateway + 199)
    mac = "52:54:00:12:34:56"
    nic = {"name": "lan", "networkName": "default"}
    (first,) = world.start(world.vm("first", networks=[{**nic, "ipAddresses": [address], "macAddress": mac}]))
    assert address_of(first) == address
    assert first["status"]["interfaces"][0]["macAddress"] == mac
    world.apply(
        world.vm("same-address", networks=[{**nic, "ipAddresses": [address]}]),
        world.vm("same-mac", networks=[{**nic, "macAddress": mac}]),
    )
    assert address in world.wait_for_reason("same-address", "Scheduled", "AddressInUse")
    assert mac in world.wait_for_reason("same-mac", "Scheduled", "MacAddressInUse")


def test_user_data_over_the_limit_is_refused_by_the_api(world: World) -> None:
    with pytest.raises(CommandError, match=r"65536|Too long"):
        world.apply(world.vm("web", cloudInit={"userData": "x" * 65537}))


@pytest.mark.parametrize("name", ["../escape", "a.b", "Upper", "x" * 64, "a/b", "-a"])
def test_an_unsafe_name_is_refused_by_the_api(world: World, name: str) -> None:
    with pytest.raises(CommandError, match=r"(?i)invalid"):
        world.apply(world.vm(name))
