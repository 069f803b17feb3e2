"""The client and its fake agree with the real API server."""

import json

import pytest
from tests.fakes.api import FakeApi
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import removed
from tests.integration.api.specimens import specimen

from berth_api import kinds
from berth_api.client import (
    AlreadyExists,
    Api,
    ApiClient,
    ApiError,
    Conflict,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
)

pytestmark = pytest.mark.integration

POOL = kinds.STORAGE_POOL
CONDITION = {"status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@pytest.fixture(params=["real", "fake"])
def either(request: pytest.FixtureRequest, api: ApiClient) -> Api:
    """The real API, and its fake."""
    return api if request.param == "real" else FakeApi()


async def error_of(kind: type[ApiError], call: object) -> None:
    with pytest.raises(kind) as refusal:
        await call  # type: ignore[misc]  # a coroutine of any of the methods
    assert type(refusal.value) is kind


async def test_real_and_fake_refuse_alike(api: ApiClient, either: Api) -> None:
    async with removed(api, POOL, "same"):
        await error_of(NotFound, either.get(POOL, "same"))
        await error_of(NotFound, either.delete(POOL, "same"))
        await error_of(
            NotFound, either.apply(POOL, "same", "", {"status": {}}, field_manager="m", subresource="status")
        )
        stored = await either.create(POOL, specimen(POOL, "same"))
        await error_of(AlreadyExists, either.create(POOL, specimen(POOL, "same")))
        changed = await either.apply(
            POOL, "same", "", {"status": {"nodes": 1}}, field_manager="m", subresource="status"
        )
        await error_of(Conflict, either.update(POOL, "same", "", stored))
        old = stored["metadata"]["resourceVersion"]
        apply = either.apply(
            POOL, "same", "", {"status": {"nodes": 2}}, field_manager="m", subresource="status", resource_version=old
        )
        await error_of(Conflict, apply)
        other = {"metadata": {"uid": "00000000-0000-4000-8000-00000000ffff"}, "status": {"nodes": 2}}
        await error_of(Conflict, either.apply(POOL, "same", "", other, field_manager="m", subresource="status"))
        other["spec"] = specimen(POOL)["spec"]
        await error_of(Conflict, either.apply(POOL, "same", "", other, field_manager="m"))
        await error_of(Conflict, either.delete(POOL, "same", uid="00000000-0000-4000-8000-00000000ffff"))
        test = [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]
        await error_of(Invalid, either.patch_json(POOL, "same", "", test))
        await error_of(
            Invalid, either.patch_json(POOL, "same", "", [{"op": "remove", "path": "/metadata/finalizers/0"}])
        )
        await either.delete(POOL, "same", uid=changed["metadata"]["uid"])
        await error_of(NotFound, either.get(POOL, "same"))


async def test_real_and_fake_merge_alike(api: ApiClient, either: Api) -> None:
    kind = kinds.HYPERVISOR
    async with removed(api, kind, "merged"):
        await either.create(kind, {"metadata": {"name": "merged"}, "spec": {}})

        async def apply(manager: str, **status: object) -> dict[str, object]:
            done = await either.apply(
                kind, "merged", "", {"status": status}, field_manager=manager, subresource="status"
            )
            result: dict[str, object] = done["status"]
            return result

        capacity = {"cpu": "4", "memory": "8Gi"}
        await apply("one", accelerator="kvm", capacity=capacity, conditions=[{**CONDITION, "type": "A"}])
        await apply("two", conditions=[{**CONDITION, "type": "B"}], networks=[{"name": "x", "ready": True}])
        both = {
            "accelerator": "kvm",
            "capacity": capacity,
            "conditions": [{**CONDITION, "type": "A"}, {**CONDITION, "type": "B"}],
            "networks": [{"name": "x", "ready": True}],
        }
        assert (await either.get(kind, "merged"))["status"] == both
        assert await apply("one", capacity=capacity) == {
            "capacity": capacity,
            "conditions": [{**CONDITION, "type": "B"}],
            "networks": [{"name": "x", "ready": True}],
        }
        versions = [(await either.get(kind, "merged"))["metadata"]["resourceVersion"]]
        await apply("one", capacity=capacity)
        versions.append((await either.get(kind, "merged"))["metadata"]["resourceVersion"])
        assert versions[0] == versions[1], "the same apply again writes nothing"
        assert await apply("two") == {"capacity": capacity}


async def test_a_list_of_a_builtin_kind_is_read_as_well(api: ApiClient) -> None:
    found = await api.list(
        kinds.Kind("ClusterRole", "clusterroles", namespaced=False, group="rbac.authorization.k8s.io", version="v1")
    )
    assert int(found.resource_version) > 0
    assert len({item["metadata"]["name"] for item in found.items}) == len(found.items) > 50


async def test_a_wrong_token_is_unauthorized(server: ApiServer) -> None:
    kubeconfig = server.write_kubeconfig("stranger", "no-token")
    async with await ApiClient.connect(kubeconfig, user_agent="t") as client:
        with pytest.raises(Unauthorized):
            await client.list(POOL)


@pytest.mark.parametrize(
    ("changes", "works"),
    [
        ({"tls-server-name": "kubernetes.default.svc"}, True),
        ({"tls-server-name": "elsewhere.invalid"}, False),
        ({"certificate-authority-data": None}, False),
        ({"certificate-authority-data": None, "insecure-skip-tls-verify": True}, True),
    ],
    ids=["a name of the server", "another name", "an unknown certificate", "nothing verified"],
)
async def test_the_server_proves_who_it_is(server: ApiServer, changes: dict[str, object], works: bool) -> None:
    config = json.loads(server.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"] | changes
    config["clusters"][0]["cluster"] = {name: value for name, value in cluster.items() if value is not None}
    path = server.folder / "changed.kubeconfig"
    path.write_text(json.dumps(config))
    async with await ApiClient.connect(path, user_agent="t") as client:
        if works:
            assert (await client.list(POOL)).resource_version
        else:
            with pytest.raises(Unavailable, match="certificate"):
                await client.list(POOL)
