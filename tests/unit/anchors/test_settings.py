"""Anchors are off unless somebody turns them on, and then need an image."""

import pytest
from pydantic import ValidationError
from tests.unit.operator.worlds import World

from berth_agent.settings import AgentSettings
from berth_api.anchors import Size
from berth_api.client import Unavailable
from berth_api.kinds import NODE, POD
from berth_operator.controllers.anchorpods import anchor_pod, anchor_spec
from berth_operator.settings import Settings


def test_they_are_off_by_default() -> None:
    assert not Settings().anchor
    assert not AgentSettings(node_name="n").anchor


def test_they_are_turned_on_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BERTH_OPERATOR_ANCHOR", "BERTH_AGENT_ANCHOR"):
        monkeypatch.setenv(name, "true")
    with pytest.raises(ValidationError, match="BERTH_OPERATOR_ANCHOR_IMAGE"):
        Settings()
    monkeypatch.setenv("BERTH_OPERATOR_ANCHOR_IMAGE", "pause:1")
    monkeypatch.setenv("BERTH_OPERATOR_ANCHOR_PULL_SECRETS", "one, other")
    assert Settings().anchor
    assert Settings().anchor_pull_secrets == ("one", "other")
    assert AgentSettings(node_name="n").anchor


@pytest.mark.looptime
async def test_an_operator_with_anchors_off_deletes_those_of_former_settings_and_no_other_pod() -> None:
    world = World()
    made = anchor_pod("node-1", owner="hv", namespace="berth-system", spec=anchor_spec("pause"), size=Size(4000, 2**30))
    world.api.add(POD, made)
    for name, namespace, labels in (("agent", "berth-system", {}), ("theirs", "default", made["metadata"]["labels"])):
        world.api.add(POD, {"metadata": {"name": name, "namespace": namespace, "labels": labels}})
    world.api.fail(Unavailable(503, "", "away"), verb="delete", kind=POD)
    async with world.leading():
        await world.settle(5)
    assert world.api.peek(POD, "berth-anchor-node-1", "berth-system") is None
    assert world.api.peek(POD, "agent", "berth-system") is not None
    assert world.api.peek(POD, "theirs", "default") is not None


@pytest.mark.looptime
async def test_an_operator_with_anchors_on_keeps_them() -> None:
    world = World(anchor=True, anchor_image="pause")
    world.add_node("node-1")
    world.api.add(NODE, {"metadata": {"name": "node-1"}})
    async with world.leading():
        await world.settle(5)
    assert [call.verb for call in world.api.writes if call.kind == "Pod"] == ["create"]
