"""`<cpu>` and `<vcpu>`: topology, and the model that a guest gets where its owner names none.

KVM: host-model, all that the host's CPU has and libvirt can promise to a migration's target. TCG: Nehalem, a named
model, which means the same in every version of QEMU (`maximum` does not, so a guest could not move to a newer one), and
which the emulator has all of. It offers x86-64-v2, which newer distributions ask for. No model boots measurably faster
than another (docs/decisions/0007-domain-and-libvirt.md).

Features that the owner asks for are required on top of any model, also where the model brings them: what is written is
what the guest must have, whatever a model of that name means to another version of libvirt.
"""

from typing import Any, Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element, OnOff
from berth_agent.domain.memory import boot_memory, is_pluggable
from berth_agent.domain.requests import Accelerator, DomainRequest
from berth_api.hardware import CPU

_DEFAULT: dict[Accelerator, str] = {"kvm": "host-model", "tcg": "Nehalem"}


class VCPU(Element, tag="vcpu"):
    """Virtual CPUs: the most that the guest can have, and those it boots with."""

    placement: Literal["static"] = attr(default="static")
    current: int | None = attr(default=None)
    maximum: int


class Topology(Element, tag="topology"):
    """Sockets up to which CPUs can be added, and what is in each."""

    sockets: int = attr()
    dies: int = attr(default=1)
    cores: int = attr()
    threads: int = attr()


class Model(Element, tag="model"):
    """A named model, taken exactly or not at all."""

    fallback: Literal["forbid"] = attr(default="forbid")
    name: str


class Feature(Element, tag="feature"):
    """A feature without which the guest does not start."""

    policy: Literal["require"] = attr(default="require")
    name: str = attr()


class Cell(Element, tag="cell"):
    """A NUMA cell that holds every CPU that the guest can have."""

    id: Literal[0] = attr(default=0)
    cpus: str = attr()
    memory: int = attr()
    unit: Literal["KiB"] = attr(default="KiB")


class Numa(Element, tag="numa"):
    """One cell: memory that is plugged in has to belong to one."""

    cell: Cell


class CPUElement(Element, tag="cpu"):
    """The CPU that the guest sees."""

    mode: Literal["host-model", "host-passthrough", "maximum", "custom"] = attr()
    match: Literal["exact"] | None = attr(default=None)
    check: Literal["partial", "none"] | None = attr(default=None)
    migratable: OnOff | None = attr(default=None)
    model: Model | None = None
    topology: Topology
    features: tuple[Feature, ...] = ()
    numa: Numa | None = None


def vcpu(cpu: CPU) -> VCPU:
    """`<vcpu>`: with maxSockets, the guest boots with fewer CPUs than it can be given."""
    most = _most(cpu)
    return VCPU(current=cpu.count if cpu.count != most else None, maximum=most)


def cpu_element(request: DomainRequest) -> CPUElement:
    """`<cpu>`: the model asked for, or the accelerator's default, with all features asked for."""
    cpu = request.cpu
    rest: dict[str, Any] = {
        "topology": Topology(sockets=cpu.max_sockets or cpu.sockets, cores=cpu.cores, threads=cpu.threads),
        "features": tuple(Feature(name=name) for name in sorted(set(cpu.features))),
        "numa": _numa(request),
    }
    match cpu.model or _DEFAULT[request.accelerator]:
        case "host-model":
            return CPUElement(mode="host-model", check="partial", **rest)
        case "host-passthrough":
            return CPUElement(mode="host-passthrough", check="none", migratable="on", **rest)
        case "maximum":
            return CPUElement(mode="maximum", check="none", **rest)
        case name:
            return CPUElement(mode="custom", match="exact", check="partial", model=Model(name=name), **rest)


def _numa(request: DomainRequest) -> Numa | None:
    if not is_pluggable(request):
        return None
    last = _most(request.cpu) - 1
    return Numa(cell=Cell(cpus=f"0-{last}" if last else "0", memory=boot_memory(request)))


def _most(cpu: CPU) -> int:
    return (cpu.max_sockets or cpu.sockets) * cpu.cores * cpu.threads
