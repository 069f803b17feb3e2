"""A daemon lives in its tree: it sees the node's disks and devices, writes nowhere else, and is known by its root."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth_libvirt import processes, watch
from berth_libvirt.mounts import STATE_FOLDERS
from berth_libvirt.processes import LIBVIRTD, Process
from berth_libvirt.settings import Settings

pytestmark = pytest.mark.integration
_BUSYBOX = Path("/bin/busybox")
_ENTER = """
import os, sys
from pathlib import Path
from berth_libvirt import mounts
from berth_libvirt.settings import Settings
mounts.enter(Settings.of(os.environ), Path(sys.argv[1]))
os.execve("/usr/sbin/libvirtd", ["sh", "-c", sys.argv[2]], {})
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    node = {name: tmp_path / name for name in ("trees", "run", "disks", "dev", "sys")}
    for path in node.values():
        path.mkdir()
    (node["dev"] / "kvm").write_text("a device\n", encoding="utf-8")
    (node["disks"] / "root.qcow2").write_text("a disk\n", encoding="utf-8")
    return {
        "BERTH_LIBVIRT_ROOT_DIR": str(node["trees"]),
        "BERTH_LIBVIRT_SOCKET_DIR": str(node["run"]),
        "BERTH_LIBVIRT_SHARED": str(node["disks"]),
        "BERTH_LIBVIRT_DEVICES": str(node["dev"]),
        "BERTH_LIBVIRT_SYSTEM": str(node["sys"]),
    }


@pytest.fixture
def tree(environment: dict[str, str]) -> Path:
    """One with a shell that is called libvirtd."""
    settings, said = Settings.of(environment), list[str]()
    watch.prepare(settings, lambda event, **_: said.append(event))
    assert said == []
    made = settings.folder / "0123456789abcdef"
    for name in ("usr/sbin", "dev", "proc", "sys", "run", "tmp", *STATE_FOLDERS.values()):
        (made / name).mkdir(parents=True)
    program = made / "usr/sbin/libvirtd"
    program.write_bytes(_BUSYBOX.read_bytes())
    program.chmod(0o755)
    return made


def enter(environment: dict[str, str], tree: Path, script: str) -> "subprocess.Popen[str]":
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", _ENTER, str(tree), script]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, env={**os.environ, **environment}, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def daemon(environment: dict[str, str], tree: Path) -> Iterator[Process]:
    with enter(environment, tree, "echo here; read line") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        (found,) = processes.find([tree])
        yield found
        process.kill()


def test_it_sees_what_is_the_nodes_and_nothing_of_the_container(environment: dict[str, str], tree: Path) -> None:
    disks = environment["BERTH_LIBVIRT_SHARED"]
    script = f"cat {disks}/root.qcow2 /dev/kvm; echo new > {disks}/new; echo > /run/libvirt/sock; echo /*"
    said, complaints = enter(environment, tree, script).communicate(timeout=30)
    assert complaints == ""
    lines = said.splitlines()
    assert lines[:2] == ["a disk", "a device"]
    named = f"/dev /etc /proc /run /sys /tmp /usr /var /{Path(disks).parts[1]}"
    assert set(lines[2].split()) == set(named.split())
    assert (Path(disks) / "new").read_text(encoding="utf-8") == "new\n"
    assert (Path(environment["BERTH_LIBVIRT_SOCKET_DIR"]) / "sock").exists()


def test_it_keeps_what_it_writes_to_its_state_and_may_write_nowhere_else(
    environment: dict[str, str], tree: Path
) -> None:
    script = "echo kept > /var/lib/libvirt/kept; echo > /usr/sbin/libvirtd; echo > /here"
    _, complaints = enter(environment, tree, script).communicate(timeout=30)
    assert complaints.count("Read-only file system") == 2
    assert (tree.parent / "state/lib/kept").read_text(encoding="utf-8") == "kept\n"


def test_its_mounts_are_its_own(daemon: Process, tree: Path) -> None:
    assert str(tree) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    seen = [line.split()[4] for line in Path(f"/proc/{daemon.pid}/mountinfo").read_text(encoding="utf-8").splitlines()]
    assert "/var/lib/libvirt" in seen
    assert seen.count("/") == 1, "of the container's nothing has stayed"


def test_it_is_known_by_its_root_and_ends_when_told(daemon: Process, tree: Path) -> None:
    assert (daemon.name, daemon.tree) == (LIBVIRTD, tree.name)
    other = tree.with_name("other")
    other.mkdir()
    assert processes.find([other]) == []
    assert processes.end(daemon, 10.0)
    assert processes.find([tree]) == []
    assert processes.end(daemon, 0.0), "one that is gone has ended"


def test_the_id_of_one_that_has_ended_is_nobodys(daemon: Process) -> None:
    former = Process(daemon.pid, daemon.start - 1, daemon.parent, daemon.name, daemon.tree)
    assert processes.end(former, 0.0)
    with processes.opened(daemon) as handle:
        assert handle is not None, "it was not asked to end"
        assert not processes.wait_any([handle], 0.0)
