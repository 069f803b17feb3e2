"""A guest's NIC, as far as asking the guest over it needs to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from berth_agent.network.attachments import Attachment


@dataclass(frozen=True)
class GuestLink:
    """The node's end of a guest's NIC.

    Attributes:
        device: the tap, in the agent's network namespace.
        mac_address: the guest's.
        ip_addresses: the guest's, with prefix length.
        gateway: the guest's, where it has one on this link.
    """

    device: str
    mac_address: str
    ip_addresses: tuple[str, ...] = ()
    gateway: str | None = None

    @classmethod
    def of(cls, attachment: Attachment) -> "GuestLink":
        """The link of an attachment."""
        return cls(attachment.tap_device, attachment.mac_address, attachment.ip_addresses, attachment.gateway)


Links = Mapping[str, GuestLink]
"""By the NIC's name in `spec.networks`."""


def choose_link(links: Links, order: Sequence[str], wanted: str | None) -> GuestLink | None:
    """The link to ask over: the one that is wanted, or the first in the spec's order that has an address."""
    for name in order if wanted is None else (wanted,):
        link = links.get(name)
        if link is not None and link.ip_addresses:
            return link
    return None
