"""What guests use, read from libvirt when Prometheus asks, and for a few seconds after.

libvirt may be away or hang, and a scrape must not: it waits a little for an answer, and else is served without. One
question is under way at a time, however often Prometheus asks, so a hung libvirtd is not sent more of what it does not
answer; one that failed is not asked again at once.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from berth_agent.hypervisor.errors import HypervisorError
from berth_agent.hypervisor.states import BlockStatistics, DomainStatistics, NetStatistics

log = structlog.get_logger()

FRESH = 5.0
"""Seconds for which an answer is served again."""
PATIENCE = 3.0
"""Seconds that a scrape waits for libvirt; Prometheus itself gives up after 10."""
PAUSE_AFTER_FAILURE = 30.0
_DISKS: tuple[tuple[str, str, Callable[[BlockStatistics], int]], ...] = (
    ("read_bytes", "Bytes read from a disk of the guest", lambda disk: disk.read_bytes),
    ("read_requests", "Reads from a disk of the guest", lambda disk: disk.read_requests),
    ("written_bytes", "Bytes written to a disk of the guest", lambda disk: disk.write_bytes),
    ("write_requests", "Writes to a disk of the guest", lambda disk: disk.write_requests),
)
_NICS: tuple[tuple[str, str, Callable[[NetStatistics], int]], ...] = (
    ("receive_bytes", "Bytes that the guest received", lambda nic: nic.rx_bytes),
    ("receive_packets", "Packets that the guest received", lambda nic: nic.rx_packets),
    ("receive_drops", "Packets to the guest that were dropped", lambda nic: nic.rx_drops),
    ("transmit_bytes", "Bytes that the guest sent", lambda nic: nic.tx_bytes),
    ("transmit_packets", "Packets that the guest sent", lambda nic: nic.tx_packets),
    ("transmit_drops", "Packets from the guest that were dropped", lambda nic: nic.tx_drops),
)
_MEMORY: tuple[tuple[str, str, Callable[[DomainStatistics], int | None]], ...] = (
    ("rss_bytes", "Memory of the node that the guest's QEMU process holds", lambda used: used.memory_rss),
    ("current_bytes", "Memory that the balloon leaves to the guest", lambda used: used.memory_current),
    ("available_bytes", "Memory that the guest could use without swapping", lambda used: used.memory_available),
)
_OWNER = ["namespace", "name"]


class Statistics(Protocol):
    """Who can tell what guests use."""

    async def statistics(self) -> tuple[DomainStatistics, ...]:
        """What every active domain of ours has used."""


class GuestFigures(Collector):
    """What guests use. `refresh` before each scrape; `clock` gives monotonic seconds, `patience` is in seconds."""

    def __init__(self, clock: Callable[[], float], *, patience: float = PATIENCE) -> None:
        self._clock, self._patience = clock, patience
        self._hypervisor: Statistics | None = None
        self._used: tuple[DomainStatistics, ...] = ()
        self._is_up = False
        self._ask_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    def follow(self, hypervisor: Statistics) -> None:
        """Ask here from now on; before, there is nobody to ask."""
        self._hypervisor = hypervisor

    async def refresh(self) -> None:
        """Ask libvirt, unless the last answer is fresh, and wait a little. Never fails."""
        if self._hypervisor is not None and self._asking is None and self._clock() >= self._ask_at:
            self._asking = asyncio.create_task(self._ask(self._hypervisor), name="guest figures")
        if self._asking is not None:
            done, _ = await asyncio.wait({self._asking}, timeout=self._patience)
            if not done:
                self._forget("no answer yet")

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask(self, hypervisor: Statistics) -> None:
        try:
            self._used = await hypervisor.statistics()
            self._is_up, self._ask_at = True, self._clock() + FRESH
        except HypervisorError as error:
            self._forget(str(error))
            self._ask_at = self._clock() + PAUSE_AFTER_FAILURE
        except Exception:
            log.exception("a bug: what guests use cannot be read")
            self._forget("a bug")
            self._ask_at = self._clock() + PAUSE_AFTER_FAILURE
        finally:
            self._asking = None

    def _forget(self, why: str) -> None:
        if self._is_up:
            log.warning("libvirt does not tell what guests use", error=why)
        self._used, self._is_up = (), False

    def describe(self) -> Iterable[Metric]:
        """Nothing: being registered asks nobody."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What was told last, if it was told lately."""
        used = self._used
        yield GaugeMetricFamily(
            "berth_agent_libvirt_up", "1 if libvirt answered what guests use, else 0", value=float(self._is_up)
        )
        cpu = CounterMetricFamily("berth_vm_cpu_seconds", "CPU time of the guest's QEMU process", labels=_OWNER)
        for each in used:
            cpu.add_metric(_labels(each), each.cpu_seconds)
        yield cpu
        yield from _memory(used)
        yield from _disks(used)
        yield from _nics(used)


def _memory(used: Iterable[DomainStatistics]) -> Iterator[Metric]:
    for name, text, read in _MEMORY:
        memory = GaugeMetricFamily(f"berth_vm_memory_{name}", text, labels=_OWNER)
        for each in used:
            amount = read(each)
            if amount is not None:
                memory.add_metric(_labels(each), amount)
        yield memory


def _disks(used: Iterable[DomainStatistics]) -> Iterator[Metric]:
    for name, text, read in _DISKS:
        disks = CounterMetricFamily(f"berth_vm_disk_{name}", text, labels=[*_OWNER, "target"])
        for each in used:
            for disk in each.blocks:
                disks.add_metric([*_labels(each), disk.target], read(disk))
        yield disks


def _nics(used: Iterable[DomainStatistics]) -> Iterator[Metric]:
    for name, text, read in _NICS:
        nics = CounterMetricFamily(f"berth_vm_network_{name}", text, labels=[*_OWNER, "device"])
        for each in used:
            for nic in each.nets:
                nics.add_metric([*_labels(each), nic.device], read(nic))
        yield nics


def _labels(used: DomainStatistics) -> list[str]:
    return [used.owner.namespace, used.owner.name]
