"""From `kubectl apply` to the guest's first answer, beside the same steps done by hand.

By hand means: a shell on the same node that runs qemu-img on the same cached image, the same CNI plugin, the same links
from its sandbox to a tap, and `virsh create` of the domain XML that Berth itself made for such a VM. The seed is made
beforehand, which is in favour of the hand. Both are timed from their first process to the first HTTP answer; the
guest's MAC is known to the host beforehand, so no time is spent on ARP's retries. Runs alternate, in one cluster.
"""

import http.client
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from uuid import uuid4

from benchmarks.figures import Target, conclude, resident_mib, table
from berth_agent.storage.cloud_init import Seed, SeedInterface, documents
from berth_agent.storage.seeds import iso_of
from berth_dev.clusters import Cluster
from berth_dev.nodes import NodeHandle
from berth_dev.progress import timed_lines
from berth_dev.states import Options

RUNS = 10
RATIO_LIMIT = 1.3
MEMORY_LIMIT = 150.0
POLL = 0.01
PATIENCE = 120.0
IDLE_SECONDS = 15.0
"""Without a VM to work on, before the memory is read: the last deletion is worked off, and a heartbeat has gone by."""
HERE = Path(__file__).parent


def main() -> None:
    """Measure, print, and say whether the targets are met."""
    say = timed_lines()
    cluster = Cluster.up("bench-boot", Options(nodes=1), say=say, anew=True)
    try:
        measure(cluster, runs=int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
    finally:
        cluster.down()


def measure(cluster: Cluster, *, runs: int) -> None:
    """Alternate between Berth and the hand, then look at the memory of the idle parts."""
    node = cluster.nodes[0]
    prepare(cluster)
    template = warm_up(cluster, node)
    berth: list[float] = []
    hand: list[float] = []
    for number in range(runs):
        pair = [(hand, hand_once), (berth, berth_once)]
        for series, once in pair if number % 2 else reversed(pair):
            address, mac = guest(cluster, len(berth) * 2 + len(hand) * 2 + (series is hand))
            neighbour(cluster, address, mac)
            series.append(once(cluster, node, address, mac, template))
            print(f"run {number + 1}: {'hand' if series is hand else 'berth'} {series[-1]:.3f} s", flush=True)
    print(f"\nwaiting {IDLE_SECONDS:g} s for the parts to be idle", flush=True)
    time.sleep(IDLE_SECONDS)
    operator, agent = resident_mib(cluster.operator.pid), resident_mib(node.agent.pid)
    table("boot: from apply to the first answer", {"Berth": berth, "by hand": hand}, "s")
    print(f"\nmemory after {IDLE_SECONDS:g} s of idleness: operator {operator:.0f} MiB, agent {agent:.0f} MiB")
    ratio = median(berth) / median(hand)
    conclude(
        "boot",
        [
            Target("ratio", ratio, RATIO_LIMIT),
            Target("operator_mib", operator, MEMORY_LIMIT),
            Target("agent_mib", agent, MEMORY_LIMIT),
        ],
        berth_s=median(berth),
        hand_s=median(hand),
    )


def prepare(cluster: Cluster) -> None:
    """A network and an image."""
    prefix = str(cluster.vm_subnet.network_address).rpartition(".")[0]
    plugin = {
        "type": "bridge",
        "bridge": "vmbr0",
        "ipam": {"type": "static"},
        "capabilities": {"ips": True, "mac": True},
    }
    tiny = cluster.images["tiny"]
    cluster.kubectl.apply(
        [
            {
                "apiVersion": "berth.dev/v1alpha1",
                "kind": "VirtualNetwork",
                "metadata": {"name": "default"},
                "spec": {
                    "cni": {"plugins": [plugin]},
                    "subnets": [{"cidr": f"{prefix}.0/24", "gateway": f"{prefix}.1"}],
                },
            },
            {
                "apiVersion": "berth.dev/v1alpha1",
                "kind": "ClusterVirtualMachineImage",
                "metadata": {"name": "tiny"},
                "spec": {"source": {"http": {"url": tiny.url}}, "checksum": f"sha256:{tiny.sha256}"},
            },
        ]
    )


def manifest(name: str, address: str, mac: str) -> str:
    """A small VM with an address and a MAC that are known beforehand."""
    return json.dumps(
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "VirtualMachine",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "cpu": {"cores": 1},
                "memory": {"size": "96Mi"},
                "disks": [
                    {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "64Mi"}
                ],
                "networks": [{"name": "lan", "networkName": "default", "ipAddresses": [address], "macAddress": mac}],
            },
        }
    )


def guest(cluster: Cluster, number: int) -> tuple[str, str]:
    """An address and a MAC that no other run has."""
    return str(cluster.vm_subnet.network_address + 20 + number), f"02:be:ce:00:00:{number:02x}"


