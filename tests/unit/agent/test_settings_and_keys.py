"""What an administrator decides, and the key that never leaves the node."""

import base64
import stat
from pathlib import Path

import pytest
from nacl.public import PublicKey, SealedBox
from pydantic import ValidationError

from berth_agent.node.keys import NodeKey, UnsealFailed
from berth_agent.settings import AgentSettings


@pytest.fixture(autouse=True)
def _node_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_AGENT_NODE_NAME", "node-1")


@pytest.mark.parametrize(
    "text", ["/opt/cni/bin:/usr/lib/cni", "/opt/cni/bin,/usr/lib/cni", "/opt/cni/bin:/usr/lib/cni:"]
)
def test_directories_come_as_a_list(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BERTH_AGENT_CNI_BIN_DIRS", text)
    assert AgentSettings().cni_bin_dirs == (Path("/opt/cni/bin"), Path("/usr/lib/cni"))


def test_networks_come_with_commas_and_keep_their_colons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_AGENT_IMAGE_DENIED_CIDRS", "10.0.0.0/8, fd00::/8")
    monkeypatch.setenv("BERTH_AGENT_IMAGE_ALLOWED_CIDRS", "")
    assert AgentSettings().image_denied_cidrs == ("10.0.0.0/8", "fd00::/8")
    assert AgentSettings().image_allowed_cidrs == ()


def test_one_more_network_takes_none_of_the_private_ones_away(monkeypatch: pytest.MonkeyPatch) -> None:
    private = AgentSettings().image_denied_cidrs
    monkeypatch.setenv("BERTH_AGENT_IMAGE_ADDITIONAL_DENIED_CIDRS", "203.0.113.0/24")
    assert AgentSettings().all_denied_cidrs == (*private, "203.0.113.0/24")
    assert len(private) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEARTBEAT", "0"),
        ("WORKERS", "0"),
        ("ACCELERATOR", "xen"),
        ("NODE_NAME", ""),
        ("METRICS_URL", "https://0.0.0.0:9090/metrics"),
        ("METRICS_URL", "http://0.0.0.0/metrics"),
        ("LIVENESS_URL", "healthz"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"BERTH_AGENT_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        AgentSettings()


def test_the_key_is_for_its_owner_alone_and_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "node.key"
    first = NodeKey.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert NodeKey.load_or_create(path).public == first.public
    assert [entry.name for entry in path.parent.iterdir()] == ["node.key"]


def test_a_key_that_was_being_written_when_the_agent_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "node.new").write_bytes(b"half")
    assert NodeKey.load_or_create(tmp_path / "node.key").public


def test_a_key_file_that_holds_no_key_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "node.key").write_bytes(b"no key")
    with pytest.raises(ValueError, match=r"node\.key.*delete it"):
        NodeKey.load_or_create(tmp_path / "node.key")


def test_what_was_sealed_to_it_is_opened(tmp_path: Path) -> None:
    key = NodeKey.load_or_create(tmp_path / "node.key")
    assert key.unseal(_sealed(key.public)) == b"secret"


@pytest.mark.parametrize("fault", ["another key", "no base64", "cut off"])
def test_what_was_not_is_refused_without_telling_it(tmp_path: Path, fault: str) -> None:
    key = NodeKey.load_or_create(tmp_path / "node.key")
    other = NodeKey.load_or_create(tmp_path / "other.key")
    sealed = {
        "another key": _sealed(other.public),
        "no base64": "secret?",
        "cut off": _sealed(key.public)[:40],
    }[fault]
    with pytest.raises(UnsealFailed) as error:
        key.unseal(sealed)
    assert "secret" not in str(error.value)


def _sealed(public: str) -> str:
    return base64.b64encode(SealedBox(PublicKey(base64.b64decode(public))).encrypt(b"secret")).decode()
