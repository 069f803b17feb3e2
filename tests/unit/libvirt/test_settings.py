"""Where things are on a node: read from the chart's environment, and made into mounts and configuration."""

from pathlib import Path

import pytest

from berth_libvirt import mounts
from berth_libvirt.errors import NodeUnsuited
from berth_libvirt.processes import parse_stat
from berth_libvirt.settings import Settings

ENVIRONMENT = {
    "BERTH_LIBVIRT_ROOT_DIR": "/var/lib/berth-libvirt",
    "BERTH_LIBVIRT_SOCKET_DIR": "/run/libvirt",
    "BERTH_LIBVIRT_SHARED": "/var/lib/berth:/srv/pool",
    "BERTH_LIBVIRT_NODE_NAME": "node-1",
}


def test_the_environment_says_where_things_are() -> None:
    settings = Settings.of(ENVIRONMENT)
    assert settings.shared == (Path("/var/lib/berth"), Path("/srv/pool"))
    assert settings.socket == Path("/run/libvirt/libvirt-sock")
    assert settings.state == Path("/var/lib/berth-libvirt/state")


@pytest.mark.parametrize("name", ["ROOT_DIR", "SOCKET_DIR", "SHARED"])
@pytest.mark.parametrize("value", ["", "relative", "/var/../etc"])
def test_what_is_missing_or_no_absolute_path_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(NodeUnsuited, match=f"BERTH_LIBVIRT_{name}"):
        Settings.of({**ENVIRONMENT, f"BERTH_LIBVIRT_{name}": value})


def test_libvirt_sees_the_nodes_disks_devices_and_state_and_may_write_nowhere_else() -> None:
    tree = Path("/var/lib/berth-libvirt/0123")
    made = list(mounts.plan(Settings.of(ENVIRONMENT), tree))
    inside = {"/" + str(mount.target.relative_to(tree)): mount.source for mount in made if mount.target != tree}
    assert inside == {
        "/dev": "/host/dev",
        "/proc": "proc",
        "/sys": "/host/sys",
        "/run": "tmpfs",
        "/tmp": "tmpfs",  # noqa: S108 - in the tree
        "/run/libvirt": "/run/libvirt",
        "/etc/libvirt": "/var/lib/berth-libvirt/state/etc",
        "/var/lib/libvirt": "/var/lib/berth-libvirt/state/lib",
        "/var/log/libvirt": "/var/lib/berth-libvirt/state/log",
        "/var/cache/libvirt": "/var/lib/berth-libvirt/state/cache",
        "/var/lib/berth": "/var/lib/berth",
        "/srv/pool": "/srv/pool",
    }
    assert (made[0].target, made[-1].target) == (tree, tree)
    assert made[-1].flags & 1, "the tree itself is read-only at last"


def test_a_process_may_be_called_anything() -> None:
    line = "12 (a) b (c) S 7 12 12 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4242 1 2\n"
    assert parse_stat(line) == ("a) b (c", "S", 7, 4242)
