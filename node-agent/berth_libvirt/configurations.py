"""How libvirtd, QEMU and virtlogd are configured on a node: put right before each start, and nobody else's to edit.

A node whose disk is full goes on with the files that are there: guests run, and somebody has to look after them. What
is there may be empty, or half, after a power cut; so it is read before it is relied on.

QEMU is nobody but the owner of its own disks: libvirtd, which is root, hands these to it (`dynamic_ownership`). Control
groups are not libvirt's to make: without systemd's help it would put them at the root of the node's, and `cgroups` has
put libvirtd and so all guests where they belong.
"""

import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

QEMU_USER = 64055
"""Debian's number for libvirt-qemu; the image's /etc/passwd has it, the node's need not."""

_QEMU_CONF = """\
user = "+{user}"
group = "+{group}"
dynamic_ownership = 1
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "logd"
"""

_LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_level = 3
log_outputs = "3:stderr"
"""

_VIRTLOGD_CONF = """\
log_level = 3
log_outputs = "3:stderr"
"""


def texts(host_uuid: str, kvm_group: int | None) -> dict[str, str]:
    """The configuration files, by name.

    Args:
        host_uuid: Tells the node from others, for as long as libvirt's state on it lives.
        kvm_group: The group that may open the node's /dev/kvm; None where there is no such group.
    """
    group = QEMU_USER if kvm_group is None else kvm_group
    return {
        "libvirtd.conf": _LIBVIRTD_CONF.format(host_uuid=host_uuid),
        "qemu.conf": _QEMU_CONF.format(user=QEMU_USER, group=group),
        "virtlogd.conf": _VIRTLOGD_CONF,
    }


def write(folder: Path, devices: Path, failed: Callable[[str, OSError], None]) -> None:
    """Write what of the configuration is not as it is to be.

    Args:
        folder: What is /etc/libvirt to libvirtd; has or gets the node's UUID, too.
        devices: Where the node's /dev is.
        failed: Is told the name of a file that cannot be written, and why: the former one stays.

    Raises:
        OSError: A file that cannot be written is not there at all.
    """
    for name, text in texts(_host_uuid(folder / "host-uuid"), _group_of(devices / "kvm")).items():
        path = folder / name
        if _read(path) == text:
            continue
        try:
            _put(path, text)
        except OSError as error:
            if not _read(path):
                raise
            failed(name, error)


def _host_uuid(path: Path) -> str:
    """Machines that were cloned, or are containers of one machine, may have one and the same in their firmware."""
    try:
        return str(uuid.UUID(_read(path).strip()))
    except ValueError:
        made = str(uuid.uuid4())
        _put(path, made)
        return made


def _read(path: Path) -> str:
    """What a file holds; nothing where there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""


def _put(path: Path, text: str) -> None:
    """Replace a file, so that a power cut leaves either the former or the new one."""
    scratch = path.with_name(f"{path.name}.new")
    try:
        with scratch.open("w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except OSError:
        if scratch.is_file():
            scratch.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _group_of(device: Path) -> int | None:
    """The group that a device is open to; root's is none that anybody should be given."""
    try:
        status = device.stat()
    except FileNotFoundError:
        return None
    return status.st_gid if status.st_gid and status.st_mode & stat.S_IWGRP else None