def neighbour(cluster: Cluster, address: str, mac: str) -> None:
    """Tell the host the guest's MAC, so that ARP's retries are not part of what is measured."""
    _run(["ip", "neigh", "replace", address, "lladdr", mac, "dev", cluster.run.plan.vm_bridge, "nud", "permanent"])


def warm_up(cluster: Cluster, node: NodeHandle) -> dict[str, str]:
    """Boot one VM, so that the image is cached; returns what the hand needs: its domain XML, its image, its seed."""
    address, mac = guest(cluster, 200)
    neighbour(cluster, address, mac)
    cluster.kubectl("apply", "-f", "-", stdin=manifest("warm", address, mac))
    first_answer(address)
    cluster.kubectl("wait", "--for=condition=Ready", "vm/warm", "--timeout=60s", timeout=70)
    vm = json.loads(cluster.kubectl("get", "vm", "warm", "-o", "json"))
    xml = node.exec(["virsh", "dumpxml", "--inactive", "default_warm"]).stdout
    # With Berth's metadata the agent would take the hand's domain for its own, find no VM, and destroy it.
    xml = re.sub(r"<metadata.*?</metadata>", "", xml, flags=re.DOTALL)
    disk = vm["status"]["disks"][0]["source"]
    seed = f"/var/lib/berth/seeds/{vm['metadata']['uid']}.iso"
    info = json.loads(node.exec(["qemu-img", "info", "-U", "--output=json", disk]).stdout)
    node.exec(["cp", seed, "/var/lib/berth/hand.iso"])
    found = {
        "xml": xml,
        "uid": vm["metadata"]["uid"],
        "disk": disk,
        "seed": seed,
        "tap": vm["status"]["interfaces"][0]["device"],
        "mac": mac,
        "address": address,
        "image": info["full-backing-filename"],
    }
    cluster.kubectl("delete", "vm", "warm", "--timeout=60s", timeout=70)
    return found


def berth_once(cluster: Cluster, _node: NodeHandle, address: str, mac: str, _template: dict[str, str]) -> float:
    """Seconds from `kubectl apply` to the first answer."""
    name = f"run-{uuid4().hex[:8]}"
    document = manifest(name, address, mac)
    begun = time.perf_counter()
    cluster.kubectl("apply", "-f", "-", stdin=document)
    first_answer(address)
    seconds = time.perf_counter() - begun
    cluster.kubectl("delete", "vm", name, "--timeout=60s", timeout=70)
    return seconds


def hand_once(cluster: Cluster, node: NodeHandle, address: str, mac: str, template: dict[str, str]) -> float:
    """Seconds from the first command to the first answer."""
    name, uid = f"hand-{uuid4().hex[:4]}", str(uuid4())
    seed_for(node, template, address, mac)
    xml = template["xml"].replace(template["disk"], f"/var/lib/berth/{name}.qcow2").replace("default_warm", name)
    xml = xml.replace(template["seed"], "/var/lib/berth/hand.iso").replace(template["uid"], uid)
    xml = xml.replace(template["tap"], f"t-{name}").replace(template["mac"], mac)
    node.exec(["sh", "-c", f"cat > /var/lib/berth/{name}.xml"], stdin=xml)
    environment = {
        "NAME": name,
        "IMAGE": template["image"],
        "CNI": str(cluster.run.artifacts.cni),
        "ADDRESS": f"{address}/24",
        "MAC": mac,
    }
    script = [*node.entering, "env", *(f"{key}={value}" for key, value in environment.items()), "sh", "-eu"]
    begun = time.perf_counter()
    _run([*script, str(HERE / "boot_by_hand.sh"), "up"])
    first_answer(address)
    seconds = time.perf_counter() - begun
    _run([*script, str(HERE / "boot_by_hand.sh"), "down"])
    return seconds


def seed_for(node: NodeHandle, template: dict[str, str], address: str, mac: str) -> None:
    """The seed that the hand uses: Berth's own of the first VM, with another address. Not timed."""
    interface = SeedInterface(name="lan", mac_address=mac, addresses=(f"{address}/24",), gateways=())
    iso = iso_of(documents(Seed(vm_uid=template["uid"], vm_name="hand", interfaces=(interface,))))
    node.path("/var/lib/berth/hand.iso").write_bytes(iso)


def first_answer(address: str) -> None:
    """Return when the guest's web server has answered.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(address, timeout=0.25)
        try:
            connection.request("GET", "/")
            connection.sock.settimeout(5)
            if connection.getresponse().read():
                return
        except (OSError, http.client.HTTPException):
            time.sleep(POLL)
        finally:
            connection.close()
    raise TimeoutError(f"{address} has not answered within {PATIENCE:g} s")


def _run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, timeout=60, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
