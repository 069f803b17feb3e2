"""What is whole stays untouched, what is broken is seen and mended around the guest's tap."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest
from tests.integration.network import networks
from tests.integration.network.conftest import Guests
from tests.integration.network.guests import Guest, run
from tests.integration.network.nodes import Node

from berth_agent.network.attacher import Attacher
from berth_agent.network.attachments import Attachment, AttachmentRequest

pytestmark = pytest.mark.integration


def host_local_request(node: Node) -> AttachmentRequest:
    return networks.request(networks.chain(networks.bridge(networks.host_local(node.root))))


async def plugged_in(node: Node, guests: Guests, script: Path) -> tuple[AttachmentRequest, Attachment, Guest]:
    wanted = host_local_request(node)
    attachment = await node.attacher().attach(wanted)
    guest = await guests.boot(attachment.tap_device, attachment.mac_address)
    await guest.get_address(script)
    assert await guest.pings(networks.GATEWAY)
    return wanted, attachment, guest


async def why_broken(agent: Attacher, wanted: AttachmentRequest) -> str | None:
    (state,) = (await agent.observe(wanted.owner_uid))[wanted.owner_uid]
    return state.broken


def environment_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def dnsmasq_pid(node: Node, attachment: Attachment) -> int:
    return int((node.state_dir / "network" / "dhcp" / f"{attachment.container_id}.pid").read_text())


async def test_attaching_again_loses_not_one_packet(node: Node, guests: Guests, tmp_path: Path) -> None:
    wanted, attachment, guest = await plugged_in(node, guests, tmp_path / "dhcp.sh")
    server = dnsmasq_pid(node, attachment)
    pinging = await guest.start("busybox", "ping", "-i", "0.02", "-c", "50", "-W", "1", networks.GATEWAY)
    while pinging.returncode is None:
        assert await node.attacher().attach(wanted) == attachment
        await asyncio.sleep(0.01)
    assert pinging.stdout is not None
    assert b"50 packets received, 0% packet loss" in await pinging.stdout.read()
    assert dnsmasq_pid(node, attachment) == server


async def test_a_dhcp_server_runs_in_the_smallest_locale(node: Node, guests: Guests, tmp_path: Path) -> None:
    _, attachment, _ = await plugged_in(node, guests, tmp_path / "dhcp.sh")
    assert b"LC_ALL=C" in environment_of(dnsmasq_pid(node, attachment))


async def test_a_dead_dhcp_server_is_seen_and_replaced_alone(node: Node, guests: Guests, tmp_path: Path) -> None:
    wanted, attachment, guest = await plugged_in(node, guests, tmp_path / "dhcp.sh")
    os.kill(dnsmasq_pid(node, attachment), signal.SIGKILL)
    agent = node.attacher()
    async with asyncio.timeout(5):
        while await why_broken(agent, wanted) != "its DHCP server is gone":  # noqa: ASYNC110 - the kernel reaps it
            await asyncio.sleep(0.01)

    assert await agent.attach(wanted) == attachment
    assert await why_broken(agent, wanted) is None
    assert (await guest.get_address(tmp_path / "dhcp.sh"))["ip"] == attachment.ip_addresses[0]


@pytest.mark.parametrize("victim", ["veth", "sandbox"])
async def test_a_broken_path_is_made_anew_around_the_guests_tap(
    victim: str, node: Node, guests: Guests, tmp_path: Path
) -> None:
    wanted, attachment, guest = await plugged_in(node, guests, tmp_path / "dhcp.sh")
    tap = socket.if_nametoindex(attachment.tap_device)
    if victim == "veth":
        await run("ip", "link", "delete", attachment.tap_device.replace("bt", "bv"))
    else:
        await run("ip", "netns", "delete", attachment.sandbox)
    agent = node.attacher()
    assert "is gone" in (await why_broken(agent, wanted) or "")

    mended = await agent.attach(wanted)

    assert await why_broken(agent, wanted) is None
    assert mended.container_id != attachment.container_id
    assert (mended.mac_address, mended.ip_addresses) == (attachment.mac_address, attachment.ip_addresses)
    assert socket.if_nametoindex(mended.tap_device) == tap
    assert await guest.pings(networks.GATEWAY)
    assert len(node.remains()["reservations"]) == 1


async def test_a_mend_that_fails_keeps_the_tap_for_the_next(node: Node, guests: Guests, tmp_path: Path) -> None:
    wanted, attachment, guest = await plugged_in(node, guests, tmp_path / "dhcp.sh")
    await run("ip", "netns", "delete", attachment.sandbox)
    tap = socket.if_nametoindex(attachment.tap_device)
    crippled = Node(node.root, node.cni_bin_dirs).attacher(plugin_deadline=0.001)
    for _ in range(2):
        with pytest.raises(Exception, match="did not finish"):
            await crippled.attach(wanted)

    mended = await node.attacher().attach(wanted)

    assert socket.if_nametoindex(mended.tap_device) == tap
    assert mended.ip_addresses == attachment.ip_addresses
    assert await guest.pings(networks.GATEWAY)


async def test_a_deleted_tap_is_made_anew(node: Node) -> None:
    wanted = host_local_request(node)
    agent = node.attacher()
    attachment = await agent.attach(wanted)
    await run("ip", "link", "delete", attachment.tap_device)
    assert await why_broken(agent, wanted) == f"tap {attachment.tap_device} is gone"
    mended = await agent.attach(wanted)
    assert await why_broken(agent, wanted) is None
    assert mended.ip_addresses == attachment.ip_addresses


async def test_detaching_after_everything_is_gone_still_releases_the_address(node: Node) -> None:
    wanted = host_local_request(node)
    agent = node.attacher()
    attachment = await agent.attach(wanted)
    os.kill(dnsmasq_pid(node, attachment), signal.SIGKILL)
    await run("ip", "netns", "delete", attachment.sandbox)
    await run("ip", "link", "delete", attachment.tap_device)
    await node.attacher().detach(wanted.owner_uid, wanted.interface)
    assert not node.remains()["reservations"]
    assert await agent.owners() == frozenset()


async def test_a_process_that_took_over_the_pid_is_not_killed(node: Node) -> None:
    wanted = host_local_request(node)
    agent = node.attacher()
    attachment = await agent.attach(wanted)
    pid_file = node.state_dir / "network" / "dhcp" / f"{attachment.container_id}.pid"
    server = dnsmasq_pid(node, attachment)
    innocent = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        pid_file.write_text(f"{innocent.pid}\n")
        assert await why_broken(agent, wanted) == "its DHCP server is gone"
        await agent.detach(wanted.owner_uid, wanted.interface)
        assert innocent.returncode is None
        os.kill(innocent.pid, 0)
    finally:
        innocent.kill()
        await innocent.wait()
        os.kill(server, signal.SIGKILL)


async def test_many_are_attached_at_once_and_observed_by_owner(node: Node) -> None:
    agent = node.attacher()
    chain = networks.chain(networks.bridge(networks.static()))
    requests = [
        networks.request(chain, owner_uid=f"uid-{n}", vm_name=f"vm{n}", ip_addresses=(f"10.9.0.{n + 10}/24",))
        for n in range(6)
    ]
    await asyncio.gather(*map(agent.attach, requests))
    assert await agent.owners() == {request.owner_uid for request in requests}
    observed = await agent.observe()
    assert {uid: [state.broken for state in states] for uid, states in observed.items()} == {
        request.owner_uid: [None] for request in requests
    }
    assert list(await agent.observe("uid-3")) == ["uid-3"]
