"""Anchors are off unless somebody turns them on, and then need an image."""

import pytest
from pydantic import ValidationError

from berth_agent.settings import AgentSettings
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
    assert Settings().anchor
    assert AgentSettings(node_name="n").anchor
