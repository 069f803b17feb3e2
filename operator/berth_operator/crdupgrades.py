"""Bringing a cluster's CustomResourceDefinitions up to those of this very program.

Helm creates CRDs once and never changes them, so an upgrade of Berth runs this before anything else of it is replaced:
the former operator and agents still work meanwhile, and read what the new schema defaults to. Nothing is written before
all of it is known to fit: a definition that no longer has a version in which objects are stored would make them
unreadable. The server refuses that, too, but only one definition at a time, and some would be new by then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from berth_api.client import Api, ApiError, NotFound
from berth_api.kinds import Kind

CRD = Kind(
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    group="apiextensions.k8s.io",
    version="v1",
)
FIELD_MANAGER = "berth-crds"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

_T = TypeVar("_T")


class CrdsNotApplied(Exception):
    """The definitions are not what they were to become."""


class VersionStillStored(CrdsNotApplied):
    """Objects are, or may be, stored in a version that this program does not know. Nothing was written."""


async def apply_crds(
    api: Api,
    definitions: Sequence[Mapping[str, Any]],
    *,
    timeout: float,  # noqa: ASYNC109 - part of what it promises, over all of its calls
    say: Callable[[str], object],
) -> None:
    """Apply definitions server-side and wait until the server serves them.

    Args:
        api: Whoever may get, create and patch these definitions.
        definitions: CustomResourceDefinitions (apiextensions.k8s.io/v1), without a status.
        timeout: Seconds for all of it.
        say: Takes a line for each that was applied.

    Raises:
        VersionStillStored: one would take away a version in which objects are stored.
        CrdsNotApplied: not all are served in time.
        ApiError: the server refuses one.
    """
    waiting_for = "the API server"
    try:
        async with asyncio.timeout(timeout):
            await _refuse_downgrade(api, definitions)
            for definition in definitions:
                name = waiting_for = definition["metadata"]["name"]
                await _persist(partial(_apply, api, name, definition))
                say(f"applied {name}")
            for definition in definitions:
                waiting_for = definition["metadata"]["name"]
                await _until_served(api, waiting_for)
    except TimeoutError as error:
        raise CrdsNotApplied(f"not done within {timeout:g} s: still waiting for {waiting_for}") from error


async def _refuse_downgrade(api: Api, definitions: Iterable[Mapping[str, Any]]) -> None:
    problems = []
    for definition in definitions:
        name = definition["metadata"]["name"]
        known = {version["name"] for version in definition["spec"]["versions"]}
        lost = sorted(set(await _persist(partial(_stored_versions, api, name))) - known)
        if lost:
            stored, ours = ", ".join(lost), ", ".join(sorted(known))
            problems.append(f"{name} has objects stored as {stored}, and this version of Berth knows only {ours}")
    if problems:
        raise VersionStillStored(
            "; ".join(problems) + ": install a version of Berth that knows them, or migrate the objects first and take "
            "the version out of the definition's status.storedVersions"
        )


async def _stored_versions(api: Api, name: str) -> Sequence[str]:
    try:
        found = await api.get(CRD, name)
    except NotFound:
        return ()
    return found.get("status", {}).get("storedVersions") or ()


async def _apply(api: Api, name: str, definition: Mapping[str, Any]) -> None:
    await api.apply(CRD, name, "", dict(definition), field_manager=FIELD_MANAGER)


async def _until_served(api: Api, name: str) -> None:
    """Wait until objects of the kind can be written.

    Raises:
        CrdsNotApplied: another definition has its names.
    """
    pause = _FIRST_PAUSE
    while True:
        found = await _persist(partial(api.get, CRD, name))
        conditions = {each["type"]: each for each in found.get("status", {}).get("conditions") or ()}
        if conditions.get("Established", {}).get("status") == "True":
            return
        names = conditions.get("NamesAccepted", {})
        if names.get("status") == "False":
            raise CrdsNotApplied(f"{name}: the server does not accept its names: {names.get('message', '')}")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _persist(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Try again what may succeed later; all of these calls may be repeated. The caller's time-out ends it."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except ApiError as error:
            if not error.retryable:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
