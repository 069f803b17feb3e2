"""The peer: the same guests made by a loop over libvirt and the node's tools, in one process on the node.

Nothing of a claim, an API server, a record on disk, a sync or a check is here: what is left is what has to be done for
such a guest whoever does it. For each guest: `qemu-img create` on the cached image; a network namespace; the CNI
plugin's ADD; tap, veth pair and redirects; the DHCP server; the seed; define and start. The way back likewise. As many
guests at once as an agent works on, each thread with a libvirt connection of its own.

Reads one request a line from its standard input, and answers each with one line: a JSON object.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any
from uuid import uuid4

import libvirt

from benchmarks.agent.machines import INTERFACE, Guest, plugin
from berth_agent.network.datapaths import TX_QUEUE_LENGTH
from berth_agent.network.leases import SERVER_ADDRESS, Lease, dnsmasq_arguments
from berth_agent.network.names import GUEST_LINK
from berth_agent.network.plugins import IFNAME
from berth_agent.storage.cloud_init import Seed, SeedInterface, documents
from berth_agent.storage.seeds import iso_of

_DEADLINE = 60.0
_URI = "qemu:///system"
_NO_NVRAM_LEFT = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM


@dataclass(frozen=True)
class Template:
    """What all guests share.

    Attributes:
        xml: A domain as Berth defines it, with the placeholders of `PLACEHOLDERS`.
        image: The cached image's file.
        image_format: Its format.
        disk_bytes: Size of the disk.
        folder: Where disks, seeds and consoles go, on the file system where Berth's are.
        cni: Holds the CNI plugins.
        workers: Guests at once.
    """

    xml: str
    image: str
    image_format: str
    disk_bytes: int
    folder: str
    cni: str
    workers: int


PLACEHOLDERS = ("NAME", "UUID", "MAC", "TAP", "DISK", "SEED", "CONSOLE")


def filled(xml: str, values: dict[str, str]) -> str:
    """The domain of one guest."""
    for name in PLACEHOLDERS:
        xml = xml.replace(f"@{name}@", values[name])
    return xml


class BareLoop:
    """Makes guests, and takes them down."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._local = threading.local()
        self._folder = Path(template.folder)
        self._pool = ThreadPoolExecutor(template.workers)
        list(self._pool.map(lambda _: self._libvirt, range(template.workers)))

    def up(self, guests: Iterable[Guest]) -> None:
        """Make them all; returns when the last one runs."""
        self._each(self._up, guests)

    def down(self, guests: Iterable[Guest]) -> None:
        """Take them all down; returns when nothing is left."""
        self._each(self._down, guests)

    def _each(self, act: Callable[[Guest], None], guests: Iterable[Guest]) -> None:
        for _ in self._pool.map(act, guests):
            pass

    @property
    def _libvirt(self) -> Any:
        if not hasattr(self._local, "connection"):
            self._local.connection = libvirt.open(_URI)
        return self._local.connection

    def _up(self, guest: Guest) -> None:
        self._make_disk(guest)
        self._attach(guest)
        self._write_seed(guest)
        domain = self._libvirt.defineXML(self._xml(guest))
        domain.create()

    def _down(self, guest: Guest) -> None:
        domain = self._libvirt.lookupByName(guest.name)
        domain.destroy()
        domain.undefineFlags(_NO_NVRAM_LEFT)
        self._detach(guest)
        for suffix in ("qcow2", "iso", "log"):
            self._path(guest, suffix).unlink(missing_ok=True)

    def _make_disk(self, guest: Guest) -> None:
        on = ("-b", self._template.image, "-F", self._template.image_format)
        disk, size = str(self._path(guest, "qcow2")), str(self._template.disk_bytes)
        _run(["qemu-img", "create", "-q", "-f", "qcow2", *on, "--", disk, size])

    def _write_seed(self, guest: Guest) -> None:
        nic = SeedInterface(
            name=INTERFACE,
            mac_address=guest.mac_address,
            addresses=(guest.address,),
            gateways=(guest.gateway,),
            mtu=1500,
        )
        seed = Seed(vm_uid=str(uuid4()), vm_name=guest.name, interfaces=(nic,))
        self._path(guest, "iso").write_bytes(iso_of(documents(seed)))

    def _attach(self, guest: Guest) -> None:
        sandbox, tap, veth = _links(guest)
        _run(["ip", "netns", "add", sandbox])
        self._plugin("ADD", guest)
        host = [
            f"tuntap add {tap} mode tap vnet_hdr",
            f"link add {veth} type veth peer name {GUEST_LINK} netns {sandbox}",
            *(f"link set {link} addrgenmode none txqueuelen {TX_QUEUE_LENGTH} up" for link in (tap, veth)),
        ]
        inside = [
            "link set lo up",
            f"link set {GUEST_LINK} addrgenmode none up",
            f"link set {IFNAME} allmulticast on",
            f"address add {SERVER_ADDRESS}/32 dev {GUEST_LINK}",
            f"neighbour add {guest.ip} lladdr {guest.mac_address} dev {GUEST_LINK} nud permanent",
        ]
        enter = ["nsenter", f"--net=/run/netns/{sandbox}", "--"]
        _run(["ip", "-batch", "-"], host)
        _run(["tc", "-batch", "-"], redirect_lines(veth, tap))
        _run([*enter, "ip", "-batch", "-"], inside)
        _run([*enter, "tc", "-batch", "-"], redirect_lines(GUEST_LINK, IFNAME, answer_dhcp=True))
        _run([*enter, "sysctl", "-q", "-w", f"net.ipv4.conf.{GUEST_LINK}.accept_local=1"])
        _run([*enter, "dnsmasq", *dnsmasq_arguments(_lease(guest), self._path(guest, "pid"), "nobody")])

    def _detach(self, guest: Guest) -> None:
        sandbox, tap, veth = _links(guest)
        _end(self._path(guest, "pid"))
        _run(["ip", "-batch", "-"], [f"link delete dev {veth}", f"link delete dev {tap}"])
        self._plugin("DEL", guest)
        _run(["ip", "netns", "del", sandbox])

    def _plugin(self, command: str, guest: Guest) -> None:
        runtime = {"ips": [guest.address], "mac": guest.mac_address}
        config = {"cniVersion": "1.0.0", "name": "bare", **plugin(), "runtimeConfig": runtime}
        env = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": guest.name,
            "CNI_NETNS": f"/run/netns/{_links(guest)[0]}",
            "CNI_IFNAME": IFNAME,
            "CNI_PATH": self._template.cni,
        }
        _run([f"{self._template.cni}/{config['type']}"], [json.dumps(config)], env=env)

    def _xml(self, guest: Guest) -> str:
        values = {
            "NAME": guest.name,
            "UUID": str(uuid4()),
            "MAC": guest.mac_address,
            "TAP": _links(guest)[1],
            "DISK": str(self._path(guest, "qcow2")),
            "SEED": str(self._path(guest, "iso")),
            "CONSOLE": str(self._path(guest, "log")),
        }
        return filled(self._template.xml, values)

    def _path(self, guest: Guest, suffix: str) -> Path:
        return self._folder / f"{guest.name}.{suffix}"


