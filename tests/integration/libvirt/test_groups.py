"""A process leaves a Pod's control group in every hierarchy, and the Pod's end does not reach it then."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from berth_libvirt import cgroups
from berth_libvirt.cgroups import Hierarchy

pytestmark = pytest.mark.integration
TOP = f"berth-test-{os.getpid()}"
_ROOT = Path("/sys/fs/cgroup")
_ENTER = """
import sys
from pathlib import Path
from berth_libvirt import cgroups
sys.stdin.readline()
cgroups.enter(Path(sys.argv[1]))
print("entered", flush=True)
sys.stdin.readline()
"""


def mounted() -> list[Hierarchy]:
    return cgroups.hierarchies(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), _ROOT)


@pytest.fixture
def pod() -> Iterator[Sequence[Path]]:
    """A Pod's group in each hierarchy, below a group of the test's own."""
    made = [(each, each.path / TOP / "kubepods/pod1") for each in mounted()]
    for hierarchy, folder in made:
        cgroups._make(hierarchy.path, folder)
    yield [folder for _, folder in made]
    for _, folder in made:
        for group in (folder, folder.parent, folder.parents[1] / cgroups.NAME, folder.parents[1]):
            with suppress(FileNotFoundError):
                group.rmdir()


def groups_of(pid: int) -> dict[frozenset[str], str]:
    return cgroups.own_groups(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))


def begin(below: Path, pod: Sequence[Path]) -> "subprocess.Popen[str]":
    """A process in the Pod's groups, which then leaves those of the hierarchies below a folder."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", _ENTER, str(below)], stdin=pipe, stdout=pipe, text=True)
    for folder in pod:
        (folder / "cgroup.procs").write_text(f"{process.pid}\n", encoding="ascii")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("now\n")
    process.stdin.flush()
    assert process.stdout.readline() == "entered\n"
    return process


def test_it_is_beside_the_pods_in_all_hierarchies(pod: Sequence[Path]) -> None:
    with begin(_ROOT, pod) as process:
        assert set(groups_of(process.pid).values()) == {f"/{TOP}/berth-libvirt"}
        assert [folder for folder in pod if (folder / "cgroup.procs").read_text(encoding="ascii")] == []
        process.communicate("end\n", timeout=30)
    assert process.returncode == 0


def test_of_version_2_alone_it_leaves_that_one(pod: Sequence[Path]) -> None:
    (unified,) = [each for each in mounted() if not each.options]
    with begin(unified.path, pod) as process:
        groups = groups_of(process.pid)
        assert groups.pop(frozenset()) == f"/{TOP}/berth-libvirt"
        assert set(groups.values()) <= {f"/{TOP}/kubepods/pod1"}
        process.communicate("end\n", timeout=30)
    assert process.returncode == 0
