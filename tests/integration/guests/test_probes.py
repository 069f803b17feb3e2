"""Probes of a real guest, under QEMU, on a bridge that the node has no address on: verdicts follow what it does."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.network import networks
from tests.integration.network.nodes import Node

from berth_agent.guests.connectors import TapConnector
from berth_agent.guests.healths import Healths
from berth_agent.guests.links import GuestLink
from berth_agent.guests.probing import ProbeKind
from berth_agent.guests.questions import Questions
from berth_agent.hypervisor.errors import GuestAgentUnavailable
from berth_agent.network.attachments import Attachment
from berth_api.virtualmachines import VirtualMachine
from berth_dev.caches import cache_root
from berth_dev.images import build_images, read_images
from berth_dev.progress import silent
from berth_dev.startup import project_root

pytestmark = pytest.mark.integration
OFTEN = {"periodSeconds": 1, "failureThreshold": 2}


class NoAgents:
    """Guests without agents."""

    async def guest_ping(self, uid: str) -> None:
        raise GuestAgentUnavailable(uid)


@asynccontextmanager
async def running(attachment: Attachment) -> AsyncIterator[asyncio.subprocess.Process]:
    """The tiny guest, whose web server listens on port 80."""
    image = read_images(build_images(cache_root(), project_root(), silent))["tiny"].path
    qemu = await asyncio.create_subprocess_exec(
        *("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "96", "-nodefaults", "-display", "none"),
        *("-drive", f"file={image},if=virtio,snapshot=on"),
        *("-netdev", f"tap,id=n0,ifname={attachment.tap_device},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=n0,mac={attachment.mac_address}"),
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        yield qemu
    finally:
        qemu.kill()
        await qemu.wait()


def vm(**spec: Any) -> VirtualMachine:
    return VirtualMachine.from_api(
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "VirtualMachine",
            "metadata": {"namespace": "default", "name": "web", "uid": "u1"},
            "spec": {"className": "small", "disks": [{"name": "root", "size": "1Gi"}], **spec},
        }
    )


async def test_a_real_guest_is_ready_while_its_port_answers_and_lives_until_it_does_not(node: Node) -> None:
    chain = networks.chain(networks.bridge(networks.static(), isGateway=False))
    request = networks.request(chain, mac_address=networks.MAC, ip_addresses=("10.9.0.7/24",))
    attachment = await node.attacher().attach(request)
    news = asyncio.Event()
    healths = Healths(
        Questions(NoAgents(), TapConnector(), asyncio.get_running_loop().time),
        lambda: datetime.now(UTC),
        lambda _: news.set(),
        jitter=lambda: 0.0,
    )

    async def until(*, ready: bool | None, live: bool | None) -> None:
        async with asyncio.timeout(40):
            while (healths.ready("u1"), healths.live("u1")) != (ready, live):
                news.clear()
                await news.wait()

    async with running(attachment) as guest:
        links, started = {"default": GuestLink.of(attachment)}, datetime.now(UTC)
        probed = vm(readinessProbe={"tcpSocket": {"port": 80}, **OFTEN})
        healths.watch(probed, started, links)
        assert healths.ready("u1") is False
        await until(ready=True, live=None)

        guest.send_signal(signal.SIGSTOP)
        await until(ready=False, live=None)
        why = healths.why("u1", ProbeKind.READINESS)
        assert why == "the readiness probe failed: no answer from port 80 of 10.9.0.7 within 1 s"
        guest.send_signal(signal.SIGCONT)
        await until(ready=True, live=None)

        healths.watch(vm(livenessProbe={"tcpSocket": {"port": 81}, "timeoutSeconds": 9, **OFTEN}), started, links)
        assert healths.live("u1") is True
        await until(ready=None, live=False)
        why = healths.why("u1", ProbeKind.LIVENESS)
        assert why == "the liveness probe failed: port 81 of 10.9.0.7 refused"
    await healths.close()
