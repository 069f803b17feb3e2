"""What all elements of the domain XML share.

Every string reaches the document through these models, so none can break out of its attribute or text: markup is
escaped by the serializer, and what XML cannot carry at all is refused in `requests`.
"""

from typing import Literal

from pydantic import ConfigDict
from pydantic_xml import BaseXmlModel

YesNo = Literal["yes", "no"]
OnOff = Literal["on", "off"]


class Element(BaseXmlModel):
    """An element of the domain XML (https://libvirt.org/formatdomain.html): immutable, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def yes_no(value: bool) -> YesNo:  # noqa: FBT001 - a conversion
    """A boolean as libvirt writes it."""
    return "yes" if value else "no"
