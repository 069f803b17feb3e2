"""Labels and annotations that values name meet those of the chart: each key is there once, or tools refuse it."""

from collections.abc import Hashable
from typing import Any

import yaml
from tests.unit.chart.renders import Release, render

_MET = {
    "commonLabels": {"example.com/a": "common", "example.com/b": "common"},
    "operator": {
        "podLabels": {"example.com/a": "pod", "app.kubernetes.io/name": "mine", "helm.sh/chart": "mine"},
        "podAnnotations": {"checksum/scheduler": "mine", "example.com/c": "d"},
        "schedulerConfig": {"profiles": [{"name": "dense", "scores": {"MostAllocated": 5}}]},
    },
    "agent": {"podLabels": {"app.kubernetes.io/component": "mine", "example.com/a": "pod"}},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"example.com/a": "monitor"}},
        "prometheusRule": {"enabled": True, "labels": {"example.com/a": "rule"}},
        "dashboard": {"enabled": True, "labels": {"example.com/a": "dashboard"}},
    },
}


class _Strict(yaml.SafeLoader):
    """Takes no key twice, as YAML says and PyYAML does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice in {sorted(keys)}"
        return super().construct_mapping(node, deep)


def read_strictly(release: Release) -> None:
    assert list(yaml.load_all(release.text, Loader=_Strict))


def test_no_key_is_there_twice(release: Release) -> None:
    read_strictly(release)


def test_the_charts_own_win_over_those_of_one_object_and_these_over_those_of_all() -> None:
    release = render(values=_MET)
    read_strictly(release)
    for kind, part in (("Deployment", "operator"), ("DaemonSet", "agent")):
        workload = release.one(kind, f"berth-{part}")
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert (labels["example.com/a"], labels["example.com/b"]) == ("pod", "common")
        assert labels["helm.sh/chart"].startswith("berth-")
    annotations = release.one("Deployment", "berth-operator")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["example.com/c"] == "d"
    assert len(annotations["checksum/scheduler"]) == 64, "without it a changed profile starts no operator anew"
    for kind, name, wanted in (
        ("ServiceMonitor", "berth-operator", "monitor"),
        ("PodMonitor", "berth-agent", "monitor"),
        ("PrometheusRule", "berth", "rule"),
        ("ConfigMap", "berth-dashboard", "dashboard"),
    ):
        labels = release.one(kind, name)["metadata"]["labels"]
        assert (labels["example.com/a"], labels["example.com/b"]) == (wanted, "common"), name
