"""What helm says after an installation: `helm template` leaves it out, so it is put into an object here."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.chart.renders import CHART, render

Notes = Callable[..., str]
_OBJECT = """apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data: {said: {{ include "notes" . | quote }}}
"""


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """The text for these values."""
    chart = tmp_path / "berth"
    shutil.copytree(CHART, chart)
    source = chart / "templates" / "NOTES.txt"
    (chart / "templates" / "_notes.tpl").write_text(f'{{{{ define "notes" }}}}{source.read_text()}{{{{ end }}}}')
    (chart / "templates" / "notes.yaml").write_text(_OBJECT)
    source.unlink()

    def said(values: dict[str, Any]) -> str:
        return " ".join(str(render(values=values, chart=chart).one("ConfigMap", "notes")["data"]["said"]).split())

    return said


def test_without_policies_it_says_what_the_tokens_of_both_parts_may_do(notes: Notes) -> None:
    text = notes({"policies": {"enabled": False}})
    assert "Any node's agent may then write the status of any VM" in text
    assert "may change all of any VM and any Node's labels and taints, and make Pods of any kind in machines" in text
    assert "Pods" not in notes({"policies": {"enabled": False}, "anchor": {"enabled": False}}).partition("Node's")[2]
    assert "policies.enabled" not in notes({})


def test_it_says_where_images_without_a_registry_are_looked_for(notes: Notes) -> None:
    assert "(docker.io/library)" in notes({})
    assert "docker.io" not in notes({"imageRegistry": "registry.example.com"})
    assert "docker.io" not in notes({"operator": {"image": {"repository": "registry.example.com/berth-operator"}}})
