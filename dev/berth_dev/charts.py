"""What follows from the chart and is committed all the same: `python -m berth_dev.charts`, with `--check` to compare.

The CRDs are in the chart because Helm reads them from there alone, and as files, not links: some GitOps tools pack a
repository without its links. The kustomize base is for whoever uses no Helm, the table of values for whoever reads.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings

from berth_agent.settings import AgentSettings
from berth_dev import commands
from berth_dev.caches import cache_root
from berth_dev.progress import Say, timed_lines
from berth_dev.settingschemas import with_settings
from berth_dev.tools import build_helm
from berth_dev.valuetables import values_table
from berth_operator.settings import Settings

NAMESPACE = "berth-system"
TABLE_BEGIN, TABLE_END = "<!-- values: generated -->", "<!-- values: end -->"
_KUBE_VERSION = "1.36.0"
_HEADER = "# Generated from charts/berth by `make generate`. Do not edit.\n"
_OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by")
_MUTATING = frozenset({"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"})
_DEFAULTS = frozenset({"StoragePool", "VirtualNetwork"})
"""Kinds of what stays when Berth goes: `kubectl delete -f berth.yaml` is what `helm uninstall` is."""
_SETTINGS: Mapping[str, type[BaseSettings]] = {"operatorSettings": Settings, "agentSettings": AgentSettings}

Render = Callable[..., str]
"""Runs `helm template` with further arguments; its standard output."""


def renderer(project: Path, helm: Path) -> Render:
    """What renders the project's chart.

    Args:
        project: The project's root.
        helm: The program.
    """

    def render(*arguments: str) -> str:
        base = ["template", "berth", str(project / "charts" / "berth"), "--namespace", NAMESPACE]
        return commands.run([str(helm), *base, "--kube-version", _KUBE_VERSION, *arguments], timeout=60.0).stdout

    return render


def generated(project: Path, render: Render) -> dict[Path, str]:
    """The text of each generated file, by its path in the project."""
    kustomize = Path("charts", "kustomize")
    objects = list(_objects(render("--no-hooks", "--skip-tests", "--set", "policies.finalizer=true")))
    namespace = yaml.safe_load((project / "charts" / "berth" / "files" / "namespace.yaml").read_text())
    definitions = list(_objects("\n---\n".join(path.read_text() for path in _crds(project))))
    base = {
        "crds.yaml": definitions,
        "namespace.yaml": [namespace],
        "berth.yaml": [each for each in objects if each["kind"] not in _MUTATING | _DEFAULTS],
        "defaults.yaml": [each for each in objects if each["kind"] in _DEFAULTS],
    }
    policy = {"policy.yaml": [each for each in objects if each["kind"] in _MUTATING]}
    install = Path("docs", "install.md")
    schema = Path("charts", "berth", "values.schema.json")
    return {
        **{Path("charts", "berth", "crds", path.name): path.read_text() for path in _crds(project)},
        **_folder(kustomize / "base", base, "kustomize.config.k8s.io/v1beta1", "Kustomization"),
        **_folder(kustomize / "finalizer-policy", policy, "kustomize.config.k8s.io/v1alpha1", "Component"),
        schema: with_settings((project / schema).read_text(), _SETTINGS),
        install: _with_table((project / install).read_text(), (project / "charts/berth/values.yaml").read_text()),
    }


def stale(project: Path, render: Render) -> list[Path]:
    """Paths in the project of files that are missing, differ, or should not be there."""
    wanted = generated(project, render)
    folders = {project / path.parent for path in wanted if path.suffix == ".yaml"}
    found = {file.relative_to(project) for folder in folders for file in folder.glob("*.yaml")}
    differing = {path for path, text in wanted.items() if not _says(project / path, text)}
    return sorted(differing | (found - wanted.keys()))


def write(project: Path, render: Render) -> None:
    """Write all files."""
    for path, text in generated(project, render).items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)


def _says(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def _crds(project: Path) -> list[Path]:
    return sorted((project / "crds").glob("*.yaml"))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The objects of a stream, without what says that Helm looks after them."""
    for each in yaml.safe_load_all(text):
        if each:
            _strip(each)
            yield each


def _strip(node: Any) -> None:
    if isinstance(node, dict):
        for name in _OF_HELM:
            node.get("labels", {}).pop(name, None) if isinstance(node.get("labels"), dict) else None
        if isinstance(node.get("annotations"), dict) and not _drop_helms(node["annotations"]):
            del node["annotations"]
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        _strip(child)


def _drop_helms(annotations: dict[str, Any]) -> dict[str, Any]:
    for name in [name for name in annotations if name.startswith("helm.sh/")]:
        del annotations[name]
    return annotations


def _folder(folder: Path, files: Mapping[str, Sequence[Mapping[str, Any]]], version: str, kind: str) -> dict[Path, str]:
    listing = {"apiVersion": version, "kind": kind, "resources": sorted(files)}
    texts = {name: _dumped(objects) for name, objects in files.items()}
    return {folder / name: text for name, text in {**texts, "kustomization.yaml": _dumped([listing])}.items()}


def _dumped(objects: Iterable[Mapping[str, Any]]) -> str:
    return _HEADER + yaml.safe_dump_all(objects, sort_keys=False, width=110)


def _with_table(text: str, values: str) -> str:
    before, _, rest = text.partition(TABLE_BEGIN)
    _, _, after = rest.partition(TABLE_END)
    return f"{before}{TABLE_BEGIN}\n{values_table(values)}{TABLE_END}{after}"


def main(arguments: Sequence[str] | None = None, *, say: Say | None = None) -> int:
    """Run the command line; the exit status is 1 where `--check` finds a difference."""
    parser = argparse.ArgumentParser(
        prog="python -m berth_dev.charts", description="Write what follows from the chart."
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file is not up to date")
    options = parser.parse_args(arguments)
    project = Path(__file__).resolve().parents[2]
    render = renderer(project, build_helm(cache_root(), say or timed_lines()))
    if not options.check:
        write(project, render)
        return 0
    differing = stale(project, render)
    for path in differing:
        sys.stderr.write(f"{path} is not what the chart says: run `make generate`\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
