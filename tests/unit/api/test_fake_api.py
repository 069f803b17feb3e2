"""The fake API server behaves as the real one where callers rely on it."""

from typing import Any

import pytest
from tests.fakes.api import FakeApi

from berth_api.client.errors import AlreadyExists, Conflict, Invalid, NotFound, Unavailable
from berth_api.client.ports import Api
from berth_api.kinds import HYPERVISOR, LEASE, VIRTUAL_MACHINE

SCHEDULED = {"type": "Scheduled", "status": "True"}
READY = {"type": "Ready", "status": "False"}


def machine(name: str = "a", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "spec": {"className": "small"}}


def implements_the_port(fake: FakeApi) -> Api:
    return fake


async def test_an_apply_leaves_what_others_own() -> None:
    api = FakeApi()
    api.add(VIRTUAL_MACHINE, machine())
    bound = {"status": {"nodeName": "n1", "claim": {"id": "1", "cpu": "1"}, "conditions": [SCHEDULED]}}
    await api.apply(VIRTUAL_MACHINE, "a", "default", bound, field_manager="operator", subresource="status")
    await api.apply(
        VIRTUAL_MACHINE,
        "a",
        "default",
        {"status": {"phase": "Running", "conditions": [READY]}},
        field_manager="agent",
        subresource="status",
    )
    status = (await api.get(VIRTUAL_MACHINE, "a", "default"))["status"]
    assert status == {**bound["status"], "phase": "Running", "conditions": [SCHEDULED, READY]}
    assert api.managers(VIRTUAL_MACHINE, "a", "default") == {"operator", "agent"}


async def test_what_an_apply_leaves_out_is_taken_away() -> None:
    api = FakeApi()
    api.add(VIRTUAL_MACHINE, machine())
    for status in ({"nodeName": "n1", "claim": {"id": "1"}, "conditions": [SCHEDULED]}, {"phase": "Pending"}):
        await api.apply(
            VIRTUAL_MACHINE, "a", "default", {"status": status}, field_manager="operator", subresource="status"
        )
    assert (await api.get(VIRTUAL_MACHINE, "a", "default"))["status"] == {"phase": "Pending"}


async def test_the_same_apply_again_changes_no_version() -> None:
    api = FakeApi()
    api.add(VIRTUAL_MACHINE, machine())
    versions = [
        (
            await api.apply(
                VIRTUAL_MACHINE,
                "a",
                "default",
                {"status": {"phase": "Running"}},
                field_manager="x",
                subresource="status",
            )
        )["metadata"]["resourceVersion"]
        for _ in range(2)
    ]
    assert versions[0] == versions[1]


async def test_preconditions_are_checked() -> None:
    api = FakeApi()
    stored = api.add(VIRTUAL_MACHINE, machine())
    with pytest.raises(Conflict):
        await api.apply(VIRTUAL_MACHINE, "a", "default", {}, field_manager="x", resource_version="1")
    with pytest.raises(Conflict):
        await api.delete(VIRTUAL_MACHINE, "a", "default", uid="another")
    with pytest.raises(Conflict):
        await api.update(
            VIRTUAL_MACHINE, "a", "default", {**stored, "metadata": {**stored["metadata"], "resourceVersion": "1"}}
        )
    with pytest.raises(AlreadyExists):
        await api.create(VIRTUAL_MACHINE, machine(), "default")


async def test_a_finalizer_holds_an_object_until_it_is_dropped() -> None:
    api = FakeApi()
    api.add(VIRTUAL_MACHINE, machine(finalizers=["mine", "berth.dev/vm"]))
    await api.delete(VIRTUAL_MACHINE, "a", "default")
    assert (await api.get(VIRTUAL_MACHINE, "a", "default"))["metadata"]["deletionTimestamp"]
    path = "/metadata/finalizers/1"
    with pytest.raises(Invalid):
        await api.patch_json(VIRTUAL_MACHINE, "a", "default", [{"op": "test", "path": path, "value": "mine"}])
    await api.patch_json(VIRTUAL_MACHINE, "a", "default", [{"op": "remove", "path": path}])
    await api.patch_json(
        VIRTUAL_MACHINE, "a", "default", [{"op": "replace", "path": "/metadata/finalizers", "value": []}]
    )
    with pytest.raises(NotFound):
        await api.get(VIRTUAL_MACHINE, "a", "default")


async def test_selectors_choose_objects() -> None:
    api = FakeApi()
    for name, node in (("a", "n1"), ("b", "n2"), ("c", "n1")):
        api.add(VIRTUAL_MACHINE, {**machine(name, labels={"app": name}), "status": {"nodeName": node}})
    found = await api.list(VIRTUAL_MACHINE, field_selector="status.nodeName=n1", label_selector="app=c")
    assert [item["metadata"]["name"] for item in found.items] == ["c"]
    assert not (await api.list(VIRTUAL_MACHINE, "elsewhere")).items


async def test_faults_strike_before_or_after_the_write() -> None:
    api = FakeApi()
    error = Unavailable(503, "", "down")
    api.fail(error, verb="create", kind=HYPERVISOR)
    with pytest.raises(Unavailable):
        await api.create(HYPERVISOR, {"metadata": {"name": "n1"}})
    assert api.peek(HYPERVISOR, "n1") is None
    api.fail(error, verb="create", after=True)
    with pytest.raises(Unavailable):
        await api.create(HYPERVISOR, {"metadata": {"name": "n1"}})
    assert api.peek(HYPERVISOR, "n1") is not None
    assert [call.verb for call in api.writes] == ["create", "create"]


async def test_a_lease_is_replaced_as_a_whole() -> None:
    api = FakeApi()
    lease = api.add(LEASE, {"metadata": {"name": "n1", "namespace": "berth-system"}, "spec": {"holderIdentity": "a"}})
    lease["spec"] = {"leaseDurationSeconds": 40}
    updated = await api.update(LEASE, "n1", "berth-system", lease)
    assert updated["spec"] == {"leaseDurationSeconds": 40}
    assert updated["metadata"]["generation"] == 2
