"""What needs a restart is told by the part that differs, and by nothing that means the same."""

from typing import Any

import pytest

from berth_agent.domain.hardware import parts_of
from berth_api.hardware import CPU, Memory
from berth_api.virtualmachines import VirtualMachineSpec

_DISKS = [{"name": "root", "imageRef": {"name": "debian"}, "size": "1Gi"}, {"name": "data", "volumeName": "v"}]
_NICS = [{"name": "a", "networkName": "a"}, {"name": "b", "networkName": "b"}]


def parts(spec: dict[str, Any] | None = None, cpu: CPU | None = None, memory: Memory | None = None) -> dict[str, str]:
    return dict(
        parts_of(
            VirtualMachineSpec.model_validate({"disks": _DISKS, "networks": _NICS} | (spec or {})),
            cpu or CPU(),
            memory or Memory(size="1Gi"),
            "pc-q35-7.2",
        )
    )


def changed(other: dict[str, str]) -> set[str]:
    """The parts that differ from those of the plain VM."""
    mine = parts()
    assert mine.keys() == other.keys()
    return {name for name in mine if mine[name] != other[name]}


@pytest.mark.parametrize(
    "cpu",
    [CPU(cores=2), CPU(threads=2), CPU(model="Westmere"), CPU(features=("avx",)), CPU(max_sockets=4)],
)
def test_the_cpu_is_a_part(cpu: CPU) -> None:
    assert changed(parts(cpu=cpu)) == {"cpu"}


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({"firmware": {"type": "EFI"}}, "firmware"),
        ({"firmware": {"uuid": "11111111-2222-4333-8444-555555555555"}}, "firmware"),
        ({"firmware": {"kernel": {"imageRef": {"name": "k"}}}}, "firmware"),
        ({"disks": _DISKS[:1]}, "disks"),
        ({"disks": _DISKS[::-1]}, "disks"),
        ({"disks": [{**_DISKS[0], "size": "2Gi"}, _DISKS[1]]}, "disks"),
        ({"disks": [{**_DISKS[0], "bus": "scsi"}, _DISKS[1]]}, "disks"),
        ({"disks": [{**_DISKS[0], "bootOrder": 1}, _DISKS[1]]}, "disks"),
        ({"networks": []}, "networks"),
        ({"networks": _NICS[::-1]}, "networks"),
        ({"networks": [{**_NICS[0], "macAddress": "52:54:00:00:00:01"}, _NICS[1]]}, "networks"),
        ({"cloudInit": {"userData": "#!/bin/sh"}}, "cloudInit"),
        ({"cloudInit": {"sshAuthorizedKeys": ["a"]}}, "cloudInit"),
    ],
)
def test_each_aspect_is_a_part_of_its_own(spec: dict[str, Any], part: str) -> None:
    assert changed(parts(spec)) == {part}


def test_memory_counts_by_how_far_it_can_grow() -> None:
    assert changed(parts(memory=Memory(size="1Gi", max_size="2Gi"))) == {"memory"}


def test_the_machine_type_is_a_part() -> None:
    spec = VirtualMachineSpec.model_validate({"disks": _DISKS, "networks": _NICS})
    assert changed(dict(parts_of(spec, CPU(), Memory(size="1Gi"), "pc-q35-7.1"))) == {"machineType"}


@pytest.mark.parametrize(
    "other",
    [
        parts(cpu=CPU(sockets=4)),
        parts(memory=Memory(size="4Gi")),
        parts({"runStrategy": "Halted", "paused": True, "restartedAt": "2026-01-01T00:00:00Z"}),
        parts({"nodeName": "n", "terminationGracePeriodSeconds": 1, "schedulerProfile": "p"}),
        parts({"livenessProbe": {"guestAgentPing": {}}}),
        parts({"firmware": {"type": "BIOS"}}),
        parts({"disks": [{**_DISKS[0], "size": "1024Mi", "bus": "virtio"}, _DISKS[1]]}),
    ],
)
def test_what_changes_nothing_of_the_hardware_changes_no_part(other: dict[str, str]) -> None:
    assert changed(other) == set()


def test_sets_have_no_order() -> None:
    assert parts(cpu=CPU(features=("avx", "avx2"))) == parts(cpu=CPU(features=("avx2", "avx")))
    one, other = ({"cloudInit": {"sshAuthorizedKeys": keys}} for keys in (["a", "b"], ["b", "a"]))
    assert parts(one) == parts(other)
    assert parts(memory=Memory(size="1Gi", max_size="2Gi")) == parts(memory=Memory(size="1Gi", max_size="2048Mi"))


def test_the_default_network_is_the_one_that_could_have_been_written() -> None:
    written = [{"name": "default", "networkName": "default"}]
    assert parts({"networks": None})["networks"] == parts({"networks": written})["networks"]


def test_the_hashes_stay_the_same_between_versions() -> None:
    """A version that computes them otherwise would ask every running VM for a restart."""
    assert parts() == {
        "cpu": "44136fa355b3678a",
        "memory": "74234e98afe7498f",
        "firmware": "44136fa355b3678a",
        "machineType": "c0bdb1ae40aab855",
        "disks": "d188aa442874553c",
        "networks": "9963baf1e8818066",
        "cloudInit": "74234e98afe7498f",
    }
