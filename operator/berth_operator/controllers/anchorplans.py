"""What to do about one node's anchor Pod, decided from what it is and what the node's claims ask for. Pure.

Three rules keep VMs and Pods from being promised the same room, beside those of the kubelet, which allocates one Pod
after another:

- A resize never makes the anchor smaller than the claims that count at that moment.
- What the kubelet shows must be told from what it showed before. Most say which generation of the Pod their status is
  about, and agents go by it. With one that does not, an anchor is made smaller only once its last size was allocated,
  and nothing is added before the kubelet shows that it has taken the smaller one in; one that stays denied is remade.
- A new anchor begins with what surely fits, and is resized once its kubelet has taken it in: a kubelet turns down a new
  Pod as a whole, and then nothing would stand for the VMs that run, but of one that is there it only denies the growth,
  and kube-scheduler counts what is denied like what is allocated.

Where Pods cannot be resized a new one asks for all claims, or for what admitted VMs hold, for as long as the kubelet is
known to turn more down (`anchordenials`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from berth_api.anchors import CONTAINER, LEAST, NOTHING, Size
from berth_api.quantities import to_bytes, to_millis
from berth_operator.controllers.anchorpods import TEMPLATE

_ENDED = ("Succeeded", "Failed")
_TURNED_DOWN = ("OutOf", "UnexpectedAdmissionError")
"""How the reasons begin for which kubelets take no Pod that does not fit (pkg/kubelet/lifecycle/predicate.go)."""
_MIB = 1024**2
_SHORTEST = 0.01
"""Seconds: a rest that rounding has made next to nothing would be followed by the same."""
RESIZE_PENDING = "PodResizePending"
"""The condition by which a kubelet says that it has not allocated what a Pod asks for (KEP-1287)."""


@dataclass(frozen=True)
class Anchor:
    """An anchor Pod, as far as the operator looks at it."""

    name: str
    uid: str
    version: str
    node: str
    owner: str
    """UID of the Hypervisor that it belongs to."""
    requests: Size
    allocated: Size | None = None
    """What the kubelet says it has allocated; None: it has not said so. One that knows no resizes says nothing: a Pod
    that it runs has what it has requested from its beginning."""
    phase: str = ""
    reason: str = ""
    limits: Size = NOTHING
    """What it was given by others than us, a LimitRange for example; 0: none of that resource."""
    pending: str = ""
    """Why the kubelet does not allocate what is requested: Deferred, Infeasible; empty: it has not said so."""
    deleting: bool = False
    tracked: bool = False
    """Whether the kubelet says which generation its status is about (KEP-5067)."""
    acknowledged: bool = True
    """Whether the kubelet has taken the Pod in: from then on it denies what is too large, and turns down no more."""
    template: str = ""
    """What it was made from, apart from its size (`anchorpods.template_of`)."""

    @classmethod
    def from_api(cls, body: Mapping[str, Any]) -> "Anchor":
        """Read a Pod that the API server sent."""
        metadata, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
        has = _named(status.get("containerStatuses") or ())
        requests = _named(spec.get("containers") or ()).get("resources", {}).get("requests") or {}
        allocated = has.get("allocatedResources") or has.get("resources", {}).get("requests")
        conditions = status.get("conditions") or ()
        pending = next((c.get("reason", "") for c in conditions if c["type"] == RESIZE_PENDING), "")
        if not (allocated or pending) and status.get("phase") == "Running" and metadata.get("generation", 0) <= 1:
            allocated = requests
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
            node=spec.get("nodeName", ""),
            owner=next((each["uid"] for each in metadata.get("ownerReferences") or ()), ""),
            requests=_size(requests),
            limits=_size(_named(spec.get("containers") or ()).get("resources", {}).get("limits") or {}),
            allocated=_size(allocated) if allocated else None,
            phase=status.get("phase", ""),
            reason=status.get("reason", ""),
            pending=pending,
            deleting="deletionTimestamp" in metadata,
            tracked=bool(status.get("observedGeneration")),
            acknowledged=bool(status.get("startTime") or status.get("containerStatuses")),
            template=(metadata.get("annotations") or {}).get(TEMPLATE, ""),
        )

    @property
    def ended(self) -> bool:
        """Whether the kubelet has turned it down, or ended it: it holds nothing any longer."""
        return self.phase in _ENDED

    @property
    def turned_down(self) -> bool:
        """Whether the kubelet has not taken it, for what it asks for."""
        return self.phase == "Failed" and self.reason.startswith(_TURNED_DOWN)

    @property
    def started(self) -> bool:
        """Whether its container has ever run."""
        return self.phase not in ("", "Pending")

    def stands_for(self, claimed: Size) -> bool:
        """Whether the kubelet has allocated it what claims take."""
        return self.settled and not self.ended and self.requests.covers(claimed)

    @property
    def settled(self) -> bool:
        """Whether the kubelet has allocated just what is requested."""
        return self.allocated == self.requests

    @property
    def shrinking(self) -> bool:
        """Whether the kubelet shows more than is requested: it has not taken in yet that it is to be less.

        Of one that tells generations that is nobody's concern.
        """
        return not self.tracked and self.allocated is not None and not self.requests.covers(self.allocated)


def _named(containers: Any) -> Mapping[str, Any]:
    return next((each for each in containers if each.get("name") == CONTAINER), {})


def _size(resources: Mapping[str, Any]) -> Size:
    return Size(to_millis(resources.get("cpu", "0")), to_bytes(resources.get("memory", "0")))


@dataclass(frozen=True)
class Wanted:
    """What a node's anchor should be."""

    owner: str
    """UID of the Hypervisor."""
    template: str
    """What it should be made from."""
    first: Size
    """How large a new one begins: what admitted VMs hold, as far as it surely fits."""
    claimed: Size
    """For all claims."""
    needed: bool = True
    """Whether it is to be made where there is none."""
    fits: bool = True
    """Whether there is room for all claims beside the Pods that the agent has reported."""


