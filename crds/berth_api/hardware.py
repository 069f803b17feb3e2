"""What a VirtualMachine and a VirtualMachineClass both say of the guest: how much CPU and memory it gets."""

from typing import Annotated

from pydantic import Field

from berth_api.markers import Cel, InWords, ServerDefault, SetList
from berth_api.objects import Model
from berth_api.quantities import Quantity, at_least, at_most

CPUFeature = Annotated[
    str,
    Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9._-]*$"),
    InWords("must be the name of a CPU feature as libvirt knows it, in lower case, such as avx2"),
]
"""A CPU's feature by its name in libvirt's CPU map, such as avx2 or sse4.2."""


class CPU(Model):
    """Virtual CPU topology: sockets times cores times threads are the vCPUs."""

    cores: Annotated[int, Field(ge=1, le=512), ServerDefault(1)] = 1
    sockets: Annotated[int, Field(ge=1, le=64), ServerDefault(1)] = 1
    threads: Annotated[int, Field(ge=1, le=8), ServerDefault(1)] = 1
    max_sockets: Annotated[int, Field(ge=1, le=64)] | None = None
    """Sockets up to which a running guest can be given more CPU. Fewer come in at the next start."""
    model: (
        Annotated[
            str,
            Field(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),
            InWords("must be the name of a CPU model, such as host-model"),
        ]
        | None
    ) = None
    """host-model, host-passthrough, maximum, or a model's name as libvirt knows it.
    Left out: the best that the node's accelerator has."""
    features: Annotated[tuple[CPUFeature, ...], Field(max_length=64), SetList()] = ()
    """What the guest's CPU must have, whatever its model brings, such as avx2: the VM goes only to nodes that can give
    all of them."""

    rules = (
        Cel("!has(self.maxSockets) || self.maxSockets >= self.sockets", "maxSockets must be at least sockets"),
        Cel("self.cores * self.sockets * self.threads <= 512", "cores * sockets * threads must be at most 512"),
    )

    @property
    def count(self) -> int:
        """Virtual CPUs of the guest."""
        return self.cores * self.sockets * self.threads


class Memory(Model):
    """Memory of the guest."""

    size: Quantity
    """What the guest boots with, for example 2Gi."""
    max_size: Quantity | None = None
    """Size up to which a running guest can be given more memory, by virtio-mem, and give it back."""

    rules = (
        Cel(at_least("self.size", "quantity('16Mi')"), "memory size must be at least 16Mi"),
        Cel(at_most("self.size", "quantity('64Ti')"), "memory size must be at most 64Ti"),
        Cel(
            "!has(self.maxSize) || !isQuantity(string(self.size)) || "
            + at_least("self.maxSize", "quantity(string(self.size))"),
            "memory maxSize must be at least size",
        ),
        Cel(
            "!has(self.maxSize) || " + at_most("self.maxSize", "quantity('64Ti')"),
            "memory maxSize must be at most 64Ti",
        ),
    )
