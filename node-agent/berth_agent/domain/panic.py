"""`<panic>`: the guest's kernel tells of its panic, instead of a silence that looks like work."""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element


class Panic(Element, tag="panic"):
    """pvpanic on the ISA bus, which Linux has a driver for since 3.11."""

    model: Literal["isa"] = attr(default="isa")
