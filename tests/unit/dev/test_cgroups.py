"""Control groups tell a Pod's processes from everybody else's, on either version."""

from pathlib import Path

from berth_dev import cgroups

_VERSION_1 = "4:memory:{path}\n3:cpuset:{path}\n0::/\n"
_MOUNTS = """\
30 20 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
33 20 0:29 / /mnt/cgroup rw - ext4 /dev/cgroup rw
"""


def test_a_process_is_inside_its_group_and_all_above_it() -> None:
    group = cgroups.path_of("0123", "node-1")
    listed = _VERSION_1.format(path=f"{group}/kubepods/pod-1/abc")
    assert cgroups.is_inside(group, listed)
    assert cgroups.is_inside(f"/{cgroups.name_of('0123')}", listed)
    assert not cgroups.is_inside(cgroups.path_of("0123", "node-2"), listed)


def test_a_group_whose_name_begins_alike_is_another() -> None:
    assert not cgroups.is_inside("/berth-dev-01", _VERSION_1.format(path="/berth-dev-0123/node-1"))
    assert not cgroups.is_inside("/berth-dev-01", _VERSION_1.format(path="/user/berth-dev-01"))


def test_a_process_of_no_group_is_inside_none() -> None:
    assert not cgroups.is_inside("/berth-dev-01", "0::/\n")
    assert not cgroups.is_inside("/berth-dev-01", "")


def test_hierarchies_of_both_versions_are_found_and_nothing_else() -> None:
    assert cgroups.hierarchies(_MOUNTS) == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified")]