def _links(guest: Guest) -> tuple[str, str, str]:
    """Sandbox, tap and veth."""
    return f"s-{guest.name}", f"t-{guest.name}", f"v-{guest.name}"


def redirect_lines(one: str, other: str, *, answer_dhcp: bool = False) -> list[str]:
    """The `tc` commands that send every frame arriving at one link out of the other, and the reverse."""
    everything = "u32 match u8 0 0 action mirred egress redirect dev"
    dhcp = "u32 match ip protocol 17 0xff match ip dport 67 0xffff match ip dst 255.255.255.255/32 classid 1:1"
    stay = [f"filter add dev {one} ingress pref 5 protocol ip {dhcp}"] if answer_dhcp else []
    return [
        f"qdisc add dev {one} clsact",
        f"qdisc add dev {other} clsact",
        *stay,
        f"filter add dev {one} ingress pref 10 protocol all {everything} {other}",
        f"filter add dev {other} ingress pref 10 protocol all {everything} {one}",
    ]


def _lease(guest: Guest) -> Lease:
    return Lease(
        mac_address=guest.mac_address,
        address=IPv4Interface(guest.address),
        gateway=guest.gateway,
        gateway_is_on_link=True,
        dns_servers=(),
        routes=(),
        mtu=1500,
        hostname=guest.name,
    )


def _end(pid_file: Path) -> None:
    """End a DHCP server and see it gone: the namespace goes with its last process."""
    descriptor = os.pidfd_open(int(pid_file.read_text(encoding="ascii")))
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(_DEADLINE * 1000):
            raise TimeoutError(f"the DHCP server of {pid_file.stem} does not end")
    finally:
        os.close(descriptor)
    pid_file.unlink()


def _run(argv: list[str], lines: Iterable[str] = (), *, env: dict[str, str] | None = None) -> None:
    said = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(argv, input=said, capture_output=True, text=True, timeout=_DEADLINE, env=env, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.returncode}: {done.stderr or done.stdout}")


def main() -> None:
    """Serve requests: the template first, then `{"do": "up"|"down", "guests": […]}`, until the input ends."""
    loop = BareLoop(Template(**json.loads(sys.stdin.readline())))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        guests = [Guest(**one) for one in request["guests"]]
        begun = time.perf_counter()
        (loop.up if request["do"] == "up" else loop.down)(guests)
        print(json.dumps({"seconds": time.perf_counter() - begun}), flush=True)


def request(do: str, guests: Iterable[Guest]) -> str:
    """One line of input."""
    return json.dumps({"do": do, "guests": [asdict(guest) for guest in guests]}) + "\n"


if __name__ == "__main__":
    main()
