"""What guests use is told of all of ours at once, and a guest that hangs takes nobody else's numbers along."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.hypervisor.conftest import MIB, Vm
from tests.integration.hypervisor.nodes import Node

from berth_agent.domain.documents import build
from berth_agent.domain.requests import DomainInterface
from berth_agent.hypervisor.errors import DeadlineExceeded
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_agent.hypervisor.settings import Deadlines, LibvirtSettings

pytestmark = pytest.mark.integration

_STRANGER = """\
<domain type='qemu'><name>stranger</name><memory unit='MiB'>32</memory><os><type machine='q35'>hvm</type></os></domain>
"""


async def test_active_domains_of_ours_are_counted(
    hypervisor: LibvirtHypervisor, node: Node, vm: Vm, tmp_path: Path
) -> None:
    file = tmp_path / "stranger.xml"
    file.write_text(_STRANGER)
    node.virsh("create", str(file))
    nic = DomainInterface(name="one", tap_device="tap-count", mac_address="52:54:00:00:00:01")
    request, other = vm("on", interfaces=(nic,)), vm("off")
    node.run("ip", "tuntap", "add", "dev", "tap-count", "mode", "tap", "vnet_hdr")
    for each in (request, other):
        await hypervisor.define(build(each))
    assert await hypervisor.statistics() == ()
    await hypervisor.start(request.uid)
    (found,) = await hypervisor.statistics()
    assert found.owner.uid == request.uid
    assert found.cpu_seconds > 0
    assert found.memory_current == 96 * MIB
    assert found.memory_rss is not None
    assert found.memory_rss > MIB
    assert [block.target for block in found.blocks] == ["vda"]
    assert [net.device for net in found.nets] == ["tap-count"]
    node.virsh("destroy", "stranger")
    await hypervisor.destroy(request.uid)
    node.run("ip", "link", "delete", "tap-count")


async def test_an_agent_that_is_new_counts_the_guests_that_it_finds(
    hypervisor: LibvirtHypervisor, node: Node, vm: Vm
) -> None:
    request = vm()
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    told: list[tuple[str, str]] = []
    async with LibvirtHypervisor(
        "tcg", LibvirtSettings(uri=node.uri), lambda name, _, outcome: told.append((name, outcome))
    ) as other:
        await other.wait_connected()
        assert [found.owner.uid for found in await other.statistics()] == [request.uid]
    assert ("read_statistics", "Success") in told


async def test_a_guest_that_hangs_costs_one_look(
    hypervisor: LibvirtHypervisor, connect: Callable[..., Any], node: Node, vm: Vm
) -> None:
    hung, other = vm("hung"), vm("other")
    for request in (hung, other):
        await hypervisor.define(build(request))
        await hypervisor.start(request.uid)
    impatient = await connect(deadlines=Deadlines(query=4))
    pid = node.guest_pid(hung.domain_name)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceeded):
            await impatient.statistics()
        for _ in range(3):
            found = {one.owner.uid: one for one in await impatient.statistics()}
            assert found[other.uid].blocks
            assert found[hung.uid].cpu_seconds > 0
    finally:
        os.kill(pid, signal.SIGCONT)
