"""What a node has: capabilities, an accelerator that runs guests, storage pools, taps."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.hypervisor.conftest import Vm
from tests.integration.hypervisor.nodes import Node

from berth_agent.domain.cpu import _DEFAULT
from berth_agent.domain.documents import build
from berth_agent.domain.requests import DomainInterface
from berth_agent.hypervisor.accelerators import choose_accelerator, probe
from berth_agent.hypervisor.errors import AcceleratorUnusable, DomainRejected, OperationFailed, PoolConflict
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_api.hardware import CPU

pytestmark = pytest.mark.integration


@pytest.fixture
def memory() -> int:
    """Bytes that the kernel has."""
    return int(Path("/proc/meminfo").read_text().split()[1]) * 1024


async def test_the_capabilities_are_the_nodes(hypervisor: LibvirtHypervisor, memory: int) -> None:
    host = await hypervisor.capabilities()
    assert (host.architecture, host.accelerator, host.memory) == ("x86_64", "tcg", memory)
    assert host.cpus >= 1
    assert host.default_machine_type in host.machine_types
    assert host.default_machine_type.startswith("pc-q35-")
    assert _DEFAULT["tcg"] in host.cpu_models
    assert {"sse4.2", "avx2"} <= set(host.cpu_features), "what QEMU's emulator has, whatever the machine below it"
    assert not {"avx512f", "rdseed", "vmx"} & set(host.cpu_features)
    assert host.efi
    assert host.secure_boot
    assert all(version.count(".") == 2 for version in (host.libvirt_version, host.hypervisor_version))


async def test_a_guest_gets_every_feature_that_the_node_reports(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    offered = (await hypervisor.capabilities()).cpu_features
    for half in (offered[::2], offered[1::2]):
        request = replace(vm(), cpu=CPU(features=half))
        await hypervisor.define(build(request))
        await hypervisor.start(request.uid, paused=True)
        await hypervisor.destroy(request.uid)


@pytest.mark.parametrize("missing", ["avx512f", "no-such-feature"])
async def test_a_guest_does_not_start_without_a_feature_that_it_must_have(
    hypervisor: LibvirtHypervisor, vm: Vm, missing: str
) -> None:
    request = replace(vm(), cpu=CPU(features=(missing,)))
    await hypervisor.define(build(request))
    with pytest.raises(DomainRejected, match=missing):
        await hypervisor.start(request.uid)


async def test_a_guest_gets_the_machine_type_that_was_asked_for(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    host = await hypervisor.capabilities()
    other = next(name for name in reversed(host.machine_types) if name != host.default_machine_type)
    state = await hypervisor.define(build(replace(vm(), machine_type=other)))
    assert state.machine_type == other


async def test_the_probe_passes_where_guests_run() -> None:
    assert await probe("tcg", deadline=20) is None


async def test_auto_chooses_what_the_probe_boots_under() -> None:
    problem = await probe("kvm")
    assert await choose_accelerator("auto") == ("kvm" if problem is None else "tcg")


async def test_a_missing_emulator_is_said() -> None:
    assert "cannot be run" in (await probe("tcg", qemu="/nowhere/qemu") or "")
    assert await choose_accelerator("tcg", qemu="/nowhere/qemu") == "tcg"
    with pytest.raises(AcceleratorUnusable, match="set the accelerator to auto or tcg"):
        await choose_accelerator("kvm", qemu="/nowhere/qemu")


async def test_a_guest_that_hangs_fails_the_probe(tmp_path: Path) -> None:
    stuck = tmp_path / "qemu"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o755)
    assert "hangs" in (await probe("tcg", qemu=str(stuck), deadline=0.2) or "")


async def test_a_pool_is_made_once_and_kept(hypervisor: LibvirtHypervisor, node: Node) -> None:
    path = node.path("/var/lib/libvirt") / "pools" / "a&b <c>"
    first = await hypervisor.ensure_pool("berth-default", "dir", path)
    assert path.is_dir()
    assert first.capacity >= first.available > 0
    assert (await hypervisor.ensure_pool("berth-default", "dir", path)).path == path
    assert "berth-default" in node.virsh("pool-list", "--autostart", "--name")
    with pytest.raises(PoolConflict, match="another name"):
        await hypervisor.ensure_pool("berth-default", "dir", path / "elsewhere")


async def test_a_pool_on_a_file_is_refused(hypervisor: LibvirtHypervisor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperationFailed):
        await hypervisor.ensure_pool("berth-file", "dir", tmp_path / "file" / "pool")


async def test_a_tap_is_used_and_left(hypervisor: LibvirtHypervisor, node: Node, vm: Vm) -> None:
    nics = (
        DomainInterface(name="one", tap_device="tap-one", mac_address="52:54:00:00:00:01", mtu=1400),
        DomainInterface(name="many", tap_device="tap-many", mac_address="52:54:00:00:00:02", queues=2),
    )
    request = replace(vm(), interfaces=nics, cpu=CPU(cores=2))
    node.run("ip", "tuntap", "add", "dev", "tap-one", "mode", "tap", "vnet_hdr")
    node.run("ip", "tuntap", "add", "dev", "tap-many", "mode", "tap", "vnet_hdr", "multi_queue")
    node.run("ip", "link", "set", "tap-one", "up")
    await hypervisor.define(build(request))
    for _ in range(2):
        await hypervisor.start(request.uid)
        state = await hypervisor.domain(request.uid)
        assert state is not None
        assert [(nic.device, nic.mac_address) for nic in state.interfaces] == [
            ("tap-one", "52:54:00:00:00:01"),
            ("tap-many", "52:54:00:00:00:02"),
        ]
        assert "LOWER_UP" in node.run("ip", "link", "show", "tap-one")
        await hypervisor.destroy(request.uid)
        assert "NO-CARRIER" in node.run("ip", "link", "show", "tap-one")
    for tap in ("tap-one", "tap-many"):
        node.run("ip", "link", "delete", tap)


async def test_a_missing_tap_fails_the_start(hypervisor: LibvirtHypervisor, node: Node, vm: Vm) -> None:
    nic = DomainInterface(name="one", tap_device="not-there", mac_address="52:54:00:00:00:01")
    request = replace(vm(), interfaces=(nic,))
    await hypervisor.define(build(request))
    with pytest.raises(OperationFailed, match="specified dev doesn't exist"):
        await hypervisor.start(request.uid)
    assert "not-there" not in node.run("ip", "link")
