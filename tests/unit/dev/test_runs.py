"""What belongs to a run is known by its mark alone."""

from pathlib import Path

from berth_dev import nodefs, runs
from berth_dev.runs import is_marked

RUN = "0123456789abcdef"
_MOUNT = "55 40 0:31 / /run rw,relatime shared:5 - tmpfs {source} rw,mode=755"


def test_a_process_is_known_by_its_environment() -> None:
    environ = f"PATH=/bin\0{runs.RUN_VARIABLE}={RUN}\0".encode()
    assert is_marked(RUN, environ=environ, mountinfo="")
    assert not is_marked("0123", environ=environ, mountinfo="")


def test_a_process_that_clears_its_environment_is_known_by_its_mounts() -> None:
    mountinfo = _MOUNT.format(source=runs.mount_source(RUN))
    assert is_marked(RUN, environ=b"", mountinfo=mountinfo)
    assert not is_marked("0123", environ=b"", mountinfo=mountinfo)


def test_a_process_of_a_pod_is_known_by_its_control_group() -> None:
    groups = f"4:memory:/berth-dev-{RUN}/node-1/kubepods/pod-1/abc\n0::/\n"
    assert is_marked(RUN, environ=b"", mountinfo="", groups=groups)
    assert not is_marked("0123", environ=b"", mountinfo="", groups=groups)


def test_a_mount_point_that_looks_like_the_mark_is_not_the_mark() -> None:
    hostile = f"55 40 0:31 / /mnt/{runs.mount_source(RUN)} rw,relatime - tmpfs tmpfs rw"
    assert not is_marked(RUN, environ=b"", mountinfo=hostile)


def test_the_environment_of_a_run_carries_the_mark_and_what_is_given() -> None:
    environment = runs.environment(RUN, {"KUBECONFIG": "/x"})
    assert environment[runs.RUN_VARIABLE] == RUN
    assert environment["KUBECONFIG"] == "/x"


def test_the_mark_is_the_first_mount_of_a_node() -> None:
    first = nodefs.fstab(RUN, Path("/state/fs"), []).splitlines()[0]
    assert first.split()[:2] == [runs.mount_source(RUN), "/run"]
