"""Values: what is wrong is refused with words that say what, and what can be said at all is documented."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings
from tests.unit.chart.cases import rendered
from tests.unit.chart.renders import CHART, render

from berth_agent.settings import AgentSettings
from berth_dev.errors import CommandError
from berth_dev.valuetables import Undocumented, values_table
from berth_operator.schedulerconfigs import read_profiles
from berth_operator.settings import Settings

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
PARTS: Mapping[str, tuple[type[BaseSettings], str, str, str]] = {
    "operator": (Settings, "BERTH_OPERATOR_", "Deployment", "berth-operator"),
    "agent": (AgentSettings, "BERTH_AGENT_", "DaemonSet", "berth-agent"),
}
NOT_IN_A_POD = {"kubeconfig", "identity", "lease_name", "netns_dir"}
"""Settings that a Pod has no use for: its account is its credentials, and the rest goes with names in policies."""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"operator": {"replicas": "two"}}, "at '/operator/replicas': got string, want integer"),
        ({"libvirt": {"mode": "remote"}}, "at '/libvirt/mode': value must be one of 'host', 'managed'"),
        (
            {"libvirt": {"managed": {"image": {"tag": "latest"}}}},
            "at '/libvirt/managed/image/pullPolicy': value must be 'Al",
        ),
        ({"libvirt": {"managed": {"rootDir": "libvirt"}}}, "at '/libvirt/managed/rootDir'"),
        ({"agent": {"stateDir": "var/lib"}}, "at '/agent/stateDir': 'var/lib' does not match"),
        ({"agent": {"stateDir": "/var/../etc; rm -rf /"}}, "at '/agent/stateDir'"),
        ({"agent": {"storageDirs": ["/"]}}, "at '/agent/storageDirs/0'"),
        ({"agent": {"capabilities": ["ALL"]}}, "at '/agent/capabilities/0'"),
        ({"operator": {"image": {"tag": "latest"}}}, "at '/operator/image/pullPolicy': value must be 'Always'"),
        ({"operator": {"image": {"repository": "berth-operator:1"}}}, "at '/operator/image/repository'"),
        ({"imageRegistry": "https://registry.example.com"}, "at '/imageRegistry'"),
        ({"imageRegistry": "registry.example.com/Team"}, "at '/imageRegistry'"),
        ({"operator": {"image": {"digest": "sha256:beef"}}}, "at '/operator/image/digest'"),
        ({"operater": {}}, "additional properties 'operater' not allowed"),
        ({"agent": {"nodeselector": {}}}, "at '/agent': additional properties 'nodeselector' not allowed"),
        ({"operator": {"settings": {"heartbeat_timout": 4}}}, "additional properties 'heartbeat_timout' not allowed"),
        ({"operator": {"settings": {"kubeconfig": "/x"}}}, "additional properties 'kubeconfig' not allowed"),
        (
            {"operator": {"settings": {"workers": 2.5}}},
            "at '/operator/settings/workers': got number, want integer or str",
        ),
        (
            {"operator": {"settings": {"retell": "soon"}}},
            "at '/operator/settings/retell': 'soon' does not match pattern",
        ),
        ({"operator": {"settings": {"mac_prefix": "03:be"}}}, "at '/operator/settings/mac_prefix'"),
        (
            {"agent": {"settings": {"accelerator": "hvf"}}},
            "at '/agent/settings/accelerator': value must be one of 'auto'",
        ),
        ({"agent": {"settings": {"anchor_patience": 0}}}, "at '/agent/settings/anchor_patience': minimum"),
        ({"agent": {"ports": {"health": 10480}}}, "agent.ports: health and metrics are both 10480"),
        ({"priorityQuota": {"pods": 0}}, "at '/priorityQuota/pods': minimum"),
        ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "at '/metrics/serviceMonitor/interval'"),
        ({"metrics": {"serviceMonitor": {"interval": ""}}}, "at '/metrics/serviceMonitor/interval'"),
        ({"operator": {"logLevel": "LOUD"}}, "at '/operator/logLevel': value must be one of"),
        ({"operator": {"ports": {"health": 80}}}, "at '/operator/ports/health': minimum"),
        ({"commonLabels": {"app.kubernetes.io/instance": "mine"}}, "at '/commonLabels'"),
        ({"policies": {"finalizer": "yes"}}, "at '/policies/finalizer': value must be one of 'auto', true, false"),
        ({"defaults": {"storagePool": {"path": "/srv/pool"}}}, "agents do not see /srv/pool; choose one below"),
        ({"defaults": {"virtualNetwork": {"create": True}}}, "defaults.virtualNetwork.spec: say how NICs are plugged"),
        ({"metrics": {"prometheusRule": {"runbookUrl": "docs"}}}, "at '/metrics/prometheusRule/runbookUrl'"),
    ],
)
def test_a_bad_value_is_refused_with_its_path(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(CommandError) as refused:
        render(values=values)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"imageRegistry": "registry.example.com/team/"},
        {"imageRegistry": "registry.example.com:5000"},
        {"imageRegistry": "localhost:5000/a_b/c-d"},
        {"imageRegistry": "team"},
        {"operator": {"image": {"repository": "10.1.2.3:5000/team/berth-operator"}}},
        {"operator": {"image": {"tag": "latest", "pullPolicy": "Always"}}},
        {"anchor": {"image": {"tag": "latest"}}},
        {
            "operator": {
                "settings": {"heartbeat_timeout": "40", "workers": 8, "backoff_first": "0.25", "mac_prefix": 52}
            }
        },
        {"agent": {"settings": {"accelerator": "tcg", "image_denied_cidrs": "", "image_keep": 0, "workers": "4"}}},
        {"operator": {"ports": {"health": 9090}}},
        {"agent": {"ports": {"health": 10480}}, "metrics": {"enabled": False}},
        {"crds": {"deadlineSeconds": 120}},
        *({"metrics": {"serviceMonitor": {"interval": each}}} for each in ("1h", "90s", "1m30s", "500ms")),
    ],
)
def test_a_good_value_is_taken(values: Mapping[str, Any]) -> None:
    assert render(values=values).has("Deployment", "berth-operator")


@pytest.mark.parametrize("switch", [True, False, None])
def test_a_chart_that_depends_on_this_one_can_switch_it(tmp_path: Path, switch: bool | None) -> None:
    """Helm hands a dependency all values below its name, its condition's as well."""
    dependency = {"name": "berth", "version": VERSION, "repository": "", "condition": "berth.enabled"}
    whole = {"apiVersion": "v2", "name": "whole", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(json.dumps(whole))
    given: dict[str, Any] = {"operator": {"replicas": 3}}
    given |= {} if switch is None else {"enabled": switch}
    (tmp_path / "values.yaml").write_text(json.dumps({"berth": given, "global": {"a": 1}}))
    shutil.copytree(CHART, tmp_path / "charts" / "berth")
    release = render(chart=tmp_path)
    assert [each["spec"]["replicas"] for each in release.of("Deployment")] == ([] if switch is False else [3])


def test_an_older_kubernetes_is_refused() -> None:
    with pytest.raises(CommandError, match=r"chart requires kubeVersion: >=1\.32"):
        render(kubernetes="1.31.9")


def test_the_schema_lets_no_unknown_value_pass_anywhere() -> None:
    free = {"labels", "annotations", "quantities", "kubernetesObject"}

    def check(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object":
                open_ended = path in {f"/definitions/{name}" for name in free} | {"/properties/global"}
                assert open_ended or node.get("additionalProperties") is False, path
            for name, child in node.items():
                check(child, f"{path}/{name}")

    check(SCHEMA, "")


def test_every_value_that_the_schema_knows_has_a_default_and_the_other_way_round() -> None:
    def check(schema: Mapping[str, Any], value: Any, path: str) -> None:
        while "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].removeprefix("#/definitions/")]
        if not path.endswith((".settings", ".requests", ".limits")) and "properties" in schema:
            of_helm = set() if path else {"global", "enabled"}
            assert set(schema["properties"]) - of_helm == set(value), path
            for name, child in schema["properties"].items():
                if name not in of_helm:
                    check(child, value[name], f"{path}.{name}")

    check(SCHEMA, VALUES, "")


@pytest.mark.parametrize("part", PARTS)
def test_every_setting_can_be_given_once_by_the_chart_or_by_its_name(part: str) -> None:
    model, prefix, kind, name = PARTS[part]
    release = rendered("everything")
    (container,) = release.one(kind, name)["spec"]["template"]["spec"]["containers"]
    given = [each["name"].removeprefix(prefix).lower() for each in container["env"]]
    assert len(given) == len(set(given)), "the same variable twice"
    by_name = set(SCHEMA["definitions"][f"{part}Settings"]["properties"])
    by_chart = set(given) - set(VALUES[part]["settings"]) - {"heartbeat_timeout", "mac_prefix", "backoff_first"}
    by_chart -= {"accelerator"}
    assert by_name | by_chart | NOT_IN_A_POD == set(model.model_fields) | NOT_IN_A_POD
    assert not by_name & by_chart


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", ["defaults on 1.36", "everything", "little"])
def test_what_the_chart_sets_is_valid(part: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prefix, kind, name = PARTS[part]
    (container,) = rendered(case).one(kind, name)["spec"]["template"]["spec"]["containers"]
    for each in container["env"]:
        monkeypatch.setenv(each["name"], each.get("value", "node-1"))
    settings = model()
    assert all(each["name"].removeprefix(prefix).lower() in type(settings).model_fields for each in container["env"])


def test_numbers_are_written_as_they_are_meant() -> None:
    (container,) = rendered("everything").one("Deployment", "berth-operator")["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["BERTH_OPERATOR_HEARTBEAT_TIMEOUT"] == "1000000"
    assert given["BERTH_OPERATOR_BACKOFF_FIRST"] == "0.25"


def test_the_schedulers_profiles_reach_the_operator(tmp_path: Any) -> None:
    text = rendered("everything").one("ConfigMap", "berth-scheduler")["data"]["scheduler.yaml"]
    file = tmp_path / "scheduler.yaml"
    file.write_text(text)
    assert "dense" in read_profiles(file)


def test_a_value_without_a_comment_cannot_be_added() -> None:
    with pytest.raises(Undocumented, match=r"agent\.ports\.metrics has no comment"):
        values_table("agent:\n  ports:\n    metrics: 1\n")


def test_the_table_has_a_line_for_each_value() -> None:
    table = values_table("a:\n  # -- One | two,\n  # -- three.\n  b: {c: 1}\n# -- More.\nd: []\n")
    assert table.splitlines()[2:] == ['| `a.b` | `{"c": 1}` | One \\| two, three. |', "| `d` | `[]` | More. |"]
