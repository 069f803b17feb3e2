"""`<serial>`: the guest's console, to talk to (`virsh console`) and to read afterwards.

QEMU hands what the guest prints to virtlogd, which rotates the file: a guest that prints without end fills a few MiB,
never the node's disk.
"""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element, OnOff


class Log(Element, tag="log"):
    """File that the console is appended to."""

    file: str = attr()
    append: OnOff = attr(default="on")


class Serial(Element, tag="serial"):
    """The first serial port, ttyS0."""

    type: Literal["pty"] = attr(default="pty")
    log: Log