@dataclass(frozen=True)
class Times:
    """Seconds."""

    answer: float = 0.5
    """For which the kubelet is given time to answer one resize before the next: what comes meanwhile goes together."""
    shrink: float = 2.0
    """For which claims have to be at rest before the anchor is made smaller: much of what goes comes again."""
    recreate: float = 60.0
    """The same where making it smaller means to make it anew."""


@dataclass(frozen=True)
class Pace:
    """How long ago something was, in seconds."""

    resized: float
    """The last resize."""
    changed: float
    """The last change of the node's claims."""


@dataclass(frozen=True)
class Create:
    """Make the Pod."""

    size: Size


@dataclass(frozen=True)
class Resize:
    """Give the Pod other requests."""

    size: Size


@dataclass(frozen=True)
class Delete:
    """Take the Pod away; the next one is made once it is gone."""

    why: str
    failed: bool = False
    """The kubelet did not keep it: the next one is not made at once."""


@dataclass(frozen=True)
class Rest:
    """Do nothing, and look again after so many seconds; None: when something changes."""

    seconds: float | None = None


Action = Create | Resize | Delete | Rest


def decide(
    anchor: Anchor | None,
    wanted: Wanted | None,
    pace: Pace,
    times: Times,
    *,
    resizable: bool,
    denied: float | None = None,
) -> Action:
    """The next thing to do about a node's anchor.

    Args:
        anchor: The Pod as it is; None: there is none.
        wanted: What it should be; None: there is no Hypervisor, or no Node, and the garbage collector sees to it.
        pace: When what happened last.
        times: How long to wait for what.
        resizable: Whether the server can resize a Pod in place.
        denied: If not, seconds for which its kubelet is to be asked no more for all claims; None: it may be asked.
    """
    if wanted is None or (anchor is not None and anchor.deleting):
        return Rest()
    if anchor is None:
        size = wanted.claimed if denied is None and not resizable else wanted.first
        return Create(size) if wanted.needed else Rest()
    if anchor.ended:
        return Delete(anchor.reason or anchor.phase, failed=True)
    if anchor.owner != wanted.owner:
        return Delete("it belongs to a Hypervisor that is gone")
    if anchor.template != wanted.template and _is_spare(anchor, wanted):
        return Delete("it was made by other settings")
    return _fit(anchor, wanted.claimed, pace, times, resizable=resizable, denied=denied)


def _is_spare(anchor: Anchor, wanted: Wanted) -> bool:
    """Whether nothing depends on it: nothing was allocated to it yet, or it stands for nothing."""
    if anchor.allocated is None and not anchor.started:
        return True
    return wanted.claimed == LEAST and is_just(anchor.requests, LEAST)


def _fit(anchor: Anchor, claimed: Size, pace: Pace, times: Times, *, resizable: bool, denied: float | None) -> Action:
    if not anchor.requests.covers(claimed):
        return _grow(anchor, claimed, pace, times) if resizable else _renew(denied)
    rest = times.shrink if resizable else times.recreate
    if is_just(anchor.requests, claimed):
        return Rest()
    if pace.changed < rest:
        return _rest(rest - pace.changed)
    return _shrink(anchor, claimed, pace, times) if resizable else Delete("it is to be smaller")


def _renew(denied: float | None) -> Action:
    return Delete("it is to be larger") if denied is None else _rest(denied)


def _shrink(anchor: Anchor, claimed: Size, pace: Pace, times: Times) -> Action:
    if anchor.tracked or anchor.settled:
        return Resize(claimed)
    if pace.changed < times.recreate:
        return _rest(times.recreate - pace.changed)
    return Delete("it is denied, and is to be smaller") if anchor.pending else Rest()


def _grow(anchor: Anchor, claimed: Size, pace: Pace, times: Times) -> Action:
    if anchor.shrinking or not anchor.acknowledged:
        return Rest()
    if not anchor.settled and pace.resized < times.answer:
        return _rest(times.answer - pace.resized)
    return Resize(anchor.requests | claimed)


def state_of(anchor: Anchor | None) -> str:
    """In a word, how it is with a node's anchor."""
    if anchor is None or anchor.ended or anchor.deleting:
        return "missing"
    if not anchor.started:
        return "unstarted"
    if anchor.settled:
        return "settled"
    return "denied" if anchor.pending else "waiting"


def _rest(seconds: float) -> Rest:
    return Rest(max(_SHORTEST, round(seconds, 3)))


def is_just(requests: Size, claimed: Size) -> bool:
    """Whether requests are right for claims; up to a MiB more memory counts as the same (see `nudged`)."""
    return requests.cpu == claimed.cpu and 0 <= requests.memory - claimed.memory < _MIB


def nudged(requests: Size, claimed: Size) -> Size:
    """Requests that differ from what they are and take nothing away, to give the Pod another resource version."""
    larger = requests | claimed
    return larger if larger != requests else Size(requests.cpu, requests.memory + 1)


def limits_for(limits: Size, requests: Size) -> Size:
    """Limits that leave room for requests, for an anchor that somebody else, as a LimitRange, has given some.

    They are never taken away or made smaller, which servers refuse, and stay above the requests: with both alike the
    Pod would be of another QoS class, which no resize may change.
    """
    return Size(
        max(limits.cpu, requests.cpu + 1) if limits.cpu else 0,
        max(limits.memory, requests.memory + 1) if limits.memory else 0,
    )
