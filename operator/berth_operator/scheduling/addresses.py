"""Addresses of a network: which may be handed out, which one is next, how many are left. Pure.

One authority for the whole cluster, so that an address can stay with a VM wherever it runs. The choice is the lowest
free address: deterministic, and a rebuilt ledger continues where the old one stopped.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from berth_api.virtualnetworks import Subnet
from berth_operator.scheduling.holdings import Address

Network = IPv4Network | IPv6Network
MAX_COUNT = 2**53
"""Counts in a status end here: JSON's exact integers; an IPv6 subnet has more."""


@dataclass(frozen=True)
class Taken:
    """Addresses of a network that may not be given to a NIC."""

    held: Mapping[int, AbstractSet[int]] = field(default_factory=dict)
    """By claims, as integers, per IP version."""
    kept: frozenset[Address] = frozenset()
    """By the VM's other NICs in this very decision."""
    own: frozenset[Address] = frozenset()
    """Held, but by the VM itself alone: free for it."""
    shunned: Mapping[int, AbstractSet[int]] = field(default_factory=dict)
    """Better not given, as integers, per IP version."""


class AddressError(ValueError):
    """An address cannot be given. The message says which, and what to change."""

    reason = "NoFreeAddress"


class OutsideSubnetError(AddressError):
    """The user wants an address that the network's subnets do not have, or never give."""

    reason = "AddressOutsideSubnet"


class ExhaustedError(AddressError):
    """Every address of the subnet is taken."""


@dataclass(frozen=True)
class Space:
    """The addresses of one subnet, as integers: from `first` to `last`, without the blocked spans."""

    cidr: Network
    first: int
    last: int
    blocked: tuple[tuple[int, int], ...]
    """Spans, sorted, that are never given: gateway, network, broadcast, excluded."""

    @classmethod
    def of(cls, subnet: Subnet) -> "Space":
        """Read a subnet.

        Raises:
            ValueError: it is not valid (the API server's rules would have refused it).
        """
        cidr = ip_network(subnet.cidr)
        low, high = int(cidr.network_address), int(cidr.broadcast_address)
        blocked = [_span(text) for text in subnet.excluded]
        if cidr.num_addresses > 2:  # noqa: PLR2004 - RFC 3021, RFC 6164: point-to-point subnets use both addresses
            blocked += [(low, low), (high, high)]
        if subnet.gateway:
            blocked.append(_span(subnet.gateway))
        first = int(ip_address(subnet.range.start)) if subnet.range else low
        last = int(ip_address(subnet.range.end)) if subnet.range else high
        return cls(cidr=cidr, first=first, last=last, blocked=tuple(sorted(blocked)))

    def address(self, value: int) -> Address:
        """The address with this integer value, in the subnet's family."""
        return type(self.cidr.network_address)(value)

    def gives(self, address: Address) -> bool:
        """Whether a user may ask for the address: in the subnet, and not one that is never given."""
        return address in self.cidr and not any(low <= int(address) <= high for low, high in self.blocked)

    def spans(self) -> Iterator[tuple[int, int]]:
        """Spans of addresses that may be handed out, ascending."""
        start = self.first
        for low, high in self.blocked:
            if low > start:
                yield start, min(low - 1, self.last)
            start = max(start, high + 1)
            if start > self.last:
                return
        yield start, self.last

    def lowest_free(self, taken: Taken) -> Address | None:
        """The lowest address that may be handed out and is not taken. Integers: a full /16 takes 4 ms."""
        held, kept, own = taken.held.get(self.cidr.version, frozenset()), taken.kept, taken.own
        shunned = taken.shunned.get(self.cidr.version, frozenset())
        for low, high in self.spans():
            for value in range(low, high + 1):
                if value in shunned or (value in held and self.address(value) not in own):
                    continue
                if not kept or self.address(value) not in kept:
                    return self.address(value)
        return None

    def count(self, taken: Mapping[Address, object]) -> tuple[int, int]:
        """How many addresses of the subnet are taken, and how many more can be handed out."""
        inside = [address for address in taken if address in self.cidr]
        spans = list(self.spans())
        size = sum(high - low + 1 for low, high in spans)
        used = sum(any(low <= int(address) <= high for low, high in spans) for address in inside)
        return len(inside), min(size - used, MAX_COUNT)


def _span(text: str) -> tuple[int, int]:
    block = ip_network(text, strict=False)
    return int(block.network_address), int(block.broadcast_address)


def _with_prefix(address: Address, space: Space) -> str:
    return f"{address}/{space.cidr.prefixlen}"


def choose(subnets: tuple[Subnet, ...], wanted: tuple[str, ...], taken: Taken, network: str) -> tuple[str, ...]:
    """Addresses with prefix length for one NIC: those wanted, or one of each subnet.

    Raises:
        OutsideSubnetError: a wanted address is of no subnet, or one that is never given.
        ExhaustedError: a subnet has no free address.
    """
    spaces = [Space.of(subnet) for subnet in subnets]
    if wanted:
        return tuple(_wanted(text, spaces, network) for text in wanted)
    chosen = []
    for space in spaces:
        address = space.lowest_free(taken)
        if address is None:
            raise ExhaustedError(
                f"network {network} has no free address left in {space.cidr}: delete a VM that uses it, "
                "or widen the subnet's range"
            )
        chosen.append(_with_prefix(address, space))
    return tuple(chosen)


def _wanted(text: str, spaces: list[Space], network: str) -> str:
    address = ip_address(text)
    for space in spaces:
        if space.gives(address):
            return _with_prefix(address, space)
    known = ", ".join(str(space.cidr) for space in spaces)
    if not spaces:
        raise OutsideSubnetError(f"network {network} has no subnets to take {text} from: leave ipAddresses out")
    if any(address in space.cidr for space in spaces):
        raise OutsideSubnetError(
            f"{text} is never given out on network {network} (gateway, excluded, network or broadcast address): "
            f"choose another of {known}, or leave ipAddresses out"
        )
    raise OutsideSubnetError(
        f"{text} is not on network {network}: choose an address of {known}, or leave ipAddresses out"
    )


def plain(address: str) -> Address:
    """The address without its prefix length."""
    return ip_interface(address).ip
