"""A guest gets its address by DHCP and talks to the network, on chains of real plugins."""

import asyncio
import hashlib
import os
import signal
from pathlib import Path

import pytest
from tests.integration.network import networks
from tests.integration.network.conftest import Guests
from tests.integration.network.guests import run
from tests.integration.network.nodes import Node

from berth_agent.network.attachments import AttachmentRequest

pytestmark = pytest.mark.integration


async def macvlan_network() -> None:
    """Make the wire that macvlan hangs on, with a router at its other end."""
    await run("ip", "netns", "add", "router")
    await run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "router")
    await run("ip", "link", "set", "up0", "up")
    await run("ip", "-n", "router", "link", "set", "eth0", "up")
    await run("ip", "-n", "router", "address", "add", f"{networks.GATEWAY}/24", "dev", "eth0")


async def request_for(kind: str, node: Node) -> AttachmentRequest:
    fixed = {"mac_address": networks.MAC, "ip_addresses": ("10.9.0.7/24",), "gateway": networks.GATEWAY}
    match kind:
        case "bridge+host-local":
            return networks.request(networks.chain(networks.bridge(networks.host_local(node.root))))
        case "bridge+static":
            return networks.request(networks.chain(networks.bridge(networks.static())), **fixed)
        case "bridge+tuning, 1.1.0":
            tuning = {"type": "tuning", "capabilities": {"mac": True}}
            plain = networks.bridge(networks.static(), capabilities={"ips": True})
            return networks.request(networks.chain(plain, tuning, version="1.1.0"), **fixed)
        case "ptp+host-local":
            ptp = {"type": "ptp", "ipam": networks.host_local(node.root)}
            return networks.request(networks.chain(ptp, version="0.4.0"))
        case _:
            await macvlan_network()
            capabilities = {"mac": True, "ips": True}
            macvlan = {"type": "macvlan", "master": "up0", "capabilities": capabilities, "ipam": networks.static()}
            return networks.request(networks.chain(macvlan), **fixed)


KINDS = ["bridge+host-local", "bridge+static", "bridge+tuning, 1.1.0", "ptp+host-local", "macvlan+static"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_guest_gets_its_address_and_reaches_its_gateway(
    kind: str, node: Node, guests: Guests, tmp_path: Path
) -> None:
    agent = node.attacher()
    wanted = await request_for(kind, node)

    attachment = await agent.attach(wanted)
    guest = await guests.boot(attachment.tap_device, attachment.mac_address)
    lease = await guest.get_address(tmp_path / "dhcp.sh")

    assert lease["ip"] == attachment.ip_addresses[0]
    assert attachment.mac_address == (wanted.mac_address or attachment.mac_address)
    assert not wanted.ip_addresses or attachment.ip_addresses == wanted.ip_addresses
    assert (lease["hostname"], lease["mtu"]) == ("web", "1500")
    assert int(lease["lease"]) == 0xFFFF_FFFF
    assert await guest.pings(networks.GATEWAY)
    await agent.check(wanted.owner_uid, wanted.interface)
    states = await agent.observe()
    assert [state.broken for state in states[wanted.owner_uid]] == [None]


@pytest.mark.parametrize("offloads", [True, False])
async def test_tcp_keeps_every_byte_both_ways(
    offloads: bool,
    node: Node,
    guests: Guests,
    tmp_path: Path,
) -> None:
    agent = node.attacher()
    attachment = await agent.attach(await request_for("bridge+static", node))
    guest = await guests.boot(attachment.tap_device, attachment.mac_address, offloads=offloads)
    await guest.get_address(tmp_path / "dhcp.sh")
    site = tmp_path / "site"
    site.mkdir()
    content = os.urandom(3_000_000)
    (site / "blob").write_bytes(content)
    server = ("busybox", "httpd", "-f", "-p", "8080", "-h", str(site))
    in_guest = await guest.start(*server)
    outside = await asyncio.create_subprocess_exec(*server)
    try:
        for fetch, address in ((run, "10.9.0.7"), (guest.run, networks.GATEWAY)):
            url = f"http://{address}:8080/blob"
            target = tmp_path / address
            await fetch("curl", "-s", "--retry", "5", "--retry-connrefused", "-m", "10", "-o", str(target), url)
            assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content).digest()
    finally:
        for process in (in_guest, outside):
            process.kill()
            await process.wait()


async def test_a_lease_is_renewed_when_the_client_asks(node: Node, guests: Guests, tmp_path: Path) -> None:
    agent = node.attacher()
    attachment = await agent.attach(await request_for("bridge+static", node))
    guest = await guests.boot(attachment.tap_device, attachment.mac_address)
    client = await guest.start(*guest.dhcp_client(tmp_path / "dhcp.sh"))
    assert client.stdout is not None
    try:
        async with asyncio.timeout(20):
            async for line in client.stdout:
                if line.startswith(b"bound "):
                    client.send_signal(signal.SIGUSR1)
                if line.startswith(b"renew "):
                    assert b"ip=10.9.0.7/24" in line
                    break
            else:
                pytest.fail("the client ended without renewing")
    finally:
        client.kill()
        await client.wait()


