"""Alerts and the dashboard ask for metrics that there are, and each alert has its runbook."""

import json
import re
from typing import Any

import pytest
import yaml
from tests.unit.chart.cases import rendered
from tests.unit.chart.queries import UnknownLabelError, UnknownMetricError, labels_of, series
from tests.unit.chart.renders import CHART, PROJECT, render

from berth_agent.settings import AgentSettings
from berth_operator.settings import Settings

ALERTS = [
    rule
    for group in yaml.safe_load((CHART / "monitoring/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((CHART / "monitoring/dashboard.json").read_text())
DOCS = sorted((PROJECT / "docs").glob("metrics*.md"))
_SELECTED = re.compile(r'\b(berth_[a-z0-9_]+)\{(\w+)=~?"([^"]*)"')
_IN_TEXT = re.compile(r"\$labels\.(\w+)")
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}")
_UNDERSTOOD = re.compile(
    r" (\$(value( \| humanize(1024|Duration|Percentage)?)?|labels\.\w+)|or \$labels\.\w+ \$labels\.\w+) "
)
"""A value in one of Prometheus' notations, a label, or the first of two that is there. Only the alert itself would show
what it does not understand."""
_IN_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def documented() -> dict[str, str]:
    """What is said of each metric."""
    rows = [line for path in DOCS for line in path.read_text().splitlines() if line.startswith("| `berth_")]
    return {re.split(r"[`{]", row)[1]: row for row in rows}


def targets() -> list[tuple[str, str]]:
    """Queries of the dashboard's panels, and the legend of each."""
    return [(each["expr"], each["legendFormat"]) for panel in DASHBOARD["panels"] for each in panel.get("targets", ())]


def expressions() -> list[str]:
    return [*(rule["expr"] for rule in ALERTS), *(query for query, _ in targets())]


@pytest.mark.parametrize("expression", expressions())
def test_every_query_is_one_and_asks_for_metrics_by_labels_that_there_are(expression: str) -> None:
    labels_of(expression)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_what_an_alert_says_names_labels_that_its_query_leaves(rule: dict[str, Any]) -> None:
    text = " ".join(rule["annotations"].values())
    assert [each for each in _TEMPLATE.findall(text) if not _UNDERSTOOD.fullmatch(each)] == []
    assert set(_IN_TEXT.findall(text)) <= labels_of(rule["expr"])


@pytest.mark.parametrize(("query", "legend"), targets())
def test_a_legend_names_labels_that_its_query_leaves(query: str, legend: str) -> None:
    assert set(_IN_LEGEND.findall(legend)) <= labels_of(query)


@pytest.mark.parametrize("expression", expressions())
def test_every_label_value_that_is_asked_for_is_one_that_there_is(expression: str) -> None:
    for metric, label, values in _SELECTED.findall(expression):
        said = documented()[metric]
        assert f"`{label}`" in said
        for value in values.split("|"):
            assert value in said or (label == "phase" and "every phase" in said), f"{metric}: {value}"


@pytest.mark.parametrize("metric", documented())
def test_the_pages_tell_the_labels_of_every_metric(metric: str) -> None:
    told = re.findall(r"`(\w+)`", documented()[metric].split("|")[2])
    served = metric if metric in series() else f"{metric}_count"
    assert sorted(told) == sorted(series()[served])


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sum(rate(berth_scheduler_attempts_total))", ValueError),
        ("sum by (result (berth_scheduler_attempts_total)", ValueError),
        ("berth_scheduler_moods > 0", UnknownMetricError),
        ("berth_scheduler_attempts > 0", UnknownMetricError),
        ('berth_virtualmachines{state="Running"}', UnknownLabelError),
        ("sum by (node) (rate(berth_scheduler_attempts_total[5m]))", UnknownLabelError),
        ("sum by (phase) (max by (pod) (berth_virtualmachines))", UnknownLabelError),
        ("histogram_quantile(0.9, sum by (le) (rate(berth_agent_step_duration_seconds_sum[5m])))", UnknownLabelError),
    ],
)
def test_a_query_that_would_find_nothing_is_noticed(query: str, wrong: type[Exception]) -> None:
    with pytest.raises(wrong):
        labels_of(query)


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    text = (PROJECT / "docs" / "runbooks.md").read_text()
    names = [rule["alert"] for rule in ALERTS]
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(re.findall(r"^## (.*)$", text, re.MULTILINE))


def test_each_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {"summary", "description"} <= rule["annotations"].keys()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_about_one_agent_names_its_node(rule: dict[str, Any]) -> None:
    """Agents are in the network of their nodes: an address and a port is all that Prometheus itself calls them."""
    if "instance" in labels_of(rule["expr"]):
        assert "{{ or $labels.node $labels.instance }}" in rule["annotations"]["summary"]


def test_an_old_heartbeat_is_told_before_a_node_gets_no_more_vms() -> None:
    (rule,) = [each for each in ALERTS if each["alert"] == "BerthAgentHeartbeatOld"]
    age = float(rule["expr"].partition("> ")[2])
    beat = AgentSettings.model_fields["heartbeat"].default
    assert "for" not in rule
    assert beat < age <= Settings.model_fields["heartbeat_timeout"].default / 2


def test_what_nobody_serves_or_scrapes_is_told_as_that() -> None:
    asked = {rule["alert"]: rule["expr"] for rule in ALERTS if "absent(" in rule["expr"] or "vector(" in rule["expr"]}
    assert asked == {
        "BerthOperatorsNotScraped": "absent(berth_operator_leading)",
        "BerthAgentsNotScraped": 'absent(up{job=~".*berth-agent.*"})',
    }


@pytest.mark.parametrize("served", [True, False])
def test_there_are_alerts_only_where_there_are_metrics(served: bool) -> None:
    release = render(values={"metrics": {"enabled": served, "prometheusRule": {"enabled": True}}})
    assert release.has("PrometheusRule", "berth") is served


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


def test_the_namespace_of_a_guests_metric_is_the_vms() -> None:
    """Where the target has a label of that name, and every Pod has, Prometheus calls what it reads `exported_…`."""
    (endpoint,) = rendered("everything").one("PodMonitor", "berth-agent")["spec"]["podMetricsEndpoints"]
    back, away = endpoint["metricRelabelings"]
    assert back == {"sourceLabels": ["exported_namespace"], "regex": "(.+)", "targetLabel": "namespace"}
    assert away == {"action": "labeldrop", "regex": "exported_namespace"}
