"""The client turns every way in which a server can fail into a typed error, and leaves no call waiting."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.api.servers import kubeconfig_text, serving

from berth_api.client import (
    AlreadyExists,
    Api,
    ApiClient,
    ApiError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from berth_api.kinds import HYPERVISOR, LEASE, VIRTUAL_MACHINE


def status(code: int, reason: str = "", message: str = "why", **details: Any) -> web.Response:
    return web.json_response({"kind": "Status", "reason": reason, "message": message, "details": details}, status=code)


def implements_the_port(client: ApiClient) -> Api:
    return client


@pytest.mark.parametrize(
    ("code", "reason", "kind", "retryable"),
    [
        (400, "BadRequest", Invalid, False),
        (401, "Unauthorized", Unauthorized, False),
        (403, "Forbidden", Forbidden, False),
        (404, "NotFound", NotFound, False),
        (405, "MethodNotAllowed", ApiError, False),
        (409, "AlreadyExists", AlreadyExists, False),
        (409, "Conflict", Conflict, False),
        (410, "Expired", Gone, True),
        (413, "RequestEntityTooLarge", Invalid, False),
        (422, "Invalid", Invalid, False),
        (429, "TooManyRequests", TooManyRequests, True),
        (500, "InternalError", Unavailable, True),
        (503, "ServiceUnavailable", Unavailable, True),
        (504, "Timeout", Unavailable, True),
    ],
)
async def test_each_refusal_has_its_error(
    tmp_path: Path, code: int, reason: str, kind: type[ApiError], retryable: bool
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return status(code, reason)

    async with serving(refuse, tmp_path) as client:
        with pytest.raises(ApiError) as refusal:
            await client.get(HYPERVISOR, "n1")
    assert type(refusal.value) is kind
    assert (refusal.value.status, refusal.value.reason, refusal.value.message) == (code, reason, "why")
    assert refusal.value.retryable is retryable


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (status(429, retryAfterSeconds=7), 7.0),
        (web.Response(status=429, headers={"Retry-After": "3"}), 3.0),
        (web.Response(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 1.0),
    ],
)
async def test_a_busy_server_says_how_long_to_wait(tmp_path: Path, answer: web.Response, seconds: float) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return answer

    async with serving(refuse, tmp_path) as client:
        with pytest.raises(TooManyRequests) as refusal:
            await client.get(HYPERVISOR, "n1")
    assert refusal.value.retry_after == seconds


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"[1, 2]", b"", b'{"kind": "Lea'])
async def test_an_answer_that_is_no_object_is_no_answer(tmp_path: Path, body: bytes) -> None:
    async def babble(_: web.Request) -> web.Response:
        return web.Response(body=body)

    async with serving(babble, tmp_path) as client:
        with pytest.raises(Unavailable):
            await client.get(HYPERVISOR, "n1")


async def test_an_answer_that_breaks_off_is_no_answer(tmp_path: Path) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"items": [')
        assert request.transport is not None
        request.transport.close()
        return answer

    async with serving(break_off, tmp_path) as client:
        with pytest.raises(Unavailable):
            await client.list(HYPERVISOR)


async def test_a_server_that_is_away_is_unavailable(tmp_path: Path, unused_tcp_port: int) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_text(f"http://127.0.0.1:{unused_tcp_port}", "t"))
    async with await ApiClient.connect(path, user_agent="t") as client:
        with pytest.raises(Unavailable):
            await client.get(HYPERVISOR, "n1")


async def test_a_server_that_hangs_meets_the_deadline(tmp_path: Path) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(hang, tmp_path, deadline=0.1) as client:
        with pytest.raises(DeadlineExceeded) as late:
            await client.get(HYPERVISOR, "n1")
    assert "within 0.1 s" in str(late.value)
    assert late.value.retryable


async def test_a_body_that_trickles_meets_the_deadline(tmp_path: Path) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b" ")
            await asyncio.sleep(0.01)

    async with serving(trickle, tmp_path, deadline=0.1) as client:
        with pytest.raises(DeadlineExceeded):
            await client.get(HYPERVISOR, "n1")


async def test_a_cancelled_call_is_cancelled(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(hang, tmp_path) as client:
        call = asyncio.create_task(client.get(HYPERVISOR, "n1"))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def page(names: list[str], token: str = "") -> web.Response:
    items = [{"metadata": {"name": name}} for name in names]
    return web.json_response({"metadata": {"resourceVersion": "7", "continue": token}, "items": items})


async def test_a_list_has_all_pages(tmp_path: Path) -> None:
    queries = []

    async def paged(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        return page(["b"]) if "continue" in request.query else page(["a"], "x+/=&y")

    async with serving(paged, tmp_path) as client:
        found = await client.list(VIRTUAL_MACHINE, field_selector="status.nodeName=n1", label_selector="a in (b, c)")
    assert [item["metadata"]["name"] for item in found.items] == ["a", "b"]
    assert found.resource_version == "7"
    selectors = {"fieldSelector": "status.nodeName=n1", "labelSelector": "a in (b, c)", "limit": "500"}
    assert queries == [selectors, {**selectors, "continue": "x+/=&y"}]


async def test_a_list_whose_version_vanished_starts_over(tmp_path: Path) -> None:
    async def expiring(request: web.Request) -> web.Response:
        if "continue" in request.query:
            return status(410, "Expired")
        return page(["a"], "old") if "limit" in request.query else page(["b", "c"])

    async with serving(expiring, tmp_path) as client:
        found = await client.list(VIRTUAL_MACHINE)
    assert [item["metadata"]["name"] for item in found.items] == ["b", "c"]


async def test_half_a_list_is_never_returned(tmp_path: Path) -> None:
    async def failing(request: web.Request) -> web.Response:
        return status(503) if "continue" in request.query else page(["a"], "more")

    async with serving(failing, tmp_path) as client:
        with pytest.raises(Unavailable):
            await client.list(VIRTUAL_MACHINE)


async def test_an_object_is_no_list(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status"})

    async with serving(answer, tmp_path) as client:
        with pytest.raises(Unavailable, match="no list"):
            await client.list(VIRTUAL_MACHINE)


async def test_an_apply_says_who_and_on_what_condition(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def record(request: web.Request) -> web.Response:
        seen.update(method=request.method, path=request.path, query=dict(request.query), body=await request.json())
        seen.update(headers=dict(request.headers))
        return web.json_response({"metadata": {"uid": "u"}})

    async with serving(record, tmp_path) as client:
        await client.apply(
            VIRTUAL_MACHINE,
            "a",
            "default",
            {"metadata": {"uid": "u"}, "status": {"phase": "Running"}},
            field_manager="berth-agent",
            subresource="status",
            resource_version="5",
        )
    assert (seen["method"], seen["path"]) == (
        "PATCH",
        "/apis/berth.dev/v1alpha1/namespaces/default/virtualmachines/a/status",
    )
    assert seen["query"] == {"fieldManager": "berth-agent", "force": "true"}
    assert seen["body"] == {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"uid": "u", "name": "a", "resourceVersion": "5"},
        "status": {"phase": "Running"},
    }
    assert seen["headers"]["Content-Type"] == "application/apply-patch+yaml"
    assert seen["headers"]["Authorization"] == "Bearer first"
    assert seen["headers"]["User-Agent"] == "berth-test/1"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../secrets", "a%2fb"])
async def test_a_name_cannot_lead_elsewhere(tmp_path: Path, name: str) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise AssertionError

    async with serving(fail, tmp_path) as client:
        with pytest.raises(ValueError, match="is no name of an object"):
            await client.get(HYPERVISOR, name)
        with pytest.raises(ValueError, match=r"is no name of an object|needs a namespace"):
            await client.delete(LEASE, "a", name)


async def test_a_name_that_looks_like_a_query_stays_a_name(tmp_path: Path) -> None:
    paths = []

    async def record(request: web.Request) -> web.Response:
        paths.append((request.path, dict(request.query)))
        return web.json_response({})

    async with serving(record, tmp_path) as client:
        await client.get(HYPERVISOR, "a?watch=1#x")
    assert paths == [("/apis/berth.dev/v1alpha1/hypervisors/a?watch=1#x", {})]


async def test_a_renewed_token_is_used_at_once_after_a_401(tmp_path: Path) -> None:
    tokens = []

    async def check(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"])
        if tokens[-1] == "Bearer second":
            return web.json_response({})
        server = f"http://{request.host}"
        (tmp_path / "kubeconfig").write_text(kubeconfig_text(server, "second"))
        return status(401, "Unauthorized")

    async with serving(check, tmp_path) as client:
        await client.get(HYPERVISOR, "n1")
        connection = await client.connection()
    assert tokens == ["Bearer first", "Bearer second"]
    assert connection.token == tokens[-1].removeprefix("Bearer ")


async def test_a_token_that_stays_wrong_is_tried_once(tmp_path: Path) -> None:
    tokens = []

    async def refuse(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"])
        return status(401, "Unauthorized")

    async with serving(refuse, tmp_path) as client:
        with pytest.raises(Unauthorized):
            await client.get(HYPERVISOR, "n1")
        (tmp_path / "kubeconfig").unlink()
        with pytest.raises(Unauthorized):
            await client.get(HYPERVISOR, "n1")
    assert tokens == ["Bearer first"] * 2


@pytest.mark.parametrize(
    "text",
    ["", "{", "just words", "{}", '{"contexts": [], "current-context": "x"}', "[]"],
    ids=["empty", "no yaml", "text", "no context", "unknown context", "a list"],
)
async def test_a_kubeconfig_that_is_none_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(Unauthorized, match="cannot be used"):
        await ApiClient.connect(path, user_agent="t")


async def test_a_kubeconfig_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match="does not exist: give the path of one"):
        await ApiClient.connect(tmp_path / "none", user_agent="t")


async def test_outside_a_pod_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Unauthorized, match="the Pod's service account cannot be used"):
        await ApiClient.connect(None, user_agent="t")
