"""A cluster is of a release of Kubernetes that can be built, and all of it of the same."""

from pathlib import Path
from re import MULTILINE, findall

import pytest

from berth_dev import __main__ as command_line
from berth_dev import statuses
from berth_dev.errors import DevError
from berth_dev.kind import cluster_config
from berth_dev.kube import has_mutating_policies, static_manifests
from berth_dev.kubernetesreleases import NEWEST, OLDEST, RELEASES, KubernetesRelease, release_of
from berth_dev.states import Artifacts, Options, Run

PROJECT = Path(__file__).parents[3]
MODULES = PROJECT / "dev" / "controlplane"


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: str(release.minor))
def test_the_modules_of_a_release_are_those_of_its_version(release: KubernetesRelease) -> None:
    required = findall(r"^\tk8s\.io/kubernetes (\S+)$", (MODULES / release.modules).read_text("utf-8"), MULTILINE)
    assert required == [release.version]
    assert f"k8s.io/kubernetes {release.version} " in (MODULES / release.sums).read_text("utf-8")
    assert release.version.startswith(f"v{release.minor}.")


def test_the_oldest_is_the_one_that_the_chart_asks_for() -> None:
    chart = (PROJECT / "charts" / "berth" / "Chart.yaml").read_text("utf-8")
    assert f'kubeVersion: ">={OLDEST.minor}.0-0"' in chart


def test_a_release_that_cannot_be_built_is_refused_with_those_that_can() -> None:
    assert release_of("1.32") is OLDEST
    with pytest.raises(DevError, match=r"1\.36 or 1\.32, not '1\.30'"):
        Options(kubernetes="1.30")


def test_up_is_of_the_newest_where_nothing_else_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    parser = command_line.parser()
    assert parser.parse_args(["up"]).kubernetes == NEWEST.minor == Options().kubernetes
    assert parser.parse_args(["up", "--kubernetes", "1.32"]).kubernetes == OLDEST.minor
    with pytest.raises(SystemExit):
        parser.parse_args(["up", "--kubernetes", "1.30"])
    assert "1.36" in capsys.readouterr().err


def test_make_hands_the_release_over_only_if_it_is_given() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    assert "KUBERNETES ?=\n" in makefile
    assert "$(addprefix --kubernetes ,$(KUBERNETES))" in makefile


def test_the_status_tells_the_release(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path, tmp_path, tmp_path)
    run = Run("c", "id", 3, tmp_path, Options(kubernetes=OLDEST.minor), artifacts)
    assert f"cluster c (process): Kubernetes {OLDEST.version}, " in statuses.describe(run)


def test_kinds_nodes_are_of_the_release() -> None:
    config = cluster_config(1, tmp := Path("/p"), tmp, tmp, kubernetes=OLDEST)
    assert str(config).count(f"kindest/node:{OLDEST.version}") == 2


@pytest.mark.parametrize(("kinds", "has"), [(["MutatingAdmissionPolicy", "X"], True), (["X"], False)])
def test_what_a_server_does_not_have_is_left_out(kinds: list[str], has: bool) -> None:
    answer = str({"resources": [{"kind": kind} for kind in kinds]}).replace("'", '"')
    assert has_mutating_policies(lambda *_: answer) is has
    names = {path.name for path in static_manifests(PROJECT, mutating=has)}
    assert ("vm-finalizer.yaml" in names) is has
    assert {"namespace.yaml", "agent-leases.yaml", "disk-sizes.yaml"} <= names
