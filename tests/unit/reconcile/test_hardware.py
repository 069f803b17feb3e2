"""Hardware that the node has not got is named; what it has stands in nobody's way."""

from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.hypervisor import CAPABILITIES

from berth_agent.reconcile.plan.hardware import machine_type, unavailable
from berth_api.hardware import CPU
from berth_api.virtualmachines import VirtualMachine

KVM = replace(CAPABILITIES, accelerator="kvm")
PLAIN = replace(CAPABILITIES, efi=False, secure_boot=False, cpu_features=(), cpu_models=())


def machine(had: str | None = None, **spec: Any) -> VirtualMachine:
    status = {"machineType": had} if had else {}
    return VirtualMachine.from_api({"metadata": {"name": "a"}, "spec": {"className": "c", **spec}, "status": status})


@pytest.mark.parametrize(
    ("asked", "had", "expected"),
    [
        (None, None, "pc-q35-7.2"),
        ("q35", None, "pc-q35-7.2"),
        (None, "pc-q35-6.0", "pc-q35-6.0"),
        ("q35", "pc-q35-6.0", "pc-q35-6.0"),
        ("pc-q35-7.1", "pc-q35-6.0", "pc-q35-7.1"),
    ],
)
def test_a_guest_keeps_its_machine_type_until_it_is_told_another(
    asked: str | None, had: str | None, expected: str
) -> None:
    vm = machine(had, machineType=asked) if asked else machine(had)
    assert machine_type(vm, "pc-q35-7.2") == expected


@pytest.mark.parametrize(
    ("vm", "cpu"),
    [
        (machine(), CPU()),
        (machine(machineType="q35"), CPU(model="Nehalem", features=("avx2", "sse4.2"))),
        (machine("pc-q35-7.1"), CPU(model="host-model")),
        (machine(firmware={"type": "EFI", "secureBoot": True}), CPU(model="maximum")),
    ],
)
def test_what_the_node_has_is_available(vm: VirtualMachine, cpu: CPU) -> None:
    assert unavailable(vm, cpu, CAPABILITIES) is None


def test_a_node_that_lists_no_models_may_have_any_and_one_that_lists_no_features_has_none() -> None:
    assert unavailable(machine(), CPU(model="EPYC"), PLAIN) is None
    refusal = unavailable(machine(), CPU(features=("avx",)), PLAIN)
    assert refusal is not None
    assert refusal.reason == "CPUFeaturesNotAvailable"


def test_passing_the_hosts_cpu_through_takes_kvm() -> None:
    assert unavailable(machine(), CPU(model="host-passthrough"), KVM) is None


@pytest.mark.parametrize(
    ("vm", "cpu", "reason", "says"),
    [
        (
            machine(machineType="pc-q35-99.0"),
            CPU(),
            "MachineTypeNotAvailable",
            "QEMU 7.2.0 has no machine type pc-q35-99.0",
        ),
        (machine("pc-q35-99.0"), CPU(), "MachineTypeNotAvailable", "pc-q35-99.0"),
        (machine(), CPU(model="EPYC"), "CPUModelNotAvailable", "no CPU model EPYC under tcg"),
        (machine(), CPU(model="host-passthrough"), "CPUModelNotAvailable", "needs KVM"),
        (machine(), CPU(features=("vmx", "avx", "amx")), "CPUFeaturesNotAvailable", "lack amx, vmx under tcg"),
        (machine(firmware={"type": "EFI"}), CPU(), "FirmwareNotAvailable", "install ovmf"),
        (machine(firmware={"type": "EFI", "secureBoot": True}), CPU(), "FirmwareNotAvailable", "with secure boot"),
    ],
)
def test_what_the_node_has_not_got_is_named(vm: VirtualMachine, cpu: CPU, reason: str, says: str) -> None:
    host = replace(CAPABILITIES, efi=False, secure_boot=False)
    refusal = unavailable(vm, cpu, host)
    assert refusal is not None
    assert refusal.reason == reason
    assert says in refusal.message
