"""Fields that the API accepts and this version does not honour yet.

Whoever *requires* something must not get a VM that runs without it, so such a VM is refused by name of the field.
"""

from berth_api.virtualmachines import VirtualMachine


def unsupported(vm: VirtualMachine) -> str | None:
    """The first required field that would be ignored, as a path; None where there is none."""
    return "spec.firmware.kernel" if vm.spec.firmware.kernel is not None else None
