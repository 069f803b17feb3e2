"""What is asked of the node's network, and what it produced: value types, and the port the agent calls.

The reconciler knows an attachment only through these; it never sees a plugin, a namespace or a tc filter.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from berth_agent.network.chains import Chain
from berth_agent.network.errors import RequestInvalid

DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
MIN_MTU = 68
MAX_MTU = 65_535
MAX_QUEUES = 256


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the guest.

    Attributes:
        destination: a prefix, such as `10.0.0.0/8`.
        gateway: next hop; None where the destination is on the link itself.
    """

    destination: str
    gateway: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRequest:
    """One NIC of one VM, as the claim and the network describe it.

    Attributes:
        interface: `spec.networks[].name`, unique in the VM, a DNS label.
        mac_address: the claim's MAC, lower case, which the chain must declare to take; None: the chain's own.
        ip_addresses: with prefix length; empty: the chain's own IPAM decides.
        gateway: default gateway of the guest; None: as the chain's result says.
        dns_servers: for DHCP; empty: as the chain's result says.
        routes: beside the default route and those of the chain's result.
        mtu: what the guest is told, at most the chain's; None: the chain's.
        hostname: for DHCP; a DNS label.
        queues: of the virtio NIC; above one the tap is multi-queue.

    Raises:
        RequestInvalid: on construction, with what to change.
    """

    owner_uid: str
    namespace: str
    vm_name: str
    interface: str
    network_name: str
    chain: Chain
    hostname: str
    mac_address: str | None = None
    ip_addresses: tuple[str, ...] = ()
    gateway: str | None = None
    dns_servers: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    mtu: int | None = None
    queues: int = 1

    def __post_init__(self) -> None:
        """Refuse whatever could reach a command line, a file name or a plugin in a shape nobody expects."""
        if not self.owner_uid:
            raise RequestInvalid("an attachment needs the UID of its owner")
        for what, value in (("interface", self.interface), ("hostname", self.hostname)):
            if not DNS_LABEL.fullmatch(value):
                raise RequestInvalid(
                    f"{what} {value!r} is no DNS label: use at most 63 of a-z, 0-9 and '-', no '-' at either end"
                )
        if self.mac_address is not None and not _is_unicast(self.mac_address):
            raise RequestInvalid(
                f"MAC address {self.mac_address!r} is no unicast address in lower case, such as 52:54:00:12:34:56"
            )
        self._check_addresses()
        if self.mtu is not None and not MIN_MTU <= self.mtu <= MAX_MTU:
            raise RequestInvalid(f"MTU {self.mtu} is not between {MIN_MTU} and {MAX_MTU}")
        if not 1 <= self.queues <= MAX_QUEUES:
            raise RequestInvalid(f"{self.queues} queues are not between 1 and {MAX_QUEUES}")

    def _check_addresses(self) -> None:
        hops = [self.gateway, *self.dns_servers, *(route.gateway for route in self.routes)]
        try:
            for address in self.ip_addresses:
                ipaddress.ip_interface(address)
            for hop in hops:
                if hop is not None:
                    ipaddress.ip_address(hop)
            for route in self.routes:
                ipaddress.ip_network(route.destination)
        except ValueError as error:
            raise RequestInvalid(f"an address of interface {self.interface!r} cannot be parsed: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A NIC that is there: what the domain, the guest's seed and the status need to know of it.

    Attributes:
        container_id: of this incarnation; another one means the attachment was made anew.
        sandbox: name of the network namespace.
        tap_device: persistent tap in the agent's network namespace.
        mac_address: what the guest's NIC must have.
        ip_addresses: with the prefix length that the guest must configure.
        gateway: off every prefix of `ip_addresses` for point-to-point chains: then it needs a route on the link.
        mtu: in bytes, for the guest.
    """

    interface: str
    container_id: str
    sandbox: str
    tap_device: str
    mac_address: str
    ip_addresses: tuple[str, ...] = ()
    gateway: str | None = None
    dns_servers: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    mtu: int = 1500
    queues: int = 1

    @property
    def gateway_is_on_link(self) -> bool:
        """Whether a prefix of the guest covers its gateway, so that no extra route to it is needed."""
        if self.gateway is None:
            return False
        gateway = ipaddress.ip_address(self.gateway)
        return any(gateway in ipaddress.ip_interface(address).network for address in self.ip_addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentState:
    """What the node has of one attachment.

    Attributes:
        attachment: None while none was ever completed.
        broken: why it does not carry packets or answer DHCP; None: it is complete.
    """

    owner_uid: str
    namespace: str
    vm_name: str
    interface: str
    network_name: str
    attachment: Attachment | None
    broken: str | None


class Attachments(Protocol):
    """The node's network, as the reconciler sees it. Every method raises NetworkError and nothing else of its own."""

    async def attach(self, request: AttachmentRequest) -> Attachment:
        """Return the intact attachment of the request, or make it."""
        ...

    async def detach(self, owner_uid: str, interface: str) -> None:
        """Take down all there is of an attachment; nothing being there is success."""
        ...

    async def hand_over(self, owner_uid: str, to: str) -> None:
        """Let all attachments of one owner be another's, without touching them. Repeatable."""
        ...

    async def observe(self, owner_uid: str | None = None) -> Mapping[str, tuple[AttachmentState, ...]]:
        """Return what is there, by owner."""
        ...

    def announce(self, owner_uid: str, attachment: Attachment) -> None:
        """Tell the network that the attachment's addresses are at its MAC now."""
        ...

    async def owners(self) -> frozenset[str]:
        """Return the owners of anything that is left here."""
        ...

    def check_chain(self, chain: Chain) -> None:
        """Raise the error that keeps this node from serving a network; needs nothing but its directories."""
        ...


def _is_unicast(mac: str) -> bool:
    return bool(MAC.fullmatch(mac)) and int(mac[:2], 16) & 1 == 0 and mac != "00:00:00:00:00:00"
