"""From a cluster, whole or half made or crashed, back to nothing.

Every step finds what there is instead of trusting a list, so each can be repeated, and a run that died halfway through
being taken down is taken down by the next.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from berth_dev import cgroups, links, runs, states
from berth_dev.errors import DevError
from berth_dev.kind import KindCluster
from berth_dev.progress import Say
from berth_dev.states import Run


def take_down(name: str, *, say: Say, root: Path) -> bool:
    """Remove all that a cluster has left on the machine.

    Args:
        name: The cluster's.
        say: Takes progress lines.
        root: Where clusters keep their state.

    Returns:
        Whether there was anything.

    Raises:
        DevError: Something resists, and what.
    """
    states.check_name(name)
    folder = root / name
    if not folder.is_dir():
        return False
    with states.locked(folder):
        run = states.load(name, root)
        if run is not None:
            remove_run(run, say)
        runs.remove_tree(folder)
    with suppress(OSError):
        root.rmdir()
    return True


def remove_run(run: Run, say: Say, *, keep_logs: bool = False) -> None:
    """Remove what a run has started and made; its record goes last.

    Args:
        run: The run.
        say: Takes progress lines.
        keep_logs: Leave the logs, for whoever wants to know why it failed.
    """
    if run.backend == "kind":
        KindCluster(run).delete()
    ended = runs.end_all(run.run_id)
    removed = links.remove(run.plan)
    groups = cgroups.remove(run.run_id)
    say(f"{run.cluster}: {ended} processes ended, {removed} links and {groups} control groups removed")
    for entry in run.state.iterdir():
        if entry.name in {"run.json", "logs"}:
            continue
        if entry.is_dir():
            runs.remove_tree(entry)
        else:
            entry.unlink()
    if not keep_logs:
        shutil.rmtree(run.state / "logs", ignore_errors=True)
    (run.state / "run.json").unlink()
    if runs_left := list(runs.find(run.run_id)):
        raise DevError(f"processes came back: {[one.pid for one in runs_left]}")
