"""A domain says whose it is, and whether its hardware is still what was asked for."""

from dataclasses import replace

import pytest
from tests.unit.domain.cases import SMALL

from berth_agent.domain.metadata import NAMESPACE_URI, MetadataError, Owner, hardware_hash, owner_of
from berth_agent.domain.requests import DirectKernel
from berth_api.hardware import CPU
from berth_api.virtualmachines import Firmware

_FIELDS = "<namespace>a</namespace><name>b</name><uid>u</uid><claim>c</claim>"
_REST = "<generation>3</generation><hardware>h</hardware>"


@pytest.mark.parametrize("opening", ["<vm>", f"<vm xmlns='{NAMESPACE_URI}'>"])
def test_it_is_read_with_and_without_its_namespace(opening: str) -> None:
    owner = Owner.read(f"{opening}{_FIELDS}{_REST}</vm>")
    assert owner == Owner(namespace="a", name="b", uid="u", claim_id="c", generation=3, hardware="h")


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<vm",
        "<vm/>",
        f"<vm>{_FIELDS}</vm>",
        f"<other>{_FIELDS}{_REST}</other>",
        f"<vm>{_FIELDS}<generation>x</generation><hardware>h</hardware></vm>",
        f"<vm>{_FIELDS}{_REST}<uid></uid></vm>",
        f"<!DOCTYPE vm [<!ENTITY e 'x'>]><vm>{_FIELDS}{_REST}</vm>",
    ],
)
def test_a_broken_record_is_no_record(xml: str) -> None:
    with pytest.raises(MetadataError):
        Owner.read(xml)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SMALL, claim_id="other"),
        replace(SMALL, generation=9),
        replace(SMALL, seed_path=None),
        replace(SMALL, console_log_path="/elsewhere"),
        replace(SMALL, interfaces=(replace(SMALL.interfaces[0], tap_device="other"),)),
    ],
)
def test_what_belongs_to_one_incarnation_is_no_hardware(changed: object) -> None:
    assert hardware_hash(changed) == hardware_hash(SMALL)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        replace(SMALL, cpu=CPU(cores=2)),
        replace(SMALL, memory=SMALL.memory * 2),
        replace(SMALL, firmware=Firmware(type="EFI")),
        replace(SMALL, machine_type="pc-q35-7.1"),
        replace(SMALL, accelerator="kvm"),
        replace(SMALL, disks=(replace(SMALL.disks[0], bus="scsi"),)),
        replace(SMALL, disks=(replace(SMALL.disks[0], boot_order=1),)),
        replace(SMALL, disks=(replace(SMALL.disks[0], path="/other"),)),
        replace(SMALL, interfaces=()),
        replace(SMALL, interfaces=(replace(SMALL.interfaces[0], mtu=1400),)),
        replace(SMALL, interfaces=(replace(SMALL.interfaces[0], mac_address="52:54:00:00:00:99"),)),
        replace(SMALL, kernel=DirectKernel(path="/k")),
    ],
)
def test_what_the_guest_sees_is_hardware(changed: object) -> None:
    assert hardware_hash(changed) != hardware_hash(SMALL)  # type: ignore[arg-type]


def test_the_hash_stays_the_same_between_versions() -> None:
    """A version that computes it otherwise would ask every running VM for a restart."""
    assert owner_of(SMALL).hardware == hardware_hash(SMALL) == "4cbd98c2f07585a9cf24e952e19530cf"
