"""A decision taken apart: what each filter and each score says about each node, and what follows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from berth_operator.scheduling.place import Examination, Placement, Rejection, examine, place
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.profiles import Profile
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot

UNSCHEDULABLE = "Unschedulable"


@dataclass(frozen=True)
class Refusal:
    """Why a filter turns a node down."""

    reason: str
    """In general: `lacks memory`."""
    detail: str = ""
    """In particular: `short of 1.5Gi`."""


@dataclass(frozen=True)
class NodeAccount:
    """What filters and scores say about a node."""

    name: str
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By the filters that turn it down; the others let it pass."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """By score, 0 to 1. Empty where the node is turned down: it is not rated."""
    total: float | None = None
    """Sum of rates times weights."""

    @property
    def feasible(self) -> bool:
        """Whether every filter lets it pass."""
        return not self.refusals


@dataclass(frozen=True)
class Explanation:
    """A decision about a VM, node by node."""

    namespace: str
    name: str
    profile: str
    message: str
    """The decision in a sentence: where there is no node, what the VM's condition Scheduled says."""
    reason: str = ""
    """Why there is no node, in a word, as the condition gives it; empty where there is one."""
    chosen: str | None = None
    nodes: tuple[NodeAccount, ...] = ()
    """The chosen one, the other feasible ones from the best on, then the rest, those that fail the least first."""
    filters: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    """By score."""
    bound_to: str | None = None
    notes: tuple[str, ...] = ()
    """What is to be known about it, above all what it leaves out."""


@dataclass(frozen=True)
class Judgement:
    """What is decided about a request, and the account of every node."""

    decision: Placement | Rejection
    nodes: tuple[NodeAccount, ...]

    @property
    def message(self) -> str:
        """The decision in a sentence."""
        if isinstance(self.decision, Rejection):
            return self.decision.message
        feasible = sum(node.feasible for node in self.nodes)
        return f"{feasible}/{len(self.nodes)} nodes would take it: {self.decision.node} has the highest score" + (
            ", and is the first of them by name" if self._tied else ""
        )

    @property
    def _tied(self) -> bool:
        return sum(node.total == self.nodes[0].total for node in self.nodes if node.feasible) > 1


def judge(snapshot: Snapshot, request: Request, profile: Profile) -> Judgement:
    """Decide as the scheduler does, and account for every node."""
    decision = place(snapshot, request, profile)
    found = examine(snapshot, request, profile)
    accounts = [_account(snapshot, request, profile, found, int(row)) for row in np.flatnonzero(snapshot.live)]
    return Judgement(decision, tuple(sorted(accounts, key=_rank)))


def _rank(account: NodeAccount) -> tuple[int, float, str]:
    return len(account.refusals), -(account.total or 0.0), account.name


def _account(snapshot: Snapshot, request: Request, profile: Profile, found: Examination, row: int) -> NodeAccount:
    name = snapshot.name(row)
    if not found.feasible[row]:
        turned_down = (each for each in profile.filters if not found.masks[each.name][row])
        return NodeAccount(name, {each.name: _refusal(snapshot, request, each, row) for each in turned_down})
    rates = {score.name: float(found.rates[score.name][row]) for _, score in profile.scores}
    return NodeAccount(name, rates=rates, total=float(found.total[row]))


def _refusal(snapshot: Snapshot, request: Request, turning_down: Filter, row: int) -> Refusal:
    """What a filter says where this were the only node that it turned down; that it is the closest goes unsaid."""
    only = np.zeros(snapshot.rows, dtype=np.bool_)
    only[row] = True
    detail = turning_down.detail(snapshot, request, only)
    return Refusal(turning_down.one, detail.replace(f"closest: {snapshot.name(row)}, ", ""))
