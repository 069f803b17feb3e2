"""(a) A cluster that is half full, and the VMs that come and go in it. All of it follows from a seed.

VMs of one sort come in groups of ten, as replicas of one application do; the oldest of a sort goes when one of the same
sort comes, so groups that nobody has seen yet keep coming, and the mix stays.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from random import Random
from typing import Any

from berth_api.allocatable import Amounts
from berth_api.hardware import CPU, Memory
from berth_api.virtualmachines import VirtualMachine
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.nodes import NodeFacts, Taint
from berth_operator.scheduling.requests import Request, request_of
from berth_operator.scheduling.snapshot import Snapshot

NAMESPACE = "bench"
GROUP_SIZE = 10
ZONES = 10
NODE_CORES = 32
SHARES = {"plain": 60, "node": 15, "apart": 15, "near": 5, "spread": 5}
"""Percent of the VMs: no wishes; node affinity, selector and tolerations; required anti-affinity by host name; required
affinity by zone; DoNotSchedule spread over zones."""
_SIZES = ((2, 4), (4, 8), (4, 16), (8, 16))
"""Cores and GiB. On average they take a seventh of a node."""
_HOSTNAME, _ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
_TAINT = Taint("dedicated", "database")
_CANDIDATES = 4
_GIB = 2**30


def node_facts(number: int) -> NodeFacts:
    """A node; half of them have SSDs, a tenth is for those who tolerate it."""
    name = f"node-{number:05d}"
    return NodeFacts(
        name=name,
        allocatable=Amounts(NODE_CORES * 1000, 4 * NODE_CORES * _GIB, {"default": 4096 * _GIB}),
        accelerator="kvm",
        labels={
            _HOSTNAME: name,
            _ZONE: f"zone-{number % ZONES}",
            "disktype": "ssd" if number // ZONES % 2 else "hdd",
            "generation": str(number // ZONES % 7),
        },
        taints=(_TAINT,) if number // ZONES % 10 == 0 else (),
        cpu_models=frozenset({"Nehalem-IBRS", "Westmere-IBRS", "Haswell-noTSX-IBRS", "Skylake-Server-IBRS"}),
        machine_types=frozenset({"pc", "q35"}),
        firmware=frozenset({"EFI"}),
    )


@lru_cache(maxsize=4096)
def virtual_machine(sort: str, group: int) -> VirtualMachine:
    """One of the VMs of a group; they differ in name and UID alone."""
    app = f"{sort}-{group}"
    cores, gib = _SIZES[group % len(_SIZES)]
    spec: dict[str, Any] = {
        "cpu": {"cores": cores},
        "memory": {"size": f"{gib}Gi"},
        "disks": [{"name": "root", "size": "20Gi"}],
        "networks": [{"name": "lan", "networkName": "lan"}],
        **_wishes(sort, app, group),
    }
    metadata = {"name": app, "namespace": NAMESPACE, "labels": {"app": app, "tier": f"tier-{group % 3}"}}
    body = {"apiVersion": "berth.dev/v1alpha1", "kind": "VirtualMachine", "metadata": metadata, "spec": spec}
    return VirtualMachine.from_api(body)


def _wishes(sort: str, app: str, group: int) -> dict[str, Any]:
    selector = {"matchLabels": {"app": app}}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    match sort:
        case "node":
            generations = [str(one) for one in range(7) if one != group % 7]
            expression = {"key": "generation", "operator": "In", "values": generations}
            return {
                "nodeSelector": {"disktype": "ssd" if group % 2 else "hdd"},
                "affinity": {"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}},
                "tolerations": [{"key": _TAINT.key, "operator": "Exists"}],
            }
        case "apart":
            return {"affinity": {"vmAntiAffinity": {required: [{"labelSelector": selector, "topologyKey": _HOSTNAME}]}}}
        case "near":
            return {"affinity": {"vmAffinity": {required: [{"labelSelector": selector, "topologyKey": _ZONE}]}}}
        case "spread":
            rule = {"maxSkew": 1, "topologyKey": _ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
            return {"topologySpreadConstraints": [rule]}
    return {}


def request(sort: str, group: int) -> Request:
    """What a VM of the group asks for; a new object each time, as in the operator."""
    vm = virtual_machine(sort, group)
    cpu, memory = vm.spec.cpu, vm.spec.memory
    return request_of(vm, cpu or CPU(cores=1), memory or Memory(size="1Gi"))


def holding(asked: Request, number: int, node: str, memory: int) -> Holding:
    """What a placed VM holds."""
    return Holding(
        uid=f"uid-{number}",
        owner=f"{NAMESPACE}/vm-{number}",
        claim_id=f"claim-{number}",
        node=node,
        cpu=asked.cpu,
        memory=memory,
        pools=dict(asked.pools),
        member=asked.member,
    )


@dataclass
class Workload:
    """A snapshot, half of it held, and who comes next.

    Attributes:
        snapshot: The nodes and what is held on them.
        held: By sort, what its VMs hold, oldest first.
    """

    snapshot: Snapshot
    held: dict[str, deque[Holding]]
    _random: Random
    _numbers: Iterator[int] = field(default_factory=count)
    _born: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))

    @classmethod
    def of(cls, nodes: int, seed: int = 1) -> "Workload":
        """A cluster of so many nodes, its CPU half claimed, every rule kept."""
        snapshot = Snapshot()
        for number in range(nodes):
            facts = node_facts(number)
            snapshot.upsert(facts)
            snapshot.set_ready(facts.name, ready=True)
        one = cls(snapshot, {sort: deque() for sort in SHARES}, Random(seed))  # noqa: S311 - a benchmark
        one._fill(nodes)
        return one

    def arrivals(self) -> Iterator[tuple[int, str, Request]]:
        """Number, sort and wishes of the VMs that come, for ever."""
        sorts, weights = [*SHARES], [*SHARES.values()]
        while True:
            sort = self._random.choices(sorts, weights)[0]
            group = self._born[sort] // GROUP_SIZE
            self._born[sort] += 1
            yield next(self._numbers), sort, request(sort, group)

    def _fill(self, nodes: int) -> None:
        """Not by `place`, which would take minutes: each VM goes to the emptiest of a few nodes that it may go to."""
        wanted = nodes * NODE_CORES * 1000 // 2
        arrivals, taken = self.arrivals(), 0
        free = [NODE_CORES * 1000] * nodes
        used: set[int] = set()
        places = dict.fromkeys(SHARES, 0)
        while taken < wanted:
            number, sort, asked = next(arrivals)
            if sort == "apart" and places[sort] % GROUP_SIZE == 0:
                used.clear()
            zone = self._zone(sort, places[sort])
            row = max(self._candidates(nodes, zone, used if sort == "apart" else set()), key=free.__getitem__)
            places[sort] += 1
            if sort == "apart":
                used.add(row)
            free[row] -= asked.cpu
            taken += asked.cpu
            held = holding(asked, number, f"node-{row:05d}", asked.memory_kvm)
            self.snapshot.take(held)
            self.held[sort].append(held)

    def _zone(self, sort: str, place: int) -> int | None:
        """Groups that are near stay in one zone; those that spread take one zone after the other."""
        if sort == "near":
            return place // GROUP_SIZE % ZONES
        return place % ZONES if sort == "spread" else None

    def _candidates(self, nodes: int, zone: int | None, used: set[int]) -> Iterator[int]:
        found = 0
        while found < _CANDIDATES:
            row = self._random.randrange(nodes)
            if zone is not None:
                row = row // ZONES * ZONES + zone
            if row < nodes and row not in used:
                found += 1
                yield row
