"""No object, however odd, makes a rule fail to evaluate: it is taken, or refused with a message of ours."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.integration.api.apiserver import ApiServer
from tests.unit.api.instances import instances

from berth_api.client import ApiClient, Invalid
from berth_api.customresources import CUSTOM_RESOURCES, CustomResource, definition

pytestmark = pytest.mark.integration

EVALUATION_FAILED = ("evaluating rule", "no such key", "no such overload", "cost limit", "call to")


class DryRun:
    """Creates objects without storing them."""

    def __init__(self, server: ApiServer, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._client = runner.run(ApiClient.connect(server.kubeconfig, user_agent="tests"))

    def create(self, resource: CustomResource, body: dict[str, Any]) -> dict[str, Any]:
        """What would be stored; a refusal because a rule could not be evaluated fails the test."""
        kind = resource.kind
        path = kind.path(namespace="default" if kind.namespaced else "")
        whole = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        send = self._client._transport.send("POST", path, query={"dryRun": "All"}, body=whole)
        try:
            return self._runner.run(send)
        except Invalid as refusal:
            if any(phrase in refusal.message for phrase in EVALUATION_FAILED):
                raise AssertionError(refusal.message) from refusal
            raise

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._client.close())


@pytest.fixture(scope="module")
def dry_run(server: ApiServer) -> Iterator[DryRun]:
    """Dry runs on the real API server."""
    with asyncio.Runner() as runner:
        trial = DryRun(server, runner)
        yield trial
        trial.close()


@pytest.mark.parametrize("resource", CUSTOM_RESOURCES, ids=lambda resource: resource.kind.kind)
@given(data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_every_rule_can_be_evaluated(dry_run: DryRun, resource: CustomResource, data: st.DataObject) -> None:
    schema = definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    body = data.draw(instances(schema, resource.model))
    with suppress(Invalid):
        stored = dry_run.create(resource, body)
        read, written = resource.model.from_api(stored), resource.model.from_api(body)
        assert read.model_dump(include={"spec"}) == written.model_dump(include={"spec"})
