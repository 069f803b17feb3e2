"""Alerts and the dashboard ask for metrics that there are, and each alert has its runbook."""

import json
import re
from typing import Any

import pytest
import yaml
from tests.unit.chart.cases import rendered
from tests.unit.chart.renders import CHART, PROJECT

ALERTS = [
    rule
    for group in yaml.safe_load((CHART / "monitoring/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((CHART / "monitoring/dashboard.json").read_text())
DOCS = sorted((PROJECT / "docs").glob("metrics*.md"))
OTHERS = {"up"}
"""Prometheus' own."""
_METRIC = re.compile(r"\bberth_[a-z0-9_]+|\bup\b")
_SELECTED = re.compile(r'\b(berth_[a-z0-9_]+)\{(\w+)=~?"([^"]*)"')


def documented() -> dict[str, str]:
    """What is said of each metric."""
    rows = [line for path in DOCS for line in path.read_text().splitlines() if line.startswith("| `berth_")]
    return {re.split(r"[`{]", row)[1]: row for row in rows}


def known(metric: str) -> bool:
    return metric in OTHERS or re.sub(r"_(bucket|sum|count)$", "", metric) in documented()


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return [*(rule["expr"] for rule in ALERTS), *panels]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_that_is_asked_for_is_documented(expression: str) -> None:
    asked = _METRIC.findall(expression)
    assert asked
    assert [metric for metric in asked if not known(metric)] == []
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("expression", expressions())
def test_every_label_value_that_is_asked_for_is_one_that_there_is(expression: str) -> None:
    for metric, label, values in _SELECTED.findall(expression):
        said = documented()[metric]
        assert f"`{label}`" in said
        for value in values.split("|"):
            assert value in said or (label == "phase" and "every phase" in said), f"{metric}: {value}"


def test_a_metric_that_is_not_documented_would_be_noticed() -> None:
    assert not known("berth_scheduler_moods")


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    text = (PROJECT / "docs" / "runbooks.md").read_text()
    names = [rule["alert"] for rule in ALERTS]
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(re.findall(r"^## (.*)$", text, re.MULTILINE))


def test_each_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {"summary", "description"} <= rule["annotations"].keys()


def test_rules_are_rendered_as_they_are_with_links_to_their_runbooks() -> None:
    groups = rendered("everything").one("PrometheusRule", "berth")["spec"]["groups"]
    rules: list[dict[str, Any]] = [rule for group in groups for rule in group["rules"]]
    for rule, source in zip(rules, ALERTS, strict=True):
        link = rule["annotations"].pop("runbook_url")
        assert link == f"https://example.com/runbooks#{rule['alert'].lower()}"
        assert rule == source


def test_the_dashboard_is_rendered_as_it_is() -> None:
    rendered_text = rendered("everything").one("ConfigMap", "berth-dashboard")["data"]["berth.json"]
    assert json.loads(rendered_text) == DASHBOARD


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_monitors_find_what_serves_metrics() -> None:
    release = rendered("everything")
    service = release.one("Service", "berth-operator-metrics")
    wanted = release.one("ServiceMonitor", "berth-operator")["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    agents = release.one("PodMonitor", "berth-agent")["spec"]["selector"]["matchLabels"]
    assert agents.items() <= release.one("DaemonSet", "berth-agent")["spec"]["template"]["metadata"]["labels"].items()
