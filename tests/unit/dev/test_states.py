"""A run's record is whole or not there, and locks die with their holder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from berth_dev import states
from berth_dev.errors import DevError
from berth_dev.states import Artifacts, Options, Run


def _run(root: Path, name: str = "c") -> Run:
    (root / name).mkdir(parents=True)
    return Run(name, states.new_run_id(), 5, root / name, Options(agent_env={"A": "b"}), Artifacts(root, root, root))


def test_a_record_reads_as_it_was_written(tmp_path: Path) -> None:
    run = _run(tmp_path)
    run.save()
    assert states.load("c", tmp_path) == run
    assert states.load_all(tmp_path) == [run]


def test_no_record_is_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    assert states.load("c", tmp_path) is None
    assert states.load_all(tmp_path / "none") == []


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(DevError, match=r"run\.json"):
        states.load("c", tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "a" * 21, "a b"])
def test_a_name_that_would_make_an_unsafe_path_is_refused(name: str) -> None:
    with pytest.raises(DevError, match="cluster name"):
        states.check_name(name)


def test_a_lock_that_is_held_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    with (
        states.locked(tmp_path / "x"),
        pytest.raises(DevError, match="in use"),
        states.locked(tmp_path / "x", timeout=0),
    ):
        pass
    with states.locked(tmp_path / "x", timeout=0):
        pass


def test_a_killed_holder_holds_no_longer(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys\nfrom berth_dev import states\n"
        "with states.locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(DevError, match="in use"), states.locked(tmp_path / "x", timeout=0):
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout=10)
    with states.locked(tmp_path / "x", timeout=0):
        pass


def test_nodes_without_a_libvirtd_take_kubelets_for_the_chart_to_bring_one() -> None:
    with pytest.raises(DevError, match="kubelets"):
        Options(libvirt=False)
    assert not Options(libvirt=False, kubelets=True, operator=False, agent=False).libvirt
