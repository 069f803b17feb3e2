"""Bringing definitions up to date, step by step; what a real API server makes of them is tested on one."""

import asyncio
from typing import Any

import pytest
from tests.fakes.api import FakeApi

from berth_api.client import Forbidden, Unavailable
from berth_operator.crdupgrades import CRD, FIELD_MANAGER, CrdsNotApplied, VersionStillStored, apply_crds

PATIENCE = 5.0


def definition(name: str, *versions: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"versions": [{"name": each} for each in versions]}}


def served(name: str, *stored: str) -> dict[str, Any]:
    status = {"storedVersions": [*stored], "conditions": [{"type": "Established", "status": "True"}]}
    return {"metadata": {"name": name}, "spec": {}, "status": status}


async def test_each_is_applied_by_a_manager_of_its_own_and_told() -> None:
    api, said = FakeApi(), list[str]()
    for name in ("a", "b"):
        api.add(CRD, served(name, "v1alpha1"))
    await apply_crds(
        api, [definition("a", "v1alpha1"), definition("b", "v1alpha1", "v1beta1")], timeout=PATIENCE, say=said.append
    )
    assert [(call.verb, call.name, call.field_manager) for call in api.writes] == [
        ("apply", "a", FIELD_MANAGER),
        ("apply", "b", FIELD_MANAGER),
    ]
    assert said == ["applied a", "applied b"]


async def test_nothing_is_written_where_one_of_them_has_a_version_stored_that_is_not_known() -> None:
    api = FakeApi()
    api.add(CRD, served("a", "v1alpha1"))
    api.add(CRD, served("b", "v1alpha1", "v1beta1"))
    with pytest.raises(
        VersionStillStored, match="b has objects stored as v1beta1, and this version of Berth knows"
    ) as no:
        await apply_crds(api, [definition("a", "v1alpha1"), definition("b", "v1alpha1")], timeout=PATIENCE, say=print)
    assert "a has" not in str(no.value)
    assert api.writes == []


async def test_it_waits_until_the_server_serves_them() -> None:
    api, applied = FakeApi(), asyncio.Event()
    applying = asyncio.create_task(
        apply_crds(api, [definition("a", "v1")], timeout=PATIENCE, say=lambda _: applied.set())
    )
    await applied.wait()
    assert not applying.done()
    api.add(CRD, served("a", "v1"))
    await applying


async def test_names_that_another_definition_has_end_it() -> None:
    api = FakeApi()
    taken = {"type": "NamesAccepted", "status": "False", "message": '"vm" is already in use'}
    api.add(CRD, {"metadata": {"name": "a"}, "status": {"conditions": [taken]}})
    with pytest.raises(CrdsNotApplied, match='a: the server does not accept its names: "vm" is already in use'):
        await apply_crds(api, [definition("a", "v1")], timeout=PATIENCE, say=lambda _: None)


async def test_what_is_never_served_ends_with_its_name() -> None:
    with pytest.raises(CrdsNotApplied, match=r"not done within 0\.3 s: still waiting for a"):
        await apply_crds(FakeApi(), [definition("a", "v1")], timeout=0.3, say=lambda _: None)


async def test_what_may_succeed_later_is_tried_again() -> None:
    api = FakeApi()
    api.add(CRD, served("a", "v1"))
    api.fail(Unavailable(503, "", "not yet"), verb="get")
    api.fail(Unavailable(503, "", "not yet"), verb="apply")
    await apply_crds(api, [definition("a", "v1")], timeout=PATIENCE, say=lambda _: None)


async def test_what_is_refused_is_not_tried_again() -> None:
    api = FakeApi()
    api.fail(Forbidden(403, "Forbidden", "no"), verb="apply")
    with pytest.raises(Forbidden):
        await apply_crds(api, [definition("a", "v1")], timeout=PATIENCE, say=lambda _: None)
    assert len(api.writes) == 1
