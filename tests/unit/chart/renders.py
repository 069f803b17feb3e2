"""The chart, rendered with values: objects to ask questions of."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from berth_dev import commands
from berth_dev.caches import cache_root
from berth_dev.progress import silent
from berth_dev.tools import build_helm

PROJECT = Path(__file__).parents[3]
CHART = PROJECT / "charts" / "berth"
NAMESPACE = "machines"
"""Not the one that the files name: nothing of theirs may be left."""
MUTATING = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
MONITORS = "monitoring.coreos.com/v1"

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Container:
    """A container, in the Pod and the object that it is of."""

    owner: str
    pod: Object
    spec: Object
    is_init: bool

    def __str__(self) -> str:
        return f"{self.owner}, container {self.spec['name']}"


class Release:
    """What one `helm template` gave."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.objects: Sequence[Object] = [each for each in yaml.safe_load_all(text) if each]

    def of(self, *kinds: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object:
        (found,) = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        return found

    def has(self, kind: str, name: str) -> bool:
        return any(each["metadata"]["name"] == name for each in self.of(kind))

    @cached_property
    def pods(self) -> Sequence[tuple[str, Object]]:
        """Every Pod and Pod template: whose it is, and labels and spec."""
        return [
            (named(each), each if each["kind"] == "Pod" else each["spec"]["template"])
            for each in self.of("Deployment", "DaemonSet", "Job", "Pod")
        ]

    @cached_property
    def containers(self) -> Sequence[Container]:
        return [
            Container(owner, pod["spec"], spec, part == "initContainers")
            for owner, pod in self.pods
            for part in ("initContainers", "containers")
            for spec in pod["spec"].get(part, ())
        ]


def named(thing: Object) -> str:
    return f"{thing['kind']} {thing['metadata']['name']}"


def helm_program() -> Path:
    return build_helm(cache_root(), silent)


def render(
    *arguments: str, values: Mapping[str, Any] | None = None, kubernetes: str = "1.36.0", chart: Path = CHART
) -> Release:
    """Render the chart, or another one.

    Raises:
        CommandError: helm refuses; the message has what it said.
    """
    base = ["template", "berth", str(chart), "--namespace", NAMESPACE, "--kube-version", kubernetes]
    given = ["--values", "-"] if values else []
    argv = [str(helm_program()), *base, *given, *arguments]
    return Release(commands.run(argv, stdin=json.dumps(values) if values else None, timeout=60.0).stdout)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All values in an object that are neither mappings nor lists, with their paths."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from leaves(child, (*path, str(name)))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from leaves(child, (*path, str(number)))
    else:
        yield path, value
