"""A process is never mistaken for a later one with its id."""

import os
import signal
import sys
from pathlib import Path

import pytest

from berth_dev import processes
from berth_dev.errors import DevError
from berth_dev.processes import ProcessIdentity, parse_stat

_STAT = "{name} {state} 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {start} 8192 100"


def _sleeper(tmp_path: Path) -> ProcessIdentity:
    return processes.spawn(["/bin/sleep", "300"], env=dict(os.environ), log=tmp_path / "log")


def test_a_name_with_parentheses_and_spaces_does_not_shift_the_fields() -> None:
    stat = "7 " + _STAT.format(name="(a) R 2 (b)", state="S", start=4711)
    assert parse_stat(7, stat) == ProcessIdentity(7, 4711)


def test_a_zombie_is_no_process() -> None:
    assert parse_stat(7, "7 " + _STAT.format(name="(x)", state="Z", start=1)) is None


def test_a_recycled_id_gets_no_signal(tmp_path: Path) -> None:
    alive = _sleeper(tmp_path)
    try:
        former = ProcessIdentity(alive.pid, alive.start_ticks - 1)
        assert not former.is_alive()
        assert not former.send(signal.SIGKILL)
        former.end(grace=0)
        assert alive.is_alive()
    finally:
        alive.end(grace=0)
    assert not alive.is_alive()


def test_what_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    program = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); signal.pause()"
    )
    log = tmp_path / "log"
    identity = processes.spawn([sys.executable, "-c", program], env=dict(os.environ), log=log)
    while "on" not in log.read_text(encoding="utf-8"):
        assert identity.is_alive()
    identity.end(grace=0.1)
    assert not identity.is_alive()


def test_it_lives_in_a_session_of_its_own_and_writes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    identity = processes.spawn(["/bin/sh", "-c", "echo out; echo err >&2; exec sleep 300"], env={}, log=log)
    try:
        assert os.getsid(identity.pid) == identity.pid
        while "err" not in log.read_text(encoding="utf-8"):
            assert identity.is_alive()
        assert log.read_text(encoding="utf-8") == "out\nerr\n"
        assert log.stat().st_mode & 0o077 == 0
    finally:
        identity.end(grace=0)


def test_a_record_survives_and_a_missing_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.json"
    assert processes.load(path) is None
    processes.save(ProcessIdentity(12, 34), path)
    assert processes.load(path) == ProcessIdentity(12, 34)


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DevError, match="cannot be started"):
        processes.spawn([str(tmp_path / "none")], env={}, log=tmp_path / "log")
