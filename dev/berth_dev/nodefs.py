"""What a node sees of the file system: the machine's, with folders of its own where state is kept.

The mounts are written as an fstab(5) and made in one step inside the node's mount namespace. Nothing is made on the
machine's own file system but the node's folder: /run and /sys are the node's own, and /var/lib is a new folder with the
machine's entries bound into it, so that folders the machine does not have (/var/lib/cni) need no mount point there.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path

from berth_dev import kubelets
from berth_dev.addresses import AddressPlan
from berth_dev.errors import DevError
from berth_dev.images import IMAGE_HOST
from berth_dev.runs import mount_source

IMPORT_FOLDER = "/var/lib/berth/import"
"""Where the agents look for images that a manifest names by file."""

_HOST_VAR_LIB = "/run/host/var-lib"
_HOST_CGROUP = "/run/host/cgroup"
_OWN_FOLDERS = (
    "/var/lib/libvirt",
    "/var/lib/cni",
    "/var/lib/berth",
    "/var/log/libvirt",
    "/var/cache/libvirt",
    "/etc/libvirt",
)
_ON_THE_MACHINE = ("/var/log/libvirt", "/var/cache/libvirt", "/etc/libvirt")

QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
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


def fstab(run_id: str, private: Path, var_lib: Sequence[str], *, kubelet: bool = False) -> str:
    """Write the mounts of a node, in the order in which they are made.

    The first carries the run's mark (see `berth_dev.runs`), so that a node's processes are known from the first moment
    on at which anything of the node could be left behind.

    Args:
        run_id: The run's id.
        private: The node's own folder; holds a folder for each of its own.
        var_lib: Names of the folders in the machine's /var/lib.
        kubelet: Whether the node has one.
    """
    lines = [
        f"{mount_source(run_id)} /run tmpfs mode=755,size=256m 0 0",
        f"/var/lib {_HOST_VAR_LIB} none rbind,X-mount.mkdir 0 0",
        f"/sys/fs/cgroup {_HOST_CGROUP} none rbind,X-mount.mkdir 0 0",
        "sysfs /sys sysfs nosuid,nodev,noexec 0 0",
        f"{_HOST_CGROUP} /sys/fs/cgroup none rbind 0 0",
        "tmpfs /var/lib tmpfs mode=755,size=16m 0 0",
    ]
    folders = _own_folders(kubelet=kubelet)
    own = {Path(folder).name for folder in folders if folder.startswith("/var/lib/")}
    lines += [
        f"{_HOST_VAR_LIB}/{_escaped(name)} /var/lib/{_escaped(name)} none rbind,X-mount.mkdir 0 0"
        for name in sorted(set(var_lib) - own)
    ]
    lines += [f"{_escaped(str(private))}{folder} {folder} none bind,X-mount.mkdir 0 0" for folder in folders]
    files = ["/etc/hosts", *(f"/proc/sys/{name}" for name in (kubelets.SYSCTLS if kubelet else ()))]
    lines += [f"{_escaped(str(private))}{file} {file} none bind 0 0" for file in files]
    return "\n".join(lines) + "\n"


def _own_folders(*, kubelet: bool) -> Sequence[str]:
    """Every folder that a node has of its own, what is mounted over another after it."""
    return [*(kubelets.OWN_FOLDERS if kubelet else ()), *_OWN_FOLDERS]


def _escaped(path: str) -> str:
    """Write a path as fstab(5) wants it, where white space ends a field."""
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")


def hosts(plan: AddressPlan, node: str, number: int) -> str:
    """Write the node's /etc/hosts: there is no DNS on the underlay."""
    return (
        f"127.0.0.1 localhost localhost.localdomain\n"
        f"{plan.node(number)} {node}\n"
        f"{plan.control_plane} control-plane\n"
        f"{plan.image_server} {IMAGE_HOST}\n"
    )


def write(folder: Path, run_id: str, plan: AddressPlan, node: str, number: int, *, kubelet: bool = False) -> None:
    """Lay out a node's own folders, its configuration, and the fstab of its mounts.

    Args:
        folder: The node's.
        run_id: The run's id.
        plan: The cluster's addresses.
        node: The node's name.
        number: Counted from 1.
        kubelet: Whether the node has one.

    Raises:
        DevError: libvirt's packages are not installed, so that there is nothing to mount over.
    """
    missing = [name for name in _ON_THE_MACHINE if not Path(name).is_dir()]
    if missing:
        raise DevError(f"{', '.join(missing)} missing: libvirt is not installed; run dev/bootstrap.sh")
    private = folder / "fs"
    for own in _own_folders(kubelet=kubelet):
        (private / own.removeprefix("/")).mkdir(parents=True, exist_ok=True)
    (private / IMPORT_FOLDER.removeprefix("/")).mkdir()
    (private / "etc/hosts").write_text(hosts(plan, node, number), encoding="utf-8")
    libvirt = private / "etc/libvirt"
    host_uuid = uuid.uuid5(uuid.UUID(run_id), node)
    (libvirt / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(host_uuid=host_uuid), encoding="utf-8")
    (libvirt / "qemu.conf").write_text(QEMU_CONF, encoding="utf-8")
    (libvirt / "virtlogd.conf").write_text(_VIRTLOGD_CONF, encoding="utf-8")
    (libvirt / "qemu").mkdir(exist_ok=True)
    var_lib = [entry.name for entry in Path("/var/lib").iterdir() if entry.is_dir() and not entry.is_symlink()]
    (folder / "fstab").write_text(fstab(run_id, private, var_lib, kubelet=kubelet), encoding="utf-8")
