"""What is here of other clusters, told on the node's Hypervisor apart from all else.

All else must be told even where the cluster does not take this: it may forbid it, its definitions may not know the
field yet and drop it without a word, and it may find it too large or not to its liking. So what counts as told is what
the Hypervisor shows, and what it does not show is owed: told again after a pause, and at once where something of it is
new, or the Hypervisor has lost what it had.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog

from berth_agent.hypervisor.states import DomainOwner
from berth_agent.node.facts import Remains
from berth_agent.reconcile.handovers import pools_of, used_by
from berth_agent.reconcile.rounds import Tools
from berth_agent.storage.disk_names import is_uid
from berth_api.backoffs import doubled
from berth_api.client import Forbidden, Invalid, Unavailable
from berth_api.hypervisors import Hypervisor, HypervisorRemains
from berth_api.kinds import HYPERVISOR

log = structlog.get_logger()

_Told = tuple[HypervisorRemains, ...]
_MOST_REMAINS = 500
_LONGEST_NAMESPACE = 63
_LONGEST_NAME = 253
_MOST_POOLS = 24
_MOST_INTERFACES = 8
"""What the API takes: see `HypervisorRemains`."""
_MOST_BYTES = 2**19
"""Of JSON, of guests with all that is known of them: an object has to stay well below etcd's 1.5 MiB."""
_TOO_LARGE = ("too large", "larger than max")
"""What etcd and gRPC say of an object that does not fit; the API server answers 500, as if it could be tried again."""
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 900.0
"""Seconds until what was not taken is told again: somebody has to upgrade a CRD or a policy first."""


@dataclass(frozen=True)
class _Debt:
    """What the Hypervisor does not show: of which object, whether that showed anything, and when to tell again."""

    uid: str
    was_told: bool
    remains: _Told
    failures: int
    due: float


class RemainsReporter:
    """Writes `status.remains` of the node's Hypervisor.

    Args:
        tools: What there is to work with.
        clock: Seconds, from any start.
    """

    def __init__(self, tools: Tools, *, clock: Callable[[], float] = monotonic) -> None:
        self._tools, self._clock = tools, clock
        self._debt: _Debt | None = None

    async def tell(self) -> float | None:
        """Tell what is new of it. Of what is refused, that part is told which was told before.

        That there are none is told as well, as the first report says what may be told at all (`agent-hypervisors.yaml`
        of the policies).

        Returns:
            Seconds after which it is to be told again; None: the Hypervisor shows all of it.

        Raises:
            ApiError: the API server gave no answer.
        """
        known = self._tools.view.hypervisor(self._tools.node_name)
        if known is None or not self._tools.facts.knows_remains:
            return None
        remains, debt = self._remains(), self._debt
        if _shows(known, remains):
            self._debt = None
            return None
        is_same = debt is not None and (debt.uid, debt.was_told, debt.remains) == (*_state(known), remains)
        if debt is not None and is_same and debt.due > self._clock():
            return debt.due - self._clock()
        await self._put(known, remains)
        return self._owe(known, remains, debt.failures if debt is not None and is_same else 0)

    def _owe(self, known: Hypervisor, remains: _Told, failures: int) -> float | None:
        shown = self._tools.view.hypervisor(self._tools.node_name) or known
        self._debt = None
        if _shows(shown, remains):
            return None
        pause = doubled(FIRST_PAUSE, failures, LONGEST_PAUSE)
        self._debt = _Debt(*_state(shown), remains, failures + 1, self._clock() + pause)
        log.warning("the Hypervisor does not show all guests of another cluster", guests=len(remains), again_in=pause)
        return pause

    async def _put(self, known: Hypervisor, remains: _Told) -> None:
        uids = {guest.uid for guest in known.status.remains}
        if not await self._put_some(known, remains) and _state(known)[1]:
            await self._put_some(known, tuple(guest for guest in remains if guest.uid in uids))

    async def _put_some(self, known: Hypervisor, remains: _Told) -> bool:
        """With all that is known of them, or as much of that as the API server takes."""
        for told in _ever_less(remains):
            try:
                written = await self._tools.api.patch_json(
                    HYPERVISOR, self._tools.node_name, "", _replacing(known, told), subresource="status"
                )
            except Forbidden as error:
                log.warning("guests of another cluster may not be reported", error=str(error), guests=len(remains))
                return False
            except (Invalid, Unavailable) as error:
                if isinstance(error, Unavailable) and not any(words in error.message for words in _TOO_LARGE):
                    raise
                log.warning("guests of another cluster are not taken so", error=str(error), guests=len(remains))
            else:
                self._tools.view.put(HYPERVISOR, written)
                return True
        return False

    def _remains(self) -> _Told:
        """Other clusters' guests, with what they use: they are left alone, and no VM gets their room."""
        accelerator = self._tools.facts.capabilities.accelerator
        nameable = (remains for remains in self._tools.facts.remains if _is_nameable(remains.owner))
        told, left = [], _MOST_BYTES
        for remains in sorted(nameable, key=lambda each: each.domain is None)[:_MOST_REMAINS]:
            guest = _guest(remains, accelerator)
            left -= len(guest.model_dump_json(by_alias=True))
            told.append(guest if left >= 0 else guest.model_copy(update={"interfaces": ()}))
        return tuple(sorted(told, key=lambda guest: guest.uid))


def _state(known: Hypervisor) -> tuple[str, bool]:
    """Which object it is, and whether it shows anything."""
    return known.metadata.uid, "remains" in known.status.model_fields_set


def _shows(known: Hypervisor, remains: _Told) -> bool:
    return _state(known)[1] and known.status.remains == remains


def _ever_less(remains: _Told) -> Iterator[_Told]:
    """That a guest is here matters more than its NICs, or what its disks take."""
    before: _Told | None = None
    for left_out in ({}, {"interfaces": ()}, {"interfaces": (), "pools": ()}):
        told = tuple(guest.model_copy(update=left_out) for guest in remains)
        if told != before:
            yield told
        before = told


def _replacing(known: Hypervisor, remains: _Told) -> list[dict[str, Any]]:
    """Replace the whole list: an apply of an empty one takes the field away, and it would be told of anew."""
    told = [guest.to_api() for guest in remains]
    is_first = "status" not in known.model_fields_set
    return [
        {"op": "test", "path": "/metadata/uid", "value": known.metadata.uid},
        {"op": "add", "path": "/status", "value": {"remains": told}}
        if is_first
        else {"op": "add", "path": "/status/remains", "value": told},
    ]


def _guest(remains: Remains, accelerator: str) -> HypervisorRemains:
    used = used_by(remains, accelerator)
    return HypervisorRemains(
        **remains.owner._asdict(),
        cpu=used.cpu,
        memory=used.memory,
        pools=pools_of(remains)[:_MOST_POOLS],
        interfaces=remains.interfaces[:_MOST_INTERFACES],
    )


def _is_nameable(owner: DomainOwner) -> bool:
    """Whether the API server takes it: a record that somebody wrote by hand must not hold up the others."""
    return is_uid(owner.uid) and len(owner.namespace) <= _LONGEST_NAMESPACE and len(owner.name) <= _LONGEST_NAME
