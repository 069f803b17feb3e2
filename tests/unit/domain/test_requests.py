"""A request that could become something else than it says is refused, and told what to change."""

from dataclasses import replace
from re import escape
from typing import Any

import pytest
from tests.unit.domain.cases import CASES, SMALL

from berth_agent.domain.documents import build
from berth_agent.domain.requests import DirectKernel, DomainDisk, DomainInterface, InvalidDomainRequest
from berth_api.hardware import CPU
from berth_api.virtualmachines import Firmware

_DISK = SMALL.disks[0]
_NIC = SMALL.interfaces[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"namespace": "a_b"}, "namespace"),
        ({"name": "../x"}, "name"),
        ({"name": "x" * 64}, "at most 63"),
        ({"name": ""}, "name"),
        ({"uid": "6B1F2B1E-41C5-4C8E-9D3B-2F0F6A3B7C01"}, "UUID"),
        ({"firmware": Firmware.model_construct(uuid="x", type="BIOS", secure_boot=False)}, "firmware.uuid"),
        ({"claim_id": "</berth:claim>"}, "claim_id"),
        ({"machine_type": "pc-q35-7.2,accel=kvm"}, "machine_type"),
        ({"machine_type": "pc-i440fx-7.2"}, "q35"),
        ({"machine_type": "pc-q35-"}, "q35"),
        ({"machine_type": "pc-q35-" + "x" * 57}, "q35"),
        ({"cpu": CPU.model_construct(**CPU().model_dump() | {"features": ("avx", "-x,+vmx")})}, "cpu.features[1]"),
        ({"cpu": CPU.model_construct(cores=1, sockets=1, threads=1, max_sockets=None, model="x,+vmx")}, "cpu.model"),
        ({"cpu": CPU(sockets=4, max_sockets=2)}, "maxSockets"),
        ({"memory": 1024}, "16Mi"),
        ({"memory_max": SMALL.memory - 1}, "memory.maxSize"),
        ({"restarted_at": "x" * 65}, "restarted_at"),
        ({"restarted_at": "a\nb"}, "U+000A"),
        ({"parts": {"a b": "c0"}}, "parts"),
        ({"parts": {"cpu": "</x>"}}, "parts[cpu]"),
        ({"disks": ()}, "nothing to boot"),
        ({"disks": (replace(_DISK, path="relative.qcow2"),)}, "disks[0].path"),
        ({"disks": (replace(_DISK, path="/pool/../etc/shadow"),)}, "disks[0].path"),
        ({"disks": (replace(_DISK, path="/pool//x"),)}, "disks[0].path"),
        ({"disks": (replace(_DISK, path="/pool/x\ny"),)}, "U+000A"),
        ({"disks": (replace(_DISK, name="a/b"),)}, "disks[0].name"),
        ({"disks": (replace(_DISK, boot_order=0),)}, "count from 1"),
        ({"disks": (_DISK, replace(_DISK, path="/other"))}, "disk name root is given twice"),
        ({"disks": (_DISK, replace(_DISK, name="other"))}, "disk path"),
        (
            {"disks": (replace(_DISK, boot_order=1), DomainDisk(name="b", path="/b", boot_order=1))},
            "boot order 1 is given twice",
        ),
        ({"disks": tuple(DomainDisk(name=f"d{n}", path=f"/d{n}") for n in range(25))}, "at most 24"),
        ({"interfaces": (replace(_NIC, tap_device="much-too-long-a-name"),)}, "15 characters"),
        ({"interfaces": (replace(_NIC, tap_device="../x"),)}, "tap_device"),
        ({"interfaces": (replace(_NIC, mac_address="53:54:00:12:34:56"),)}, "unicast"),
        ({"interfaces": (replace(_NIC, mtu=10),)}, "mtu"),
        ({"interfaces": (replace(_NIC, queues=0),)}, "queues"),
        ({"interfaces": (_NIC, replace(_NIC, name="b", tap_device="b"))}, "MAC address"),
        ({"interfaces": (_NIC, replace(_NIC, name="b", mac_address="52:54:00:00:00:01"))}, "tap device"),
        ({"seed_path": "seed.iso"}, "seed_path"),
        ({"console_log_path": "/logs/\x00"}, "U+0000"),
        ({"console_log_path": "/logs/\ud800"}, "U+D800"),
        ({"console_log_path": "/logs/\uffff"}, "U+FFFF"),
        ({"kernel": DirectKernel(path="/k", command_line="a\x1bb")}, "kernel.command_line"),
        ({"kernel": DirectKernel(path="/k", initrd_path="i")}, "kernel.initrd_path"),
        ({"kernel": DirectKernel(path="/k"), "firmware": Firmware(type="EFI")}, "BIOS"),
        ({"firmware": Firmware(secure_boot=True)}, "secureBoot needs"),
    ],
)
def test_what_is_out_of_bounds_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidDomainRequest, match=escape(says)):
        replace(SMALL, **changes)


def test_the_uuid_is_the_firmwares_where_one_is_given() -> None:
    assert SMALL.domain_uuid == SMALL.uid
    assert CASES["efi-secure-boot"].domain_uuid == "11111111-2222-4333-8444-555555555555"


def test_parts_in_another_order_are_the_same_and_cannot_be_changed() -> None:
    given = {"cpu": "a0", "disks": "b0"}
    one, other = replace(SMALL, parts=given), replace(SMALL, parts={"disks": "b0", "cpu": "a0"})
    assert one == other
    assert build(one) == build(other)
    given["cpu"] = "changed"
    assert one.parts["cpu"] == "a0"
    assert not hasattr(one.parts, "__setitem__")


def test_names_of_different_vms_never_meet() -> None:
    one = replace(SMALL, namespace="a-b", name="c")
    other = replace(SMALL, namespace="a", name="b-c")
    assert one.domain_name != other.domain_name


def test_nics_may_share_nothing() -> None:
    with pytest.raises(InvalidDomainRequest, match="interface name default"):
        replace(
            SMALL,
            interfaces=(_NIC, DomainInterface(name="default", tap_device="tap9", mac_address="52:54:00:00:00:09")),
        )
