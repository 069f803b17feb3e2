"""A node sees the machine's file system with its own state in it."""

from pathlib import Path

from berth_dev import nodefs
from berth_dev.addresses import AddressPlan


def _targets(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines()]


def test_the_machines_entries_of_var_lib_are_there_but_not_those_that_are_the_nodes_own() -> None:
    text = nodefs.fstab("id", Path("/state/fs"), ["apt", "libvirt", "berth-dev"])
    assert "/run/host/var-lib/apt /var/lib/apt none" in text
    assert "/run/host/var-lib/berth-dev /var/lib/berth-dev none" in text
    assert "/run/host/var-lib/libvirt" not in text
    assert "/state/fs/var/lib/libvirt /var/lib/libvirt none" in text


def test_what_lies_under_a_mount_is_mounted_after_it() -> None:
    targets = _targets(nodefs.fstab("id", Path("/state/fs"), ["apt"]))
    for position, target in enumerate(targets):
        assert not any(later != target and target.startswith(f"{later}/") for later in targets[position + 1 :])


def test_white_space_in_a_path_does_not_end_the_field() -> None:
    text = nodefs.fstab("id", Path("/a b/fs"), ["x y"])
    assert "/a\\040b/fs/etc/hosts /etc/hosts" in text
    assert "/var/lib/x\\040y" in text
    assert all(len(line.split()) == 6 for line in text.splitlines())


def test_a_node_finds_the_image_server_and_itself() -> None:
    hosts = nodefs.hosts(AddressPlan(1), "node-2", 2)
    assert "10.89.0.2 images.berth.test" in hosts
    assert "10.89.0.12 node-2" in hosts
