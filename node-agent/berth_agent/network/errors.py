"""What can go wrong between an attachment request and a tap.

    NetworkError
    ├── RequestInvalid          the request itself is unusable
    ├── ChainInvalid            the network's CNI configuration is unusable
    ├── PodNetworkUnsupported   the chain has a plugin that works for Pods only
    ├── CapabilityMissing       an address or MAC was given, and no plugin of the chain takes it
    ├── AddressConflict         another attachment on this node holds the address or MAC
    ├── AddressNotHonoured      the chain took the address or MAC, and configured another one
    ├── PluginNotFound          no such executable in the plugin directories
    ├── PluginFailed            a plugin said no
    ├── PluginTimedOut          a plugin did not end by its deadline and was killed
    ├── DatapathFailed          the kernel refused a namespace, link, address or filter
    ├── DhcpFailed              dnsmasq did not start or did not stop
    └── CacheUnreadable         an attachment's record cannot be parsed

`reason` is what a condition shows. `retryable` says whether the same request may succeed later without anyone
changing the object; what is not retryable waits for a change of the VM or its network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

CNI_TRY_AGAIN = 11
"""The error code with which a plugin asks to be run again later (CNI SPEC 1.1, "Error")."""


class NetworkError(Exception):
    """Anything that keeps an attachment from being made, observed or taken down."""

    reason: ClassVar[str] = "NetworkError"
    retryable: bool = False


class RequestInvalid(NetworkError):
    """A name, address or number of the request cannot be used; the message says which and why."""

    reason = "NetworkRequestInvalid"


class ChainInvalid(NetworkError):
    """The network's CNI configuration list breaks the CNI specification."""

    reason = "ChainInvalid"


class PodNetworkUnsupported(NetworkError):
    """The chain has a plugin that asks the API server for the Pod it serves; a guest has none."""

    reason = "PodNetworkUnsupported"


class CapabilityMissing(NetworkError):
    """Something was supplied that no plugin of the chain declares a capability for.

    libcni drops it silently, and the guest would come up with an address nobody assigned.
    """

    reason = "CapabilityMissing"


class AddressConflict(NetworkError):
    """Another attachment to the same network on this node has the address or the MAC already."""

    reason = "AddressConflict"
    retryable = True


class AddressNotHonoured(NetworkError):
    """The chain succeeded, but its interface does not have the requested address or MAC."""

    reason = "AddressNotHonoured"


class PluginNotFound(NetworkError):
    """No plugin directory has an executable of that type; DaemonSets install plugins late, so it may appear."""

    reason = "PluginNotFound"
    retryable = True

    def __init__(self, plugin: str, searched: Sequence[Path]) -> None:
        directories = ", ".join(map(str, searched)) or "none configured"
        super().__init__(f"CNI plugin {plugin!r} was not found in: {directories}. Install it on the node.")
        self.plugin = plugin


class PluginFailed(NetworkError):
    """A plugin ended with an error.

    Attributes:
        code: CNI error code; 0 where the plugin gave none.
    """

    reason = "PluginFailed"

    def __init__(self, plugin: str, command: str, code: int, message: str) -> None:
        super().__init__(f"CNI plugin {plugin} failed on {command} (code {code}): {message}")
        self.plugin = plugin
        self.command = command
        self.code = code
        # 7 is "invalid network config"; anything else (an exhausted range, a busy link) can pass by itself.
        self.retryable = code != 7  # noqa: PLR2004 - the specification's own number


class PluginTimedOut(NetworkError):
    """A plugin was still running at its deadline; its whole process group was killed."""

    reason = "PluginTimedOut"
    retryable = True

    def __init__(self, plugin: str, command: str, deadline: float) -> None:
        super().__init__(f"CNI plugin {plugin} did not finish {command} within {deadline:g} s and was killed")
        self.plugin = plugin


class DatapathFailed(NetworkError):
    """The kernel, or `ip` and `tc` in front of it, refused a step of the datapath."""

    reason = "DatapathFailed"
    retryable = True


class DhcpFailed(NetworkError):
    """The DHCP server of an attachment did not start, or did not stop."""

    reason = "DhcpFailed"
    retryable = True


class CacheUnreadable(NetworkError):
    """An attachment's record is damaged: without it nobody can release what its plugins reserved."""

    reason = "AttachmentCacheUnreadable"