async def test_the_sandbox_itself_answers_nothing(node: Node) -> None:
    agent = node.attacher()
    await agent.attach(await request_for("bridge+static", node))

    output = await run("busybox", "arping", "-c", "2", "-w", "2", "-I", "br-test", "10.9.0.7", check=False)
    assert "Received 0 response" in output
    await run("ip", "neighbour", "replace", "10.9.0.7", "lladdr", networks.MAC, "dev", "br-test")
    assert "100% packet loss" in await run("busybox", "ping", "-c", "2", "-W", "1", "10.9.0.7", check=False)


async def test_two_guests_of_a_network_reach_each_other(node: Node, guests: Guests, tmp_path: Path) -> None:
    agent = node.attacher()
    chain = networks.chain(networks.bridge(networks.static()))
    first, second = await asyncio.gather(
        *(
            agent.attach(
                networks.request(chain, owner_uid=f"uid-{n}", vm_name=f"vm{n}", ip_addresses=(f"10.9.0.{n}/24",))
            )
            for n in (21, 22)
        )
    )
    for attachment in (first, second):
        guest = await guests.boot(attachment.tap_device, attachment.mac_address)
        await guest.get_address(tmp_path / f"{attachment.tap_device}.sh")
    assert await guests.booted[0].pings("10.9.0.22")
    assert await guests.booted[1].pings("10.9.0.21")


async def test_links_have_no_addresses_of_their_own_and_the_mtu_of_the_chain(node: Node) -> None:
    chain = networks.chain(networks.bridge(networks.static(), mtu=1400))
    agent = node.attacher()
    attachment = await agent.attach(networks.request(chain, ip_addresses=("10.9.0.7/24",), queues=4))
    names = (attachment.tap_device, attachment.tap_device.replace("bt", "bv"))
    for name in names:
        shown = await run("ip", "-d", "address", "show", "dev", name)
        assert "mtu 1400" in shown
        assert "inet" not in shown
    assert "multi_queue" in await run("ip", "-d", "link", "show", "dev", attachment.tap_device)
    assert attachment.mtu == 1400


async def test_a_name_that_means_something_to_dnsmasq_does_not_cost_the_lease(
    node: Node, guests: Guests, tmp_path: Path
) -> None:
    for name in ("ignore", "infinite", "45m"):
        wanted = networks.request(
            networks.chain(networks.bridge(networks.static())), hostname=name, ip_addresses=("10.9.0.7/24",)
        )
        attachment = await node.attacher().attach(wanted)
        guest = await guests.boot(attachment.tap_device, attachment.mac_address)
        assert (await guest.get_address(tmp_path / "dhcp.sh"))["lease"] == str(0xFFFF_FFFF)
        await guest.stop()
        guests.booted.clear()


async def test_neighbours_find_a_guests_ipv6_address_through_macvlan(node: Node, guests: Guests) -> None:
    attachment = await node.attacher().attach(await request_for("macvlan+static", node))
    guest = await guests.boot(attachment.tap_device, attachment.mac_address)
    await guest.run("ip", "address", "add", "fd00:9::7/64", "dev", "eth0", "nodad")
    await run("ip", "-n", "router", "address", "add", "fd00:9::1/64", "dev", "eth0", "nodad")
    ping = ("busybox", "ping", "-6", "-c", "2", "-W", "2", "fd00:9::7")
    assert ", 0% packet loss" in await run("ip", "netns", "exec", "router", *ping)


async def test_a_chain_without_addresses_leaves_dhcp_to_the_network(node: Node, guests: Guests, tmp_path: Path) -> None:
    plain = {"type": "bridge", "bridge": "br-test", "capabilities": {"mac": True}}
    attachment = await node.attacher().attach(networks.request(networks.chain(plain), mac_address=networks.MAC))
    assert attachment.ip_addresses == ()
    assert not node.remains()["processes"]
    await run("ip", "address", "add", f"{networks.GATEWAY}/24", "dev", "br-test")
    server = await asyncio.create_subprocess_exec(
        *("dnsmasq", "--conf-file=/dev/null", "--no-daemon", "--port=0", "--interface=br-test", "--bind-interfaces"),
        *("--no-ping", "--leasefile-ro", "--dhcp-range=10.9.0.50,10.9.0.50,255.255.255.0"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        guest = await guests.boot(attachment.tap_device, attachment.mac_address)
        assert (await guest.get_address(tmp_path / "dhcp.sh"))["ip"] == "10.9.0.50/24"
    finally:
        server.terminate()
        await server.wait()
