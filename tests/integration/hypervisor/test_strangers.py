"""Domains of others, broken ones and impossible ones: seen, and left alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.hypervisor.conftest import Vm
from tests.integration.hypervisor.nodes import Node
from tests.unit.domain.cases import CASES

from berth_agent.domain.documents import build
from berth_agent.domain.metadata import NAMESPACE_URI
from berth_agent.hypervisor.errors import DomainExists, DomainRejected
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_api.hardware import CPU
from berth_api.virtualmachines import Firmware

pytestmark = pytest.mark.integration

_STRANGER = """\
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><metadata>{metadata}</metadata>
<memory unit='MiB'>32</memory><os><type machine='q35'>hvm</type></os></domain>
"""
_UUID = "99999999-0000-4000-8000-00000000000{number}"


@pytest.fixture
def strangers(node: Node, tmp_path: Path) -> list[str]:
    """Three domains: of somebody else, with a record that is not readable, and with one that names nobody."""
    records = (
        "<other:x xmlns:other='https://example.com/other'/>",
        f"<berth:vm xmlns:berth='{NAMESPACE_URI}'><berth:uid>x</berth:uid></berth:vm>",
        f"<berth:vm xmlns:berth='{NAMESPACE_URI}'/>",
    )
    names = []
    for number, metadata in enumerate(records):
        file = tmp_path / "stranger.xml"
        names.append(f"stranger-{number}")
        uuid = _UUID.format(number=number)
        file.write_text(_STRANGER.format(name=names[-1], uuid=uuid, metadata=metadata))
        node.virsh("define", str(file))
    node.virsh("start", names[0])
    return names


async def test_they_are_left_out_of_the_list_and_do_not_break_it(
    hypervisor: LibvirtHypervisor, strangers: list[str], vm: Vm
) -> None:
    request = vm()
    await hypervisor.define(build(request))
    assert [domain.name for domain in await hypervisor.domains()] == [request.domain_name]
    assert await hypervisor.domain(_UUID.format(number=0)) is None


async def test_they_are_never_touched(hypervisor: LibvirtHypervisor, node: Node, strangers: list[str]) -> None:
    for number in range(3):
        uid = _UUID.format(number=number)
        await hypervisor.destroy(uid)
        await hypervisor.undefine(uid)
    assert set(strangers) <= set(node.virsh("list", "--all", "--name").split())
    assert strangers[0] in node.virsh("list", "--name")


async def test_a_strangers_name_or_uuid_is_not_taken_over(
    hypervisor: LibvirtHypervisor, node: Node, strangers: list[str], vm: Vm
) -> None:
    request = vm()
    with pytest.raises(DomainExists, match="not Berth's"):
        await hypervisor.define(build(replace(request, firmware=Firmware(uuid=_UUID.format(number=0)))))
    renamed = build(request).replace(f"<name>{request.domain_name}</name>", f"<name>{strangers[1]}</name>", 1)
    with pytest.raises(DomainExists, match="stranger-1"):
        await hypervisor.define(renamed)


async def test_two_vms_cannot_have_one_uuid_or_one_name(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    first, second = vm("first"), vm("second")
    await hypervisor.define(build(first))
    with pytest.raises(DomainExists, match=r"belongs to the VM default/first"):
        await hypervisor.define(build(replace(second, firmware=Firmware(uuid=first.uid))))
    with pytest.raises(DomainExists, match=r"belongs to the VM default/first"):
        await hypervisor.define(build(replace(second, name="first")))
    assert [domain.owner.uid for domain in await hypervisor.domains()] == [first.uid]


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "not xml",
        "<domain/>",
        "<domain type='qemu'><name>x</name></domain>",
        _STRANGER.format(name="nobody", uuid=_UUID.format(number=7), metadata=""),
    ],
)
async def test_what_is_no_domain_of_ours_is_rejected(hypervisor: LibvirtHypervisor, node: Node, xml: str) -> None:
    with pytest.raises(DomainRejected):
        await hypervisor.define(xml)
    assert node.virsh("list", "--all", "--name").strip() == ""


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("<acpi />", "<unknown-feature />"),
        ("pc-q35-7.2", "pc-q35-99.9"),
        ('type="pty"', 'type="teapot"'),
        ('<memory unit="KiB">', '<memory unit="parsec">'),
    ],
)
async def test_libvirts_own_refusal_says_why(hypervisor: LibvirtHypervisor, vm: Vm, good: str, bad: str) -> None:
    xml = build(vm())
    assert good in xml
    with pytest.raises(DomainRejected, match=r"libvirt rejects the domain: .+"):
        await hypervisor.define(xml.replace(good, bad))


async def test_a_cpu_that_the_node_does_not_have_is_rejected(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm(cpu=CPU(model="EPYC-Rome"))
    await hypervisor.define(build(request))
    with pytest.raises(DomainRejected):
        await hypervisor.start(request.uid)


@pytest.mark.parametrize("name", [name for name in CASES if name != "host-passthrough"])
async def test_libvirt_takes_every_golden_domain(hypervisor: LibvirtHypervisor, name: str) -> None:
    request = CASES[name]
    state = await hypervisor.define(build(request))
    assert {disk.path for disk in request.disks} <= {disk.source for disk in state.disks}
    assert [nic.device for nic in state.interfaces] == [nic.tap_device for nic in request.interfaces]
