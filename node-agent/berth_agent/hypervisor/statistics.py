"""What the guests use, in one call to libvirtd for all of them.

Nothing is asked of a guest, nor of a QEMU that is busy (NOWAIT): one that hangs would hold up the numbers of all
others. What is missing then is left out, and there again the next time.
"""

from collections.abc import Mapping
from typing import Any

import libvirt

from berth_agent.hypervisor.domains import owner_of
from berth_agent.hypervisor.states import BlockStatistics, DomainOwner, DomainStatistics, NetStatistics

_WHAT = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_BLOCK
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)
_HOW = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
_NANOSECONDS = 1_000_000_000
_KIB = 1024


def read_statistics(connection: Any, known: dict[str, DomainOwner]) -> tuple[DomainStatistics, ...]:
    """What every active domain of ours has used.

    Args:
        connection: libvirt's.
        known: Owners by their domain's UUID. Those that are found out are added: asking for each every time would take
            longer than all the rest.
    """
    found = connection.getAllDomainStats(_WHAT, _HOW)
    owned = ((_owner(domain, known), values) for domain, values in found)
    return tuple(statistics_from(owner, values) for owner, values in owned if owner is not None)


def _owner(domain: Any, known: dict[str, DomainOwner]) -> DomainOwner | None:
    uuid = domain.UUIDString()
    if uuid not in known:
        owner = owner_of(domain)
        if owner is None:
            return None
        known[uuid] = DomainOwner(owner.namespace, owner.name, owner.uid)
    return known[uuid]


def statistics_from(owner: DomainOwner, values: Mapping[str, Any]) -> DomainStatistics:
    """From libvirt's typed parameters (virConnectGetAllDomainStats)."""
    return DomainStatistics(
        owner=owner,
        cpu_seconds=values.get("cpu.time", 0) / _NANOSECONDS,
        memory_rss=_bytes(values, "balloon.rss"),
        memory_current=_bytes(values, "balloon.current"),
        memory_available=_bytes(values, "balloon.usable"),
        blocks=tuple(_block(values, f"block.{index}") for index in range(values.get("block.count", 0))),
        nets=tuple(_net(values, f"net.{index}") for index in range(values.get("net.count", 0))),
    )


def _bytes(values: Mapping[str, Any], name: str) -> int | None:
    return values[name] * _KIB if name in values else None


def _block(values: Mapping[str, Any], prefix: str) -> BlockStatistics:
    return BlockStatistics(
        target=values.get(f"{prefix}.name", ""),
        read_bytes=values.get(f"{prefix}.rd.bytes", 0),
        read_requests=values.get(f"{prefix}.rd.reqs", 0),
        write_bytes=values.get(f"{prefix}.wr.bytes", 0),
        write_requests=values.get(f"{prefix}.wr.reqs", 0),
    )


def _net(values: Mapping[str, Any], prefix: str) -> NetStatistics:
    return NetStatistics(
        device=values.get(f"{prefix}.name", ""),
        rx_bytes=values.get(f"{prefix}.rx.bytes", 0),
        rx_packets=values.get(f"{prefix}.rx.pkts", 0),
        rx_drops=values.get(f"{prefix}.rx.drop", 0),
        tx_bytes=values.get(f"{prefix}.tx.bytes", 0),
        tx_packets=values.get(f"{prefix}.tx.pkts", 0),
        tx_drops=values.get(f"{prefix}.tx.drop", 0),
    )
