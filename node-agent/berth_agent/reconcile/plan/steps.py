"""The steps that a plan is made of. Each is idempotent: done twice, or killed halfway and done again, it ends the same.

A new step is a class here, a function in `reconcile/steps/`, and an entry in that package's table.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Step:
    """One thing to do about a VM."""

    deadline: ClassVar[float] = 30.0
    """Seconds after which the step is given up, to be tried again."""
    interruptible: ClassVar[bool] = False
    """It may take long, and cancelling it leaves nothing behind: a delete does not wait for it."""

    @property
    def name(self) -> str:
        """The step in one word, for logs and metrics."""
        return type(self).__name__


@dataclass(frozen=True)
class AdoptGuest(Step):
    """Write VM and cluster into the records of what is here already; its guest is not touched."""

    deadline: ClassVar[float] = 120.0


@dataclass(frozen=True)
class AdmitClaim(Step):
    """Check the spec against the claim, and the claim against what the node really has; answer, if it is a new one.

    Where nodes have anchors it waits for the kubelet.
    """

    deadline: ClassVar[float] = 300.0
    interruptible: ClassVar[bool] = True


@dataclass(frozen=True)
class CreateDisk(Step):
    """Fetch the disk's image if it has one, and make the disk."""

    disk: str
    deadline: ClassVar[float] = 6 * 3600.0
    interruptible: ClassVar[bool] = True


@dataclass(frozen=True)
class AttachInterface(Step):
    """Run the network's plugins and make the tap; repair what is broken."""

    interface: str
    interruptible: ClassVar[bool] = True
    deadline: ClassVar[float] = 180.0


@dataclass(frozen=True)
class WriteSeed(Step):
    """Write the cloud-init seed."""


@dataclass(frozen=True)
class DefineDomain(Step):
    """Define the domain from the object as it is now."""


@dataclass(frozen=True)
class StartDomain(Step):
    """Start the domain, with its CPUs stopped if `paused`."""

    paused: bool = False
    deadline: ClassVar[float] = 60.0


@dataclass(frozen=True)
class ResumeDomain(Step):
    """Let a paused guest go on."""


@dataclass(frozen=True)
class SuspendDomain(Step):
    """Stop the guest's CPUs."""


@dataclass(frozen=True)
class PlugCPUs(Step):
    """Give the running guest CPUs, or take some away."""

    cpus: int


@dataclass(frozen=True)
class PlugMemory(Step):
    """Give the running guest memory, or ask some back."""

    memory: int
    """Bytes that it is to have in all."""


@dataclass(frozen=True)
class ShutdownDomain(Step):
    """Ask the guest to stop: its agent, or else by its power button. Repeated, because a booting guest ignores it."""

    by_agent: bool = False


@dataclass(frozen=True)
class DestroyDomain(Step):
    """Pull the plug."""

    deadline: ClassVar[float] = 60.0


@dataclass(frozen=True)
class UndefineDomain(Step):
    """Forget the domain."""


@dataclass(frozen=True)
class DetachInterface(Step):
    """Take the tap and the sandbox down, running the plugins' DEL."""

    interface: str
    deadline: ClassVar[float] = 180.0


@dataclass(frozen=True)
class DeleteSeed(Step):
    """Remove the cloud-init seed."""


@dataclass(frozen=True)
class DeleteDisks(Step):
    """Remove the disks that die with the VM, and its console's log."""


@dataclass(frozen=True)
class YieldClaim(Step):
    """Say that the claim's CPU and memory are free: the guest is off, and starts again only under a new claim."""


@dataclass(frozen=True)
class ReleaseClaim(Step):
    """Say that nothing is left, so that the operator may free the claim."""
