"""The release before the present one, as the project's history has it: what upgrades are tried from.

A release is a version of the chart, and lasts until the commit that changes it: the last commit before that is what was
released. No tag is needed, nor anything that is elsewhere. The former tree is built by its own recipe, charts and all.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from berth_dev import commands
from berth_dev.caches import cached
from berth_dev.errors import CommandError, DevError
from berth_dev.progress import Say

_CHART = "charts/berth/Chart.yaml"


@dataclass(frozen=True)
class FormerRelease:
    """A release that was.

    Attributes:
        version: Its version.
        commit: Its last commit.
    """

    version: str
    commit: str

    def tree(self, cache: Path, project: Path, say: Say) -> Path:
        """Return a folder with the release's whole tree.

        Args:
            cache: The cache's root.
            project: The root of a clone that has the commit.
            say: Takes progress lines.

        Raises:
            CommandError: git or tar is missing, or failed.
        """

        def export(folder: Path) -> None:
            with tempfile.TemporaryDirectory() as scratch:
                archive = Path(scratch) / "tree.tar"
                _git(project, "archive", "--format=tar", f"--output={archive}", self.commit)
                commands.run(["tar", "-x", "-f", str(archive), "-C", str(folder)])

        return cached(cache / "former-release", self.commit, f"exporting release {self.version}", export, say)


def former_release(project: Path) -> FormerRelease:
    """Find the last release before the one that the project's tree is of.

    Args:
        project: The root of a clone.

    Raises:
        DevError: This is no clone, or one without the history that it takes; or there was no other release.
    """
    present = _version((project / _CHART).read_text(encoding="utf-8"))
    last = "HEAD"
    try:
        # Along first parents: what a branch did before it was merged was never released.
        for changed in _git(project, "log", "--first-parent", "--format=%H", "--", _CHART).split():
            version = _version(_git(project, "show", f"{changed}:{_CHART}"))
            if version != present:
                return FormerRelease(version, _git(project, "rev-parse", last).strip())
            last = f"{changed}^"
    except CommandError as error:
        raise DevError(f"{error} (the former release is found in the project's history: it takes all of it)") from error
    raise DevError(f"the history that is here knows of no release before {present}: clone all of it")


def _version(chart: str) -> str:
    return str(yaml.safe_load(chart)["version"])


def _git(project: Path, *arguments: str) -> str:
    # By itself git reads no clone of another user's, such as one that is mounted into a container. This one is trusted:
    # its program is running.
    return commands.run(["git", "-c", f"safe.directory={project.resolve()}", "-C", str(project), *arguments]).stdout
