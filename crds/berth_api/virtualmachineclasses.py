"""VirtualMachineClass: a flavor. Its spec never changes, so two VMs of one class are alike whenever they were made."""

from pydantic import Field

from berth_api.hardware import CPU, Memory
from berth_api.markers import Cel
from berth_api.objects import Model, Resource


class VirtualMachineClassSpec(Model):
    """What a VM of the class gets."""

    description: str = Field(default="", max_length=1024)
    cpu: CPU
    memory: Memory


class VirtualMachineClass(Resource):
    """A named size of virtual machine."""

    kind: str = "VirtualMachineClass"
    spec: VirtualMachineClassSpec

    rules = (Cel("self.spec == oldSelf.spec", "a class never changes: make one with another name"),)
