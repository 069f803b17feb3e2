"""Can this node give the guest the hardware that its object asks for?

The operator has placed the VM by what the node reported; this looks at what the node has, and at the object as it is
now. Without it libvirt would say no when everything else has been made, in its own words, and again at every try.
"""

from berth_agent.hypervisor.states import HostCapabilities
from berth_agent.reconcile.plan.admission import Refusal
from berth_api.hardware import CPU
from berth_api.virtualmachines import VirtualMachine

NEWEST = "q35"
"""The machine type that stands for whatever version of it a node has."""
_MODES = ("host-model", "host-passthrough", "maximum")
"""What `cpu.model` may be beside a model's name."""


def machine_type(vm: VirtualMachine, newest: str) -> str:
    """The canonical machine type of the guest's next start.

    One that is named goes first; else the one that the VM has had, so that a guest's hardware does not change under it;
    else the node's newest.
    """
    asked = vm.spec.machine_type
    return asked if asked not in (None, NEWEST) else vm.status.machine_type or newest


def unavailable(vm: VirtualMachine, cpu: CPU, host: HostCapabilities) -> Refusal | None:
    """What the VM asks for that this node has not got, or None. `cpu` is the VM's own or its class's."""
    return _machine(vm, host) or _model(cpu, host) or _features(cpu, host) or _firmware(vm, host)


def _machine(vm: VirtualMachine, host: HostCapabilities) -> Refusal | None:
    wanted = machine_type(vm, host.default_machine_type)
    if wanted in host.machine_types:
        return None
    return Refusal("MachineTypeNotAvailable", f"the node's QEMU {host.hypervisor_version} has no machine type {wanted}")


def _model(cpu: CPU, host: HostCapabilities) -> Refusal | None:
    if cpu.model == "host-passthrough" and host.accelerator != "kvm":
        return Refusal(
            "CPUModelNotAvailable",
            f"the CPU model host-passthrough needs KVM, and the node runs guests under {host.accelerator}",
        )
    if cpu.model in (None, *_MODES) or not host.cpu_models or cpu.model in host.cpu_models:
        return None
    return Refusal("CPUModelNotAvailable", f"the node has no CPU model {cpu.model} under {host.accelerator}")


def _features(cpu: CPU, host: HostCapabilities) -> Refusal | None:
    missing = sorted(set(cpu.features) - set(host.cpu_features))
    if not missing:
        return None
    return Refusal("CPUFeaturesNotAvailable", f"the node's CPUs lack {', '.join(missing)} under {host.accelerator}")


def _firmware(vm: VirtualMachine, host: HostCapabilities) -> Refusal | None:
    if vm.spec.firmware.secure_boot and not host.secure_boot:
        return Refusal("FirmwareNotAvailable", "the node has no EFI firmware with secure boot")
    if vm.spec.firmware.type == "EFI" and not host.efi:
        return Refusal("FirmwareNotAvailable", "the node has no EFI firmware: install ovmf on it")
    return None
