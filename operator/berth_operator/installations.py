"""Where Berth is installed and by which rules its operator decides, for those who explain from elsewhere.

In the operator's own Pod the environment tells both. Everywhere else the API server is asked: for Deployments of the
chart's one name, so that the right to list them can be given for that name alone. Who may not ask, or runs the operator
as a process, gets the built-in rules and a note that says so: an explanation by other rules must not go unnoticed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from berth_api.client import Api, ApiError, Forbidden, NotFound
from berth_api.fields import OPERATOR, SYSTEM_NAMESPACE
from berth_api.kinds import Kind

DEPLOYMENT = Kind("Deployment", "deployments", namespaced=True, group="apps", version="v1")
CONFIG_MAP = Kind("ConfigMap", "configmaps", namespaced=True, group="", version="v1")
SCHEDULER = "berth-scheduler"
"""Name of the chart's ConfigMap with the operator's profiles; they are under `scheduler.yaml`."""
_SELECTOR = "app.kubernetes.io/name=berth,app.kubernetes.io/component=operator"
_KEY = "scheduler.yaml"
_PREFIX = "BERTH_OPERATOR_"
_RULES = frozenset({"anchor", "anchor_image", "heartbeat_timeout", "mac_prefix", "refusal_exclusion"})
"""Settings by which decisions differ, and the image without which anchors are not valid."""


class UnclearInstallation(Exception):
    """Which Berth is meant cannot be told. The message says what to give."""


@dataclass(frozen=True)
class Installation:
    """What is known of an installed operator."""

    namespace: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings that its Deployment gives it, as text, by their names in `Settings`."""
    profiles: bytes | None = None
    """Its file of profiles; None: the built-in ones, or those that a note is about."""
    notes: tuple[str, ...] = ()
    """What is not known, and what to do about it."""


async def find_installation(api: Api, namespace: str | None, *, profiles: bool) -> Installation:
    """Ask the API server for the operator's Deployment and for its profiles.

    Args:
        api: The API server.
        namespace: Where to look; None: everywhere.
        profiles: Whether to ask for its profiles, too.

    Raises:
        UnclearInstallation: there are several.
        ApiError: the API server failed. That one may not ask is no failure.
    """
    otherwise = namespace or SYSTEM_NAMESPACE
    try:
        listed = await api.list(
            DEPLOYMENT, namespace or "", field_selector=f"metadata.name={OPERATOR}", label_selector=_SELECTOR
        )
    except Forbidden as error:
        return Installation(otherwise, notes=(_unknown(otherwise, str(error)),))
    if not listed.items:
        where = f"namespace {namespace}" if namespace else "any namespace"
        why = f"there is no Deployment {OPERATOR} of Berth's in {where}"
        return Installation(otherwise, notes=(_unknown(otherwise, why),))
    if len(listed.items) > 1:
        places = ", ".join(sorted(body["metadata"]["namespace"] for body in listed.items))
        raise UnclearInstallation(f"there is a Deployment {OPERATOR} in {places}: say which with --berth-namespace")
    (body,) = listed.items
    settings = _settings_of(body)
    place = body["metadata"]["namespace"]
    if not profiles or "scheduler_config" not in settings:
        return Installation(place, _rules(settings))
    return await _with_profiles(api, Installation(place, _rules(settings)))


async def _with_profiles(api: Api, found: Installation) -> Installation:
    try:
        body = await api.get(CONFIG_MAP, SCHEDULER, found.namespace)
        text = body["data"][_KEY]
    except (Forbidden, NotFound, KeyError) as error:
        why = str(error) if isinstance(error, ApiError) else f"it has no {_KEY}"
        note = (
            f"The operator has profiles of its own, and ConfigMap {found.namespace}/{SCHEDULER} could not be read "
            f"({why}): taken as they are built in. Give its file with --scheduler-config."
        )
        return Installation(found.namespace, found.settings, notes=(note,))
    return Installation(found.namespace, found.settings, text.encode())


def _settings_of(deployment: Mapping[str, Any]) -> dict[str, str]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    variables = next((each.get("env") or () for each in containers if each["name"] == "operator"), ())
    return {
        each["name"].removeprefix(_PREFIX).lower(): each["value"]
        for each in variables
        if each["name"].startswith(_PREFIX) and "value" in each
    }


def _rules(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in settings.items() if name in _RULES}


def _unknown(namespace: str, why: str) -> str:
    return (
        f"How the operator is set up is not known ({why}): taken to be in {namespace}, with the built-in profiles and "
        "times. Where it is not, say so with --berth-namespace, --scheduler-config and --anchor."
    )
