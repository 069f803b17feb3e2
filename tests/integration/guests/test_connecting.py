"""A guest is asked over its tap whether a port is open, on chains of real plugins, with and without routes to it."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.integration.network import networks
from tests.integration.network.conftest import Guests
from tests.integration.network.guests import Guest, run
from tests.integration.network.nodes import Node

from berth_agent.guests.connectors import CannotAsk, ConnectFailed, TapConnector, open_tap, prepare
from berth_agent.guests.handshakes import SOURCE_MAC, Reply
from berth_agent.guests.links import GuestLink
from berth_agent.network.attachments import Attachment, AttachmentRequest

pytestmark = pytest.mark.integration
ADDRESS = "10.9.0.7/24"
FIXED = {"mac_address": networks.MAC, "ip_addresses": (ADDRESS,)}


async def routed(node: Node) -> AttachmentRequest:
    """The node is the gateway."""
    return networks.request(networks.chain(networks.bridge(networks.static())), **FIXED, gateway=networks.GATEWAY)


async def isolated(node: Node) -> AttachmentRequest:
    """Nobody is the gateway, and the node has no route."""
    return networks.request(networks.chain(networks.bridge(networks.static(), isGateway=False)), **FIXED)


async def gateway_absent(node: Node) -> AttachmentRequest:
    """The network has a gateway that is not there."""
    chain = networks.chain(networks.bridge(networks.static(), isGateway=False))
    return networks.request(chain, **FIXED, gateway=networks.GATEWAY)


async def point_to_point(node: Node) -> AttachmentRequest:
    ptp = {"type": "ptp", "ipam": networks.host_local(node.root)}
    return networks.request(networks.chain(ptp, version="0.4.0"))


async def macvlan(node: Node) -> AttachmentRequest:
    """The node cannot reach its own guests, by macvlan's nature."""
    await run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
    await run("ip", "link", "set", "up0", "up")
    await run("ip", "link", "set", "up1", "up")
    capabilities = {"mac": True, "ips": True}
    plugin = {"type": "macvlan", "master": "up0", "capabilities": capabilities, "ipam": networks.static()}
    return networks.request(networks.chain(plugin), **FIXED)


async def boot(request: AttachmentRequest, node: Node, guests: Guests, script: Path) -> tuple[Guest, Attachment]:
    attachment = await node.attacher().attach(request)
    guest = await guests.boot(attachment.tap_device, attachment.mac_address)
    await guest.get_address(script)
    return guest, attachment


