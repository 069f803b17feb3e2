"""The release before the present one is found in the project's history, however it went on."""

from pathlib import Path

import pytest

from berth_dev import commands
from berth_dev.errors import CommandError, DevError
from berth_dev.history import FormerRelease, former_release
from berth_dev.progress import silent

_NOBODY = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false")


class Project:
    """A clone with a chart, made a commit at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.chart = root / "charts" / "berth" / "Chart.yaml"
        self.chart.parent.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        return commands.run(["git", "-C", str(self.root), *_NOBODY, *arguments]).stdout.strip()

    def write(self, version: str, more: str = "") -> None:
        self.chart.write_text(f"name: berth\nversion: {version}\n# {more}\n", encoding="utf-8")

    def commit(self, version: str, more: str = "") -> str:
        """Commit the chart and one more file; returns the commit."""
        self.write(version, more)
        with (self.root / "work").open("a", encoding="utf-8") as file:
            file.write(f"{version} {more}\n")
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", f"{version} {more}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "clone")


def test_it_is_the_last_commit_before_the_version_was_changed(project: Project) -> None:
    project.commit("0.1.0")
    last = project.commit("0.1.0", "mended")
    project.commit("0.2.0")
    project.commit("0.2.0", "more")
    assert former_release(project.root) == FormerRelease("0.1.0", last)


def test_of_many_it_is_the_one_before_the_present(project: Project) -> None:
    project.commit("0.1.0")
    last = project.commit("0.2.0")
    project.commit("0.3.0")
    assert former_release(project.root) == FormerRelease("0.2.0", last)


def test_a_version_that_is_not_committed_yet_is_the_present_one(project: Project) -> None:
    project.commit("0.1.0")
    last = project.commit("0.1.0", "mended")
    project.write("0.2.0")
    assert former_release(project.root) == FormerRelease("0.1.0", last)


def test_what_a_branch_did_before_it_was_merged_was_not_released(project: Project) -> None:
    project.commit("0.1.0")
    last = project.commit("0.1.0", "mended")
    project.git("checkout", "--quiet", "-b", "next", "HEAD^")
    project.commit("0.2.0", "on a branch")
    project.git("checkout", "--quiet", "main")
    project.git("merge", "--quiet", "--no-ff", "--strategy-option=theirs", "-m", "merge", "next")
    assert former_release(project.root) == FormerRelease("0.1.0", last)


def test_its_tree_is_what_was_committed(project: Project, tmp_path: Path) -> None:
    project.commit("0.1.0")
    project.commit("0.2.0")
    tree = former_release(project.root).tree(tmp_path / "cache", project.root, silent)
    assert sorted(path.name for path in tree.iterdir()) == ["charts", "work"]
    assert "version: 0.1.0" in (tree / "charts" / "berth" / "Chart.yaml").read_text(encoding="utf-8")


def test_without_the_history_the_error_says_what_to_do(project: Project, tmp_path: Path) -> None:
    project.commit("0.1.0")
    with pytest.raises(DevError, match=r"no release before 0\.1\.0: clone all of it"):
        former_release(project.root)
    bare = Project(tmp_path / "other")
    bare.write("0.1.0")
    with pytest.raises(DevError, match="it takes all of it"):
        former_release(bare.root)


def test_a_clone_of_another_user_is_read_all_the_same(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    last = project.commit("0.1.0")
    project.commit("0.2.0")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "true")
    with pytest.raises(CommandError, match="dubious ownership"):
        project.git("log")
    assert former_release(project.root) == FormerRelease("0.1.0", last)


def test_an_error_begins_with_gits_own_reason(tmp_path: Path) -> None:
    folder = Project(tmp_path / "clone")
    folder.write("0.1.0")
    with pytest.raises(DevError, match=r"^git .*log.*: exit status"):
        former_release(folder.root)
