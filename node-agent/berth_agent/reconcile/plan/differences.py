"""What the spec asks for and the running guest does not have: what can be plugged in, and what needs a restart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from berth_agent.reconcile.plan.observed import Observed
from berth_api.quantities import from_bytes

BLOCK = 2 * 2**20
"""Bytes in which memory is plugged in: what differs by less is the same."""


@dataclass(frozen=True)
class Hardware:
    """The guest's hardware as the spec asks for it now."""

    cpus: int
    memory: int
    """Bytes."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """A hash per aspect: see `berth_agent.domain.hardware.parts_of`."""
    covered: bool = True
    """The node has admitted a claim that covers its CPU, memory and storage."""


def can_plug_cpus(wanted: Hardware, observed: Observed) -> bool:
    """Whether the running guest can be given the CPUs that the spec asks for.

    None are taken away: a guest may refuse, and under TCG libvirt never hears that it has let go.
    """
    more = bool(observed.vcpus) and wanted.cpus > observed.vcpus
    return more and wanted.cpus <= observed.max_vcpus and not _differs("cpu", wanted, observed)


def can_plug_memory(wanted: Hardware, observed: Observed) -> bool:
    """Whether the running guest can be given the memory that the spec asks for."""
    within = observed.boot_memory <= wanted.memory <= observed.max_memory
    return _other_memory(wanted, observed) and within and not _differs("memory", wanted, observed)


def differences(wanted: Hardware, observed: Observed) -> tuple[str, ...]:
    """What of the running guest only a restart brings to what the spec asks for, in words."""
    return tuple(_differences(wanted, observed))


def _differences(wanted: Hardware, observed: Observed) -> Iterator[str]:
    if observed.vcpus and wanted.cpus != observed.vcpus and not can_plug_cpus(wanted, observed):
        yield f"CPUs {observed.vcpus} to {wanted.cpus}"
    elif _differs("cpu", wanted, observed):
        yield "cpu"
    if _other_memory(wanted, observed) and (holds_memory(wanted, observed) or not can_plug_memory(wanted, observed)):
        yield f"memory {from_bytes(observed.memory)} to {from_bytes(wanted.memory)}"
    elif _differs("memory", wanted, observed):
        yield "memory.maxSize"
    for part in sorted({*wanted.parts, *observed.parts} - {"cpu", "memory"}):
        if _differs(part, wanted, observed):
            yield part


def holds_memory(wanted: Hardware, observed: Observed) -> bool:
    """Whether the running guest has more than the spec asks for, and may give it back or not: it is the guest's."""
    return _other_memory(wanted, observed) and wanted.memory < observed.memory


def _other_memory(wanted: Hardware, observed: Observed) -> bool:
    return bool(observed.memory) and not 0 <= observed.memory - wanted.memory < BLOCK


def _differs(part: str, wanted: Hardware, observed: Observed) -> bool:
    """Whether the guest was made with another; of a guest whose record does not tell nothing is said."""
    return part in observed.parts and observed.parts[part] != wanted.parts.get(part)