@asynccontextmanager
async def serving(guest: Guest, port: int) -> AsyncIterator[None]:
    """A web server in the guest, for both families."""
    server = await guest.start("busybox", "httpd", "-f", "-p", str(port))
    async with asyncio.timeout(5):
        # A program in another namespace tells nobody that it listens.
        while f":{port} " not in await guest.run("ss", "-Hltn"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.wait()


@pytest.mark.parametrize("kind", [routed, isolated, gateway_absent, point_to_point, macvlan])
async def test_an_open_port_accepts_and_a_closed_one_refuses(
    kind: object, node: Node, guests: Guests, tmp_path: Path
) -> None:
    guest, attachment = await boot(await kind(node), node, guests, tmp_path / "dhcp.sh")  # type: ignore[operator]
    link, address = GuestLink.of(attachment), attachment.ip_addresses[0]
    connector = TapConnector()

    async with serving(guest, 8080):
        for _ in range(3):
            await connector.connect(link, address, 8080, 1)
        assert "8080" not in await guest.run("ss", "-Htn")  # nothing half-open is left
    with pytest.raises(ConnectFailed, match=r"port 8080 of 10\.9\.0\.\d+ refused"):
        await connector.connect(link, address, 8080, 1)


async def test_a_guest_is_asked_at_its_ipv6_address(node: Node, guests: Guests) -> None:
    chain = networks.chain(networks.bridge(networks.static(), isGateway=False))
    request = networks.request(chain, mac_address=networks.MAC, ip_addresses=("fd09::7/64",))
    attachment = await node.attacher().attach(request)
    guest = await guests.boot(attachment.tap_device, attachment.mac_address)
    await guest.run("ip", "address", "add", "fd09::7/64", "dev", "eth0", "nodad")

    async with serving(guest, 8080):
        await TapConnector().connect(GuestLink.of(attachment), "fd09::7/64", 8080, 1)
    with pytest.raises(ConnectFailed, match="port 8080 of fd09::7 refused"):
        await TapConnector().connect(GuestLink.of(attachment), "fd09::7/64", 8080, 1)


async def test_a_guest_that_stands_still_does_not_answer(node: Node, guests: Guests, tmp_path: Path) -> None:
    guest, attachment = await boot(await routed(node), node, guests, tmp_path / "dhcp.sh")
    link = GuestLink.of(attachment)

    async with serving(guest, 8080):
        guest.pump.send_signal(signal.SIGSTOP)
        with pytest.raises(ConnectFailed, match=r"no answer from port 8080 of 10\.9\.0\.7 within 0\.3 s"):
            await TapConnector().connect(link, ADDRESS, 8080, 0.3)
        guest.pump.send_signal(signal.SIGCONT)
        await TapConnector().connect(link, ADDRESS, 8080, 2)


async def test_a_guest_whose_port_opens_late_is_asked_again_within_the_deadline(
    node: Node, guests: Guests, tmp_path: Path
) -> None:
    guest, attachment = await boot(await routed(node), node, guests, tmp_path / "dhcp.sh")
    async with serving(guest, 8080):
        guest.pump.send_signal(signal.SIGSTOP)
        asking = asyncio.create_task(TapConnector().connect(GuestLink.of(attachment), ADDRESS, 8080, 5))
        done, _ = await asyncio.wait({asking}, timeout=0.3)
        assert not done
        guest.pump.send_signal(signal.SIGCONT)
        await asking


async def test_a_guest_is_asked_while_the_gateway_talks_to_it_and_both_go_on(
    node: Node, guests: Guests, tmp_path: Path
) -> None:
    guest, attachment = await boot(await routed(node), node, guests, tmp_path / "dhcp.sh")
    link, connector = GuestLink.of(attachment), TapConnector()
    gateway_mac = json.loads(await run("ip", "-json", "link", "show", "br-test"))[0]["address"]

    async with serving(guest, 8080):
        talking = asyncio.create_task(guest.run("busybox", "ping", "-c", "3", "-i", "0.3", networks.GATEWAY))
        while not talking.done():
            await connector.connect(link, ADDRESS, 8080, 1)
            await asyncio.sleep(0.05)
        assert ", 0% packet loss" in await talking
        neighbours = await guest.run("ip", "neighbour", "show", networks.GATEWAY)
        assert gateway_mac in neighbours
        assert SOURCE_MAC.hex(":") not in neighbours
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("10.9.0.7", 8080)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert (await reader.read(8)) == b"HTTP/1.1"
            writer.close()
            await writer.wait_closed()


async def test_a_link_that_is_not_there_says_nothing_of_the_guest(node: Node) -> None:
    link = GuestLink("btffffffffffff", networks.MAC, (ADDRESS,))
    with pytest.raises(CannotAsk, match="btffffffffffff cannot be used: No such device"):
        await TapConnector().connect(link, ADDRESS, 8080, 1)


async def test_the_kernel_leaves_out_all_other_traffic(node: Node, guests: Guests, tmp_path: Path) -> None:
    """A guest's flood must not wake the agent: the filter lets through nothing but the handshake's answers."""
    guest, attachment = await boot(await routed(node), node, guests, tmp_path / "dhcp.sh")
    handshake = prepare(GuestLink.of(attachment), ADDRESS, 8080)
    with open_tap(attachment.tap_device, handshake) as tap:
        assert await guest.pings(networks.GATEWAY)
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("10.9.0.7", 8080)
        with contextlib.suppress(BlockingIOError):
            while True:
                assert handshake.read(tap.recv(256)) is Reply.WHO_HAS  # the guest looks for its gateway
        tap.send(handshake.syn())
        async with asyncio.timeout(2):
            frame = await asyncio.get_running_loop().sock_recv(tap, 256)
        assert handshake.read(frame) is Reply.REFUSED
