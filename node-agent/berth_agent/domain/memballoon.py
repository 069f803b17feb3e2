"""`<memballoon>`: the guest reports pages it does not use, and the host takes them back."""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element, OnOff


class MemBalloon(Element, tag="memballoon"):
    """A virtio balloon."""

    model: Literal["virtio"] = attr(default="virtio")
    free_page_reporting: OnOff = attr(name="freePageReporting", default="on")
