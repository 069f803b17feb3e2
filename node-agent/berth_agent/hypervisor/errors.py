"""What can go wrong with the hypervisor, and what of it is worth another try.

HypervisorError
├── Unavailable            (retryable)  libvirtd is not there, or the connection broke
├── DeadlineExceeded       (retryable)  libvirtd or QEMU did not answer in time; the call may still take effect
├── DomainNotFound                      there is no domain of ours for this VM
├── DomainExists           (retryable)  another domain has the name or the UUID, until it is gone
├── DomainRejected                      libvirt does not take the definition: it has to change
├── OperationFailed        (retryable)  libvirt or QEMU tried and failed
├── OperationInvalid       (retryable)  not in the domain's present state: look again
├── GuestAgentUnavailable  (retryable)  no agent answers in the guest
├── PoolConflict                        a storage pool of that name is something else
└── AcceleratorUnusable                 the accelerator that was asked for does not run guests here
"""

from typing import ClassVar


class HypervisorError(Exception):
    """The hypervisor did not do what it was asked for."""

    reason: ClassVar[str] = "HypervisorError"
    """For conditions and events."""
    retryable: ClassVar[bool] = False
    """The same call can succeed later, without anything being changed."""


class Unavailable(HypervisorError):
    """libvirtd cannot be reached now."""

    reason = "HypervisorUnavailable"
    retryable = True


class DeadlineExceeded(HypervisorError):
    """No answer in time. The call was not taken back: it may still take effect."""

    reason = "HypervisorDeadlineExceeded"
    retryable = True


class DomainNotFound(HypervisorError):
    """There is no domain of ours for this VM."""

    reason = "DomainNotFound"


class DomainExists(HypervisorError):
    """Another domain has the name or the UUID: a namesake that is being taken down, or one that somebody has to."""

    reason = "DomainExists"
    retryable = True


class DomainRejected(HypervisorError):
    """libvirt does not take the definition."""

    reason = "DomainRejected"


class OperationFailed(HypervisorError):
    """libvirt or QEMU tried and failed."""

    reason = "OperationFailed"
    retryable = True


class OperationInvalid(HypervisorError):
    """The domain's state does not allow it: it changed since it was looked at."""

    reason = "OperationInvalid"
    retryable = True


class GuestAgentUnavailable(HypervisorError):
    """No agent answers in the guest."""

    reason = "GuestAgentUnavailable"
    retryable = True


class PoolConflict(HypervisorError):
    """A storage pool of that name has another type or path."""

    reason = "PoolConflict"


class AcceleratorUnusable(HypervisorError):
    """The accelerator that was asked for does not run guests on this node."""

    reason = "AcceleratorUnusable"
