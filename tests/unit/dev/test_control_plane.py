"""The control plane's command lines follow from the cluster's addresses and options."""

import json
from pathlib import Path

import pytest

from berth_dev import controlplane, kubeconfigs
from berth_dev.errors import DevError
from berth_dev.states import Artifacts, Options, Run


def _run(options: Options, index: int = 3) -> Run:
    folder = Path("/artifacts")
    return Run(
        "c", "id", index, Path("/state/c"), options, Artifacts(folder / "bin", folder / "cni", folder / "images")
    )


def _argv(options: Options, name: str) -> list[str]:
    programs = controlplane.programs(_run(options), Path("/artifacts/bin"), Path("/state/c/control-plane"))
    return list(programs[name].argv)


def test_nothing_but_the_api_server_listens_where_nodes_and_guests_can_reach() -> None:
    for name in ("etcd", "kube-controller-manager", "kube-scheduler"):
        listening = [
            flag for flag in _argv(Options(scheduler=True), name) if "listen" in flag or "bind-address" in flag
        ]
        assert listening
        assert all("127.88.3.1" in flag for flag in listening)
    assert "--bind-address=10.91.0.1" in _argv(Options(), "kube-apiserver")


def test_nodes_without_kubelets_are_not_declared_lost() -> None:
    assert "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller" in _argv(
        Options(), "kube-controller-manager"
    )


def test_etcd_syncs_only_if_asked_to() -> None:
    assert "--unsafe-no-fsync" in _argv(Options(), "etcd")
    assert "--unsafe-no-fsync" not in _argv(Options(durable_etcd=True), "etcd")


def test_the_scheduler_runs_only_if_asked_for() -> None:
    names = controlplane.programs(_run(Options()), Path("/b"), Path("/f"))
    assert "kube-scheduler" not in names


def test_tokens_survive_their_file() -> None:
    users = kubeconfigs.new_users()
    assert kubeconfigs.parse_token_file(kubeconfigs.token_file(users)) == users
    assert len({user.token for user in users}) == len(users)


def test_a_kubeconfig_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "kubeconfig"
    kubeconfigs.write_secret(path, kubeconfigs.kubeconfig("https://s", b"CA", "t", cluster="c", user="u"))
    assert path.stat().st_mode & 0o777 == 0o600
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["users"][0]["user"] == {"token": "t"}
    assert document["clusters"][0]["cluster"]["server"] == "https://s"


@pytest.mark.parametrize("options", [{"nodes": 0}, {"nodes": 100}, {"accelerator": "steam"}])
def test_options_that_make_no_sense_say_what_to_change(options: dict[str, object]) -> None:
    with pytest.raises(DevError, match="not"):
        Options(**options)  # type: ignore[arg-type]
