"""How long the API server takes, and how its answers end: an `Api` around another that measures each call."""

import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Histogram

from berth_api.client import Api, ApiError, ObjectList
from berth_api.kinds import Kind

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_T = TypeVar("_T")


class MeteredApi:
    """Implements `Api`. Outcomes are `OK` and the names of the kinds of `ApiError`; cancelled calls are left out."""

    def __init__(self, api: Api, registry: CollectorRegistry) -> None:
        self._api = api
        self._durations = Histogram(
            "berth_operator_api_request_duration_seconds",
            "Time that a call to the API server took, watches left out",
            ["verb", "outcome"],
            buckets=BUCKETS,
            registry=registry,
        )

    async def _timed(self, verb: str, call: Coroutine[Any, Any, _T]) -> _T:
        begun = time.perf_counter()
        try:
            answer = await call
        except ApiError as error:
            self._durations.labels(verb, type(error).__name__).observe(time.perf_counter() - begun)
            raise
        self._durations.labels(verb, "OK").observe(time.perf_counter() - begun)
        return answer

    async def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any]:
        """As in `Api`."""
        return await self._timed("get", self._api.get(kind, name, namespace))

    async def list(
        self, kind: Kind, namespace: str = "", *, field_selector: str = "", label_selector: str = ""
    ) -> ObjectList:
        """As in `Api`."""
        call = self._api.list(kind, namespace, field_selector=field_selector, label_selector=label_selector)
        return await self._timed("list", call)

    async def create(self, kind: Kind, body: dict[str, Any], namespace: str = "") -> dict[str, Any]:
        """As in `Api`."""
        return await self._timed("create", self._api.create(kind, body, namespace))

    async def apply(
        self,
        kind: Kind,
        name: str,
        namespace: str,
        body: dict[str, Any],
        *,
        field_manager: str,
        subresource: str = "",
        resource_version: str | None = None,
    ) -> dict[str, Any]:
        """As in `Api`."""
        call = self._api.apply(
            kind,
            name,
            namespace,
            body,
            field_manager=field_manager,
            subresource=subresource,
            resource_version=resource_version,
        )
        return await self._timed("apply", call)

    async def patch_json(
        self, kind: Kind, name: str, namespace: str, operations: Sequence[dict[str, Any]], *, subresource: str = ""
    ) -> dict[str, Any]:
        """As in `Api`."""
        call = self._api.patch_json(kind, name, namespace, operations, subresource=subresource)
        return await self._timed("patch", call)

    async def update(
        self, kind: Kind, name: str, namespace: str, body: dict[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        """As in `Api`."""
        return await self._timed("update", self._api.update(kind, name, namespace, body, subresource))

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", *, uid: str | None = None, grace: int | None = None
    ) -> None:
        """As in `Api`."""
        await self._timed("delete", self._api.delete(kind, name, namespace, uid=uid, grace=grace))
