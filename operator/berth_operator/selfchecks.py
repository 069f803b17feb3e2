"""Whether an installation works, as seen from inside the cluster: what `helm test` asks.

Right after an installation the answer is "not yet": an operator has to be elected and agents have to report first. So
it is asked again until all is well or the time is over, and what is still missing is said then.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from berth_api import kinds
from berth_api.client import Api, ApiError, NotFound
from berth_operator.settings import Settings

_PAUSE = 1.0


@dataclass(frozen=True)
class Finding:
    """What there is.

    Attributes:
        leader: Who leads.
        ready: Names of the nodes that can run VMs.
        problems: What is missing, in words for people; empty where all is well.
    """

    leader: str
    ready: Sequence[str]
    problems: Sequence[str]


async def check(api: Api, settings: Settings, now: dt.datetime) -> Finding:
    """Look once.

    Args:
        api: Whoever may get the operator's Lease and list Hypervisors and Leases: the operator's account.
        settings: Where Leases are, and after how long they are stale.
        now: With a time zone.

    Raises:
        ApiError: something cannot be read.
    """
    problems = []
    leader = await _leader(api, settings, now)
    if not leader:
        problems.append(f"no operator leads: the Lease {settings.namespace}/{settings.lease_name} is not held")
    hypervisors = (await api.list(kinds.HYPERVISOR)).items
    leases = {each["metadata"]["name"]: each for each in (await api.list(kinds.LEASE, settings.namespace)).items}
    patience = dt.timedelta(seconds=settings.heartbeat_timeout)
    ready = [
        name
        for name in (each["metadata"]["name"] for each in hypervisors if _is_ready(each))
        if _is_fresh(leases.get(name), now, patience)
    ]
    if not hypervisors:
        problems.append("there is no Hypervisor: no agent has come up (kubectl get pods, component agent)")
    elif not ready:
        problems.append(f"none of {len(hypervisors)} Hypervisors is Ready (kubectl describe hypervisors)")
    return Finding(leader, ready, problems)


async def check_until_well(
    api: Api,
    settings: Settings,
    *,
    timeout: float,  # noqa: ASYNC109 - the last finding is the answer, not an error
    now: Callable[[], dt.datetime],
) -> Finding:
    """Look until all is well, or `timeout` seconds have passed; the last finding.

    Raises:
        ApiError: something cannot be read, and cannot be later either, or not within the time.
    """
    end = asyncio.get_running_loop().time() + timeout
    while True:
        try:
            finding = await check(api, settings, now())
        except ApiError as error:
            if not error.retryable or asyncio.get_running_loop().time() >= end:
                raise
        else:
            if not finding.problems or asyncio.get_running_loop().time() >= end:
                return finding
        await asyncio.sleep(_PAUSE)


async def _leader(api: Api, settings: Settings, now: dt.datetime) -> str:
    try:
        lease = await api.get(kinds.LEASE, settings.lease_name, settings.namespace)
    except NotFound:
        return ""
    patience = dt.timedelta(seconds=settings.lease_duration)
    return str(lease.get("spec", {}).get("holderIdentity") or "") if _is_fresh(lease, now, patience) else ""


def _is_ready(hypervisor: Mapping[str, Any]) -> bool:
    conditions = hypervisor.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _is_fresh(lease: Mapping[str, Any] | None, now: dt.datetime, patience: dt.timedelta) -> bool:
    renewed = (lease or {}).get("spec", {}).get("renewTime")
    return renewed is not None and now - dt.datetime.fromisoformat(renewed) < patience
