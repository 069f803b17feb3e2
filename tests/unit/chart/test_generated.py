"""What is committed beside the chart says what the chart says, and nothing has a second truth."""

from pathlib import Path

import pytest
import yaml
from tests.unit.chart.cases import rendered
from tests.unit.chart.renders import CHART, PROJECT, helm_program, render

from berth_api.customresources import CUSTOM_RESOURCES, KEPT, definition
from berth_dev import charts, commands
from berth_dev.errors import CommandError

BASE = PROJECT / "charts" / "kustomize"


def test_everything_that_is_generated_is_up_to_date() -> None:
    assert charts.stale(PROJECT, charts.renderer(PROJECT, helm_program())) == [], "run `make generate`"


def test_a_file_that_differs_or_that_nobody_wants_is_noticed(tmp_path: Path) -> None:
    commands.run(["cp", "-a", *(str(PROJECT / each) for each in ("charts", "crds", "docs")), str(tmp_path)])
    render_there = charts.renderer(tmp_path, helm_program())
    with (tmp_path / "charts/berth/crds/hypervisors.yaml").open("a") as file:
        file.write("# by hand\n")
    (tmp_path / "charts/kustomize/base/more.yaml").write_text("a: 1\n")
    assert [str(path) for path in charts.stale(tmp_path, render_there)] == [
        "charts/berth/crds/hypervisors.yaml",
        "charts/kustomize/base/more.yaml",
    ]
    charts.write(tmp_path, render_there)
    assert [str(path) for path in charts.stale(tmp_path, render_there)] == ["charts/kustomize/base/more.yaml"]


def test_the_chart_carries_the_definitions_that_the_operator_applies() -> None:
    carried = {path.name: yaml.safe_load(path.read_text()) for path in (CHART / "crds").glob("*.yaml")}
    assert carried == {f"{each.kind.plural}.yaml": definition(each) for each in CUSTOM_RESOURCES}


def test_no_tool_takes_definitions_away_and_every_object_with_them() -> None:
    carried = [yaml.safe_load(path.read_text()) for path in (CHART / "crds").glob("*.yaml")]
    for each in (*carried, *yaml.safe_load_all((BASE / "base" / "crds.yaml").read_text())):
        told = each["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
        assert set(told.split(",")) == {"Prune=false", "Delete=false"}, each["metadata"]["name"]
        assert each["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
    assert {each["metadata"]["annotations"]["helm.sh/resource-policy"] for each in carried} == {"keep"}


def test_no_tool_takes_away_what_is_in_the_base_and_outlives_berth() -> None:
    built = commands.run(["kubectl", "kustomize", str(BASE / "base")]).stdout
    kept = [
        each
        for each in yaml.safe_load_all(built)
        if each["kind"] in {"CustomResourceDefinition", "Namespace", "StoragePool"}
    ]
    assert len(kept) == len(CUSTOM_RESOURCES) + 2
    for each in kept:
        annotations = each["metadata"]["annotations"]
        assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled", each["metadata"]["name"]
        assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    removed = {each["kind"] for each in yaml.safe_load_all((BASE / "base" / "berth.yaml").read_text())}
    assert not removed & {each["kind"] for each in kept}, "install.md: deleting that file deletes no VM"


def test_the_base_holds_what_the_chart_installs_and_nothing_of_helms() -> None:
    files = [(BASE / "base" / name).read_text() for name in ("berth.yaml", "defaults.yaml")]
    objects = [each for text in files for each in yaml.safe_load_all(text)]
    hooks = {"berth-crds", "berth-test"}
    chart = {
        (each["kind"], each["metadata"]["name"])
        for each in rendered("defaults on 1.32").objects
        if each["metadata"]["name"] not in hooks
    }
    assert {(each["kind"], each["metadata"]["name"]) for each in objects} == chart
    assert not any("helm" in text.lower() for text in files)


def test_kubectl_builds_the_base_with_the_component(tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    commands.run(["cp", "-a", str(BASE), str(tmp_path / "kustomize")])
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [kustomize/base]\ncomponents: [kustomize/finalizer-policy]\n"
        "images: [{name: berth-operator, newName: example.com/op}]\n"
    )
    built = commands.run(["kubectl", "kustomize", str(tmp_path)]).stdout
    kinds = {each["kind"] for each in yaml.safe_load_all(built)}
    assert {"CustomResourceDefinition", "Namespace", "Deployment", "DaemonSet", "MutatingAdmissionPolicy"} <= kinds
    assert "image: example.com/op:" in built


def test_the_default_pool_is_the_one_that_a_cluster_without_helm_gets() -> None:
    file = yaml.safe_load((CHART / "files" / "defaults" / "storagepool.yaml").read_text())
    pool = rendered("defaults on 1.36").one("StoragePool", "default")
    assert pool["spec"] == file["spec"]
    assert pool["metadata"]["annotations"] == KEPT


def test_the_chart_lints() -> None:
    commands.run([str(helm_program()), "lint", "--strict", "--quiet", str(CHART)])


def test_a_chart_that_does_not_render_is_an_error() -> None:
    with pytest.raises(CommandError, match="exit status"):
        render("--set", "operator=")


def test_manifests_for_gitops_tools_are_yaml_with_a_place_to_go() -> None:
    for path in (PROJECT / "examples" / "gitops").glob("*.yaml"):
        for thing in yaml.safe_load_all(path.read_text()):
            assert thing["metadata"]["name"], path
            assert "ignoreDifferences" not in thing.get("spec", {})
