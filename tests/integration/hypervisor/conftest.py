"""A real libvirtd for all tests of this folder, a connection for each, and nothing left on it in between."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.integration.hypervisor.listeners import Heard
from tests.integration.hypervisor.nodes import Node, running_node
from tests.integration.hypervisor.shells import DebianBoot, extract

from berth_agent.domain.requests import DomainDisk, DomainRequest
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_agent.hypervisor.settings import LibvirtSettings
from berth_api.hardware import CPU
from berth_dev.caches import cache_root
from berth_dev.images import build_images, read_images
from berth_dev.progress import silent
from berth_dev.startup import project_root

MIB = 1024 * 1024
Vm = Callable[..., DomainRequest]
"""Makes a request by name, with a blank disk unless told otherwise."""


@pytest.fixture(scope="session")
def shared_node() -> Iterator[Node]:
    """One node for all tests: its libvirtd looks at QEMU once, which takes seconds."""
    with running_node() as node:
        yield node


@pytest.fixture
def node(shared_node: Node) -> Iterator[Node]:
    """The node, without domains, before and after."""
    yield shared_node
    for name in shared_node.virsh("list", "--all", "--name").split():
        if name in shared_node.virsh("list", "--name").split():
            shared_node.virsh("destroy", name)
        if name in shared_node.virsh("list", "--all", "--name").split():
            shared_node.virsh("undefine", "--nvram", name)


@pytest.fixture
async def connect(node: Node) -> AsyncIterator[Callable[..., Any]]:
    """Opens adapters with settings of a test's own."""
    async with AsyncExitStack() as stack:

        async def connect(**settings: Any) -> LibvirtHypervisor:
            opened = LibvirtHypervisor("tcg", LibvirtSettings(uri=node.uri, **{"validate": True, **settings}))
            await stack.enter_async_context(opened)
            async with asyncio.timeout(20):
                await opened.wait_connected()
            return opened

        yield connect


@pytest.fixture
async def hypervisor(connect: Callable[..., Any]) -> LibvirtHypervisor:
    """The adapter with its ordinary settings."""
    opened: LibvirtHypervisor = await connect()
    return opened


@pytest.fixture
async def heard(hypervisor: LibvirtHypervisor) -> AsyncIterator[Heard]:
    """Everything that the adapter tells."""
    async with Heard.of(hypervisor) as heard:
        yield heard


@pytest.fixture
def vm(node: Node, tmp_path: Path) -> Vm:
    """Makes requests whose disks are there."""

    def make(name: str = "a", **changes: Any) -> DomainRequest:
        number = sum(name.encode())
        values: dict[str, Any] = {
            "namespace": "default",
            "name": name,
            "uid": f"6b1f2b1e-41c5-4c8e-9d3b-{number:012x}",
            "claim_id": "c-1",
            "generation": 1,
            "cpu": CPU(),
            "memory": 96 * MIB,
            "accelerator": "tcg",
            "machine_type": "pc-q35-7.2",
            "console_log_path": str(tmp_path / f"{name}.log"),
        }
        if "disks" not in changes:
            values["disks"] = (DomainDisk(name="root", path=str(blank_disk(tmp_path / f"{name}.qcow2"))),)
        return DomainRequest(**(values | changes))

    return make


@pytest.fixture(scope="session")
def tiny_image() -> Path:
    """The small guest image, from the cache of the development clusters."""
    return read_images(build_images(cache_root(), project_root(), silent))["tiny"].path


@pytest.fixture(scope="session")
def debian_boot(tmp_path_factory: pytest.TempPathFactory) -> DebianBoot:
    """Debian's kernel and disk."""
    image = read_images(build_images(cache_root(), project_root(), silent))["debian"].path
    return extract(image, tmp_path_factory.mktemp("debian"))


@pytest.fixture
def debian_vm(vm: Vm, debian_boot: DebianBoot, tmp_path: Path) -> Vm:
    """Makes requests for guests that are nothing but Debian's kernel and a root shell on the console."""

    def make(name: str = "debian", **changes: Any) -> DomainRequest:
        disk = overlay(debian_boot.image, tmp_path / f"{name}-overlay.qcow2")
        values = {
            "memory": 256 * MIB,
            "kernel": debian_boot.kernel,
            "disks": (DomainDisk(name="root", path=str(disk)),),
        }
        return vm(name, **(values | changes))

    return make


@pytest.fixture
def tiny_vm(vm: Vm, tiny_image: Path, tmp_path: Path) -> Vm:
    """Makes requests for guests that boot in seconds."""

    def make(name: str = "tiny", **changes: Any) -> DomainRequest:
        disk = overlay(tiny_image, tmp_path / f"{name}-overlay.qcow2")
        return vm(name, disks=(DomainDisk(name="root", path=str(disk)),), **changes)

    return make


def blank_disk(path: Path) -> Path:
    """An empty disk of 16 MiB."""
    image_tool("create", "-q", "-f", "qcow2", str(path), "16M")
    return path


def overlay(image: Path, path: Path) -> Path:
    """A disk over an image, which stays as it is."""
    image_tool("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(path))
    return path


def image_tool(*arguments: str) -> None:
    """Run qemu-img."""
    subprocess.run(["qemu-img", *arguments], check=True, timeout=20)
