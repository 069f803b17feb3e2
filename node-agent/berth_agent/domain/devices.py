"""`<devices>`: virtio for all, and nothing that no one uses: no graphics, USB, sound, tablet or boot ROM."""

from berth_agent.domain.channels import Channel
from berth_agent.domain.controllers import Controller, controller_elements
from berth_agent.domain.disks import DiskElement, disk_elements
from berth_agent.domain.elements import Element
from berth_agent.domain.interfaces import InterfaceElement, interface_element
from berth_agent.domain.memballoon import MemBalloon
from berth_agent.domain.memory import MemoryDevice, memory_device
from berth_agent.domain.panic import Panic
from berth_agent.domain.requests import DomainRequest
from berth_agent.domain.rng import Rng
from berth_agent.domain.serial import Log, Serial


class Devices(Element, tag="devices"):
    """The guest's devices."""

    disks: tuple[DiskElement, ...] = ()
    controllers: tuple[Controller, ...] = ()
    interfaces: tuple[InterfaceElement, ...] = ()
    serial: Serial
    channel: Channel = Channel()
    memballoon: MemBalloon = MemBalloon()
    rng: Rng = Rng()
    panic: Panic = Panic()
    memory: MemoryDevice | None = None


def devices_element(request: DomainRequest) -> Devices:
    """`<devices>` of the request."""
    return Devices(
        disks=disk_elements(request),
        controllers=controller_elements(request),
        interfaces=tuple(interface_element(interface) for interface in request.interfaces),
        serial=Serial(log=Log(file=request.console_log_path)),
        memory=memory_device(request),
    )
