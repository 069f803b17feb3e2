"""A watch does what is missing, no faster than it may, and tells what it sees."""

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from berth_libvirt import watch
from berth_libvirt.errors import LaunchFailed, NodeUnsuited
from berth_libvirt.processes import LIBVIRTD, VIRTLOGD, Process
from berth_libvirt.settings import Settings
from berth_libvirt.watch import Watch

WANTED, FORMER = "a" * 16, "f" * 16


class Daemons:
    """Starts nothing, and remembers what it was asked to start; fails when told to."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.failure = ""

    def start(self, name: str) -> None:
        self.started.append(name)
        if self.failure:
            raise LaunchFailed(self.failure)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings.of(
        {
            "BERTH_LIBVIRT_ROOT_DIR": str(tmp_path / "trees"),
            "BERTH_LIBVIRT_SOCKET_DIR": str(tmp_path / "run"),
            "BERTH_LIBVIRT_SHARED": str(tmp_path / "disks"),
        }
    )
    (made.folder / WANTED).mkdir(parents=True)
    made.sockets.mkdir()
    watch.prepare(made, watch.say_for("node-1"))
    return made


def a_watch(
    settings: Settings,
    daemons: Daemons,
    clock: Clock,
    said: list[dict[str, object]],
    remove: Callable[[Path], None] = shutil.rmtree,
) -> Watch:
    def say(event: str, **fields: object) -> None:
        said.append({"event": event, **fields})

    return Watch(settings, WANTED, say, start=daemons.start, clock=clock, remove=remove)


def test_what_is_missing_is_started_and_a_failure_told_and_tried_again_later(settings: Settings) -> None:
    daemons, clock, said = Daemons(), Clock(), list[dict[str, object]]()
    one = a_watch(settings, daemons, clock, said)
    daemons.failure = "no room"
    assert one.round() == []
    assert daemons.started == [VIRTLOGD, LIBVIRTD]
    assert {"event": "was not started", "daemon": LIBVIRTD, "error": "no room"} in said
    one.round()
    assert len(daemons.started) == 2, "not before it is due"
    assert one.pause([]) == pytest.approx(1.0)
    clock.now += 1.0
    one.round()
    assert daemons.started == [VIRTLOGD, LIBVIRTD] * 2


def test_with_both_running_only_their_end_is_waited_for(settings: Settings) -> None:
    one = a_watch(settings, Daemons(), Clock(), [])
    running = [Process(1, 1, 0, name, WANTED) for name in (VIRTLOGD, LIBVIRTD)]
    assert one.pause(running) == pytest.approx(5.0)
    assert one.pause(running[:1]) < 1.0, "a libvirtd that has died is started at once"


def test_beside_another_libvirtd_nothing_is_started_and_it_is_told_once(settings: Settings) -> None:
    daemons, said = Daemons(), list[dict[str, object]]()
    one = a_watch(settings, daemons, Clock(), said)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(settings.socket))
        other.listen()
        assert watch.server_of(settings.socket) == os.getpid()
        for _ in range(2):
            one.round()
        assert daemons.started == []
        (told,) = said
        assert f"process {os.getpid()} serves" in str(told["error"])
        assert one.pause([]) == pytest.approx(5.0), "which may stay for long"
    assert watch.server_of(settings.socket) is None
    one.round()
    assert daemons.started == [VIRTLOGD, LIBVIRTD]


def test_a_tree_that_nothing_runs_from_is_removed_and_told(settings: Settings) -> None:
    said: list[dict[str, object]] = []
    (settings.folder / FORMER).mkdir()
    a_watch(settings, Daemons(), Clock(), said).round()
    assert {path.name for path in settings.folder.iterdir()} == {WANTED, "state"}
    assert [each["tree"] for each in said] == [FORMER]


def test_a_tree_that_cannot_be_removed_is_told_once_and_ends_nothing(
    settings: Settings,
) -> None:
    daemons, said = Daemons(), list[dict[str, object]]()
    (settings.folder / FORMER).mkdir()

    def remove(path: Path) -> None:
        raise OSError(errno.EBUSY, "busy", str(path))

    one = a_watch(settings, daemons, Clock(), said, remove)
    for _ in range(2):
        one.round()
    assert daemons.started == [VIRTLOGD, LIBVIRTD]
    (told,) = said
    assert (told["tree"], told["event"]) == (FORMER, "a tree that nothing runs from cannot be removed")


def test_what_a_daemon_logs_is_passed_on_from_now_on(settings: Settings) -> None:
    said: list[dict[str, object]] = []
    log = settings.state / "log/libvirtd.log"
    log.write_text("of the former watch\n", encoding="utf-8")
    one = a_watch(settings, Daemons(), Clock(), said)
    running = [Process(os.getpid(), -1, 0, name, WANTED) for name in (VIRTLOGD, LIBVIRTD)]
    with log.open("a", encoding="utf-8") as stream:
        stream.write("error: disk is full\n")
    one.pass_on()
    one.wait(running)
    assert [each["line"] for each in said] == ["error: disk is full"]


def test_what_the_first_daemon_logs_is_passed_on_from_its_first_line_and_all_of_it(settings: Settings) -> None:
    said: list[dict[str, object]] = []
    one = a_watch(settings, Daemons(), Clock(), said)
    lines = [f"{number} {100 * 'x'}" for number in range(2000)]
    (settings.state / "log/libvirtd.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    one.pass_on()
    assert [each["line"] for each in said] == lines


def test_the_probes_link_leads_to_the_socket_only_while_our_libvirtd_serves(settings: Settings) -> None:
    said: list[dict[str, object]] = []
    one = a_watch(settings, Daemons(), Clock(), said)
    settings.serving.symlink_to("/of/former/settings")
    for _ in range(2):
        one.mark(serves=True)
        assert settings.serving.readlink() == settings.socket
    one.round()
    assert not settings.serving.is_symlink(), "no libvirtd runs from a tree"
    settings.serving.mkdir()
    one.mark(serves=True)
    assert [each["event"] for each in said] == ["cannot tell the readiness probe"]


def test_systemd_that_listens_for_a_libvirtd_is_called_by_its_unit(settings: Settings) -> None:
    said: list[dict[str, object]] = []
    a_watch(settings, Daemons(), Clock(), said).tell_stranger(1)
    assert "libvirtd.socket" in str(said[0]["error"])


def test_only_one_looks_after_a_node(tmp_path: Path) -> None:
    with (
        watch.held(tmp_path),
        pytest.raises(NodeUnsuited, match="another container"),
        watch.held(tmp_path, timeout=0.0),
    ):
        pass
    with watch.held(tmp_path, timeout=0.0):
        pass


def test_the_log_is_lines_of_json_that_name_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    watch.say_for("node-1")("stopped", daemon=LIBVIRTD, pid=12)
    line = json.loads(capsys.readouterr().out)
    assert {
        "level": "info",
        "event": "stopped",
        "node": "node-1",
        "daemon": LIBVIRTD,
        "pid": 12,
    }.items() <= line.items()
