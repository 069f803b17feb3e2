"""A node for tests: a libvirtd and a virtlogd in a mount and a network namespace of their own.

One idle process holds the namespaces; all that is made in them goes with it. What is on disk is in one folder, bound
over libvirt's own, so the node is seen from outside as well: its socket is a file in that folder.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from berth_dev.nodefs import QEMU_CONF

_BOUND = ("/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/etc/libvirt")
_LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_level = 3
"""
_VIRTLOGD_CONF = """\
max_size = 65536
max_backups = 2
"""
_DEADLINE = 20.0


class Node:
    """A running node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._holder: subprocess.Popen[bytes] | None = None
        self._libvirtd: subprocess.Popen[bytes] | None = None
        self._virtlogd: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where its libvirtd is reached from outside."""
        return f"qemu+unix:///system?socket={self.path('/run/libvirt')}/libvirt-sock"

    def path(self, inside: str) -> Path:
        """Where a bound folder of the node is, seen from outside."""
        return self.folder / inside.strip("/").replace("/", "-")

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run a command in the node's namespaces."""
        done = subprocess.run(
            [*self._entering(), *arguments], check=False, capture_output=True, text=True, timeout=_DEADLINE
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def virsh(self, *arguments: str) -> str:
        """Ask libvirtd beside the adapter."""
        return self.run("virsh", "-q", "-c", "qemu:///system", *arguments)

    def start(self) -> None:
        """Make the namespaces and start both daemons."""
        for folder in _BOUND:
            self.path(folder).mkdir(parents=True)
        etc = self.path("/etc/libvirt")
        (etc / "qemu.conf").write_text(QEMU_CONF)
        (etc / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(host_uuid=uuid.uuid4()))
        (etc / "virtlogd.conf").write_text(_VIRTLOGD_CONF)
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "--", "sleep", "infinity"]
        )
        holder = self._holder.pid
        _wait_for(lambda: Path(f"/proc/{holder}/comm").read_text().strip() == "sleep")
        Path("/var/cache/libvirt").mkdir(exist_ok=True)
        Path("/run/libvirt").mkdir(exist_ok=True)
        for folder in _BOUND:
            self.run("mount", "--bind", str(self.path(folder)), folder)
        self.run("ip", "link", "set", "lo", "up")
        self._virtlogd = self._spawn("virtlogd", "-p", "/run/libvirt/virtlogd-test.pid")
        self.start_libvirtd()

    def start_libvirtd(self) -> None:
        """Start libvirtd and wait until it answers."""
        self._libvirtd = self._spawn("libvirtd", "-p", "/run/libvirt/libvirtd-test.pid")
        _wait_for(lambda: self.run("virsh", "-q", "-c", "qemu:///system", "uri", check=False) != "")

    def kill_libvirtd(self) -> None:
        """As a crash would."""
        self._signal(signal.SIGKILL)
        assert self._libvirtd is not None
        self._libvirtd.wait(_DEADLINE)

    def stop_answering(self) -> None:
        """Let libvirtd hang."""
        self._signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def guest_pid(self, domain_name: str) -> int:
        """The QEMU process of a domain."""
        return int((self.path("/run/libvirt") / "qemu" / f"{domain_name}.pid").read_text())

    def guest_pids(self) -> list[int]:
        """All QEMU processes of the node."""
        return [int(file.read_text()) for file in (self.path("/run/libvirt") / "qemu").glob("*.pid")]

    def is_alive(self, pid: int) -> bool:
        """Whether this is a QEMU process that runs."""
        try:
            return Path(f"/proc/{pid}/comm").read_text().startswith("qemu")
        except FileNotFoundError:
            return False

    def small_file_system(self, mebibytes: int) -> Path:
        """A folder of the node's that holds no more than this; what is in it is not seen from outside."""
        folder = Path("/var/lib/libvirt/small")
        self.run("mkdir", "-p", str(folder))
        self.run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder))
        return folder

    def stop(self) -> None:
        """End everything, guests included."""
        for pid in self.guest_pids() if (self.path("/run/libvirt") / "qemu").is_dir() else ():
            if self.is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        for daemon in (self._libvirtd, self._virtlogd, self._holder):
            if daemon is not None:
                daemon.kill()
                daemon.wait(_DEADLINE)
        shutil.rmtree(self.folder)

    def _signal(self, number: int) -> None:
        assert self._libvirtd is not None
        self._libvirtd.send_signal(number)

    def _spawn(self, daemon: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{daemon}.log").open("ab")
        with log:
            return subprocess.Popen(
                [*self._entering(), f"/usr/sbin/{daemon}", "-f", f"/etc/libvirt/{daemon}.conf", *arguments],
                stdout=log,
                stderr=log,
            )

    def _entering(self) -> Sequence[str]:
        assert self._holder is not None
        return ["nsenter", "-t", str(self._holder.pid), "-m", "-n", "--"]


@contextmanager
def running_node() -> Iterator[Node]:
    """A node that is gone afterwards. Not in pytest's folders: a socket's path has at most 107 characters."""
    node = Node(Path(tempfile.mkdtemp(prefix="berth-hv-")))
    try:
        node.start()
        yield node
    finally:
        node.stop()


def _wait_for(met: object) -> None:
    """Poll what tells no one when it is ready."""
    end = time.monotonic() + _DEADLINE
    while not met():  # type: ignore[operator]
        if time.monotonic() > end:
            raise AssertionError("the node is not ready in time")
        time.sleep(0.02)
