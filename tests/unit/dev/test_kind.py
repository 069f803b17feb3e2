"""What kind and Docker are told to do. No Docker engine is needed, and none has confirmed that they do it."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from berth_dev import kind
from berth_dev.errors import CommandError
from berth_dev.progress import silent
from berth_dev.states import Artifacts, Options, Run

_INSPECTED = json.dumps([{"NetworkSettings": {"Networks": {"kind": {"IPAddress": "172.18.0.3"}}}}])


class RecordingRunner:
    """Notes every command, answers `docker inspect`, and fails those that it is told to fail."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[tuple[list[str], str | None]] = []
        self._failing = failing

    def __call__(self, argv: Sequence[str], stdin: str | None, timeout: float) -> str:
        assert timeout > 0
        self.calls.append((list(argv), stdin))
        if self._failing and self._failing in argv:
            raise CommandError(f"{self._failing}: no")
        return _INSPECTED if "inspect" in argv else ""

    def commands(self) -> list[str]:
        return [" ".join(argv) for argv, _ in self.calls]


def _cluster(runner: RecordingRunner, state: Path, nodes: int = 2) -> kind.KindCluster:
    artifacts = Artifacts(Path("/cache/bin"), Path("/cache/cni"), Path("/cache/images"))
    return kind.KindCluster(Run("dev", "id", 0, state, Options(nodes=nodes), artifacts, "kind"), runner)


def test_kind_makes_a_control_plane_and_the_workers_with_what_the_agent_needs(tmp_path: Path) -> None:
    runner = RecordingRunner()
    _cluster(runner, tmp_path).create(Path("/project"))
    argv, stdin = runner.calls[0]
    assert argv[:5] == ["kind", "create", "cluster", "--name", "berth-dev"]
    assert str(tmp_path / "kubeconfig") in argv
    nodes = json.loads(stdin or "")["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    assert {mount["hostPath"] for mount in nodes[1]["extraMounts"]} == {"/project", "/cache/cni", "/cache/images"}
    assert all(mount["readOnly"] for mount in nodes[1]["extraMounts"])


def test_workers_are_called_as_kind_calls_them() -> None:
    assert kind.worker_names("dev", 3) == ["berth-dev-worker", "berth-dev-worker2", "berth-dev-worker3"]


def test_every_worker_gets_libvirt_the_bridge_and_the_images(tmp_path: Path) -> None:
    runner = RecordingRunner()
    _cluster(runner, tmp_path).prepare_nodes(silent)
    for worker in ("berth-dev-worker", "berth-dev-worker2"):
        own = [command for command in runner.commands() if f" {worker} " in f"{command} "]
        assert any("libvirt-daemon-system" in command for command in own)
        assert any("link add name vmbr0 type bridge" in command for command in own)
        assert any("http.server 80 --bind 172.18.0.3" in command for command in own)
    assert ("172.18.0.3 images.berth.test\n") in [stdin for _, stdin in runner.calls]


def test_the_agent_gets_its_kubeconfig_on_stdin_and_never_as_an_argument(tmp_path: Path) -> None:
    runner = RecordingRunner()
    node = _cluster(runner, tmp_path).nodes[0]
    node.start_agent("SECRET", kind.agent_settings(node.name, "tcg", {"BERTH_AGENT_LOG_LEVEL": "DEBUG"}))
    assert not any("SECRET" in command for command in runner.commands())
    assert "SECRET" in [stdin for _, stdin in runner.calls]
    started = runner.commands()[-1]
    assert "--setenv=BERTH_AGENT_NODE_NAME=berth-dev-worker" in started
    assert "--setenv=BERTH_AGENT_LOG_LEVEL=DEBUG" in started


def test_going_down_names_only_this_cluster(tmp_path: Path) -> None:
    runner = RecordingRunner()
    _cluster(runner, tmp_path).delete()
    assert runner.commands() == ["kind delete cluster --name berth-dev"]


@pytest.mark.parametrize("missing", ["docker", "kind"])
def test_without_an_engine_or_kind_it_is_not_available(missing: str) -> None:
    assert kind.is_available(RecordingRunner())
    assert not kind.is_available(RecordingRunner(failing=missing))
