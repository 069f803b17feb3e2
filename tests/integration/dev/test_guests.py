"""What the nodes are for: a guest from the built image boots under a node's libvirt and answers on the VM network."""

import hashlib
import http.client
import io
import json
import sys
import time
from pathlib import Path

import pycdlib
import pytest

from berth_dev import Cluster, Options, demo, startup
from berth_dev.processes import poll_until

pytestmark = pytest.mark.integration

_DOMAIN = """\
<domain type='qemu'>
  <name>guest</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/images/root.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><source file='/var/lib/libvirt/images/seed.iso'/>
      <target dev='vdb' bus='virtio'/><readonly/></disk>
    <interface type='bridge'><mac address='02:be:00:00:00:10'/>
      <source bridge='vmbr0'/><model type='virtio'/></interface>
    <serial type='file'><source path='/var/log/libvirt/guest.log'/></serial>
  </devices>
</domain>
"""
_NETWORK = """\
version: 2
ethernets:
  nic0:
    match: {{macaddress: "02:be:00:00:00:10"}}
    addresses: [{address}/24]
"""


def _write_seed(path: Path, address: str) -> None:
    files = {"meta-data": "instance-id: i\nlocal-hostname: hello\n", "network-config": _NETWORK.format(address=address)}
    iso = pycdlib.PyCdlib()
    iso.new(vol_ident="cidata", joliet=3, rock_ridge="1.09")
    for number, (name, text) in enumerate(files.items()):
        data = text.encode()
        iso.add_fp(io.BytesIO(data), len(data), f"/F{number}.;1", rr_name=name, joliet_path=f"/{name}")
    iso.write(str(path))
    iso.close()


def _page(address: str, timeout: float) -> str:
    deadline = time.monotonic() + timeout
    while True:
        connection = http.client.HTTPConnection(address, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except OSError:
            assert poll_until(deadline, interval=0.2), f"no answer from {address}"
        finally:
            connection.close()


def test_a_guest_on_a_node_answers_this_machine_and_goes_down_with_the_cluster(root: Path) -> None:
    cluster = Cluster.up("guests", Options(nodes=1, operator=False, agent=False), root=root)
    node, image = cluster.nodes[0], cluster.images["tiny"]
    address = str(cluster.vm_subnet.network_address + 10)

    digest = "import hashlib, sys, urllib.request\nbody = urllib.request.urlopen(sys.argv[1], timeout=10).read()\n"
    digest += "print(hashlib.sha256(body).hexdigest())"
    assert node.exec([sys.executable, "-c", digest, image.url]).stdout.strip() == image.sha256
    assert hashlib.sha256(image.path.read_bytes()).hexdigest() == image.sha256

    disks = node.folder / "fs/var/lib/libvirt/images"
    disks.mkdir(exist_ok=True)
    _write_seed(disks / "seed.iso", address)
    overlay = ["-f", "qcow2", "-F", "qcow2", "-b", str(image.path), "/var/lib/libvirt/images/root.qcow2"]
    node.exec(["qemu-img", "create", *overlay])
    (disks / "guest.xml").write_text(_DOMAIN, encoding="utf-8")
    node.exec(["virsh", "-c", "qemu:///system", "create", "/var/lib/libvirt/images/guest.xml"])
    guest = int(node.exec(["cat", "/run/libvirt/qemu/guest.pid"]).stdout)
    assert "hostname hello" in _page(address, timeout=60)

    cluster.down()
    assert not Path(f"/proc/{guest}/cmdline").exists() or Path(f"/proc/{guest}/cmdline").read_bytes() == b""
    assert not root.exists()


def test_the_examples_fit_the_cluster_that_the_demo_makes(root: Path, bare: Options) -> None:
    cluster = Cluster.up("examples", bare, root=root)
    for file in demo.EXAMPLES:
        text = (startup.project_root() / "examples" / file).read_text(encoding="utf-8")
        cluster.kubectl("apply", "-f", "-", stdin=demo.for_cluster(text, cluster))
    vms = json.loads(cluster.kubectl("get", demo.VM, "-o", "json"))["items"]
    assert len([demo.view(vm) for vm in vms]) == 3
    image = json.loads(cluster.kubectl("get", "clustervirtualmachineimages.berth.dev", "tiny", "-o", "json"))
    assert image["spec"]["checksum"] == f"sha256:{cluster.images['tiny'].sha256}"
    network = json.loads(cluster.kubectl("get", "virtualnetworks.berth.dev", "default", "-o", "json"))
    assert network["spec"]["subnets"][0]["gateway"] == str(cluster.vm_gateway)
