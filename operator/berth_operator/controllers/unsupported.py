"""Fields that the API accepts and this version does not honour yet.

Whoever *requires* something must not get a VM that runs without it, so such a VM is refused by name of the field.
What is only *preferred* may be left unfulfilled by its own meaning, and is.
"""

from berth_api.virtualmachines import VirtualMachine


def unsupported(vm: VirtualMachine) -> str | None:
    """The first required field that would be ignored, as a path; None where there is none."""
    spec = vm.spec
    if spec.firmware.kernel is not None:
        return "spec.firmware.kernel"
    if spec.affinity is not None:
        for name, terms in (
            ("vmAffinity", spec.affinity.vm_affinity),
            ("vmAntiAffinity", spec.affinity.vm_anti_affinity),
        ):
            if terms is not None and terms.required_during_scheduling_ignored_during_execution:
                return f"spec.affinity.{name}.requiredDuringSchedulingIgnoredDuringExecution"
    if any(rule.when_unsatisfiable == "DoNotSchedule" for rule in spec.topology_spread_constraints):
        return "spec.topologySpreadConstraints with whenUnsatisfiable: DoNotSchedule"
    return None
