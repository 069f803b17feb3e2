"""`<rng>`: entropy for the guest, without which an early boot can wait for it."""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element


class Backend(Element, tag="backend"):
    """QEMU's own getrandom(2): no file to open, and never blocking."""

    model: Literal["builtin"] = attr(default="builtin")


class Rng(Element, tag="rng"):
    """A virtio entropy source."""

    model: Literal["virtio"] = attr(default="virtio")
    backend: Backend = Backend()
