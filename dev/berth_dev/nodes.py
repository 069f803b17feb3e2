"""A node: a network, mount and UTS namespace each, with a libvirtd and an agent inside, or a kubelet to bring one.

The namespaces belong to one process that does nothing else, the *holder*; all others enter them through it, as the
processes of a hostNetwork Pod enter those of their machine.
"""

import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from berth_dev import cgroups, commands, guests, kubelets, links, nodefs, runs
from berth_dev.archives import full_name
from berth_dev.errors import DevError
from berth_dev.guests import GuestProcess
from berth_dev.parts import Part, Program
from berth_dev.states import Run

_NSENTER = "/usr/bin/nsenter"
_UNSHARE = "/usr/bin/unshare"
_LIBVIRT_TIMEOUT = 10.0
_BACK_WITHIN = 180.0
"""Seconds that a part of a node gets to come back on a machine whose other guests boot, too."""


class NodeHandle:
    """A node of a cluster.

    Attributes:
        name: Its name as a Kubernetes Node, and its hostname.
        number: Counted from 1.
        folder: Its state on the machine; `fs` below it holds what the node has of its own under /var and /etc.
    """

    def __init__(self, run: Run, number: int, agent: Callable[["NodeHandle"], Program]) -> None:
        self._run = run
        self._agent = agent
        self.number = number
        self.name = f"node-{number}"
        self.address = run.plan.node(number)
        self.folder: Path = run.state / "nodes" / self.name
        self.holder = Part(run, f"{self.name}.holder", self._holder)
        self.virtlogd = Part(run, f"{self.name}.virtlogd", self._virtlogd)
        self.libvirtd = Part(run, f"{self.name}.libvirtd", self._libvirtd)
        self.containerd = Part(run, f"{self.name}.containerd", lambda: kubelets.containerd_program(run, self))
        self.kubelet = Part(run, f"{self.name}.kubelet", lambda: kubelets.kubelet_program(run, self))
        self.proxy = Part(run, f"{self.name}.kube-proxy", lambda: kubelets.proxy_program(run, self))
        self.agent = Part(run, f"{self.name}.agent", lambda: self._agent(self))

    @property
    def private(self) -> Path:
        """What the node has of its own under /var and /etc, as the machine sees it."""
        return self.folder / "fs"

    @property
    def boot_id_file(self) -> Path:
        """Where the node has its boot ID, since all nodes share the machine's kernel and its."""
        return self.folder / "boot_id"

    @property
    def parts(self) -> list[Part]:
        """All that runs on the node by our doing, in the order in which it is started."""
        parts = [self.holder, *([self.virtlogd, self.libvirtd] if self._run.options.libvirt else [])]
        if self._run.options.kubelets:
            return [*parts, self.containerd, self.kubelet, self.proxy]
        return [*parts, self.agent] if self._run.options.agent else parts

    @property
    def entering(self) -> list[str]:
        """What precedes a command that is to run on the node.

        Raises:
            DevError: The holder is gone: nobody can enter any more.
        """
        return [_NSENTER, "-t", str(self.holder.pid), "-m", "-u", "-n", "--"]

    def path(self, inside: str) -> Path:
        """Where a file of the node is, seen from the machine while the node exists."""
        return Path(f"/proc/{self.holder.pid}/root") / inside.removeprefix("/")

    def exec(
        self,
        argv: Sequence[str],
        *,
        timeout: float = commands.DEFAULT_TIMEOUT,
        stdin: str | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the node to its end.

        Args:
            argv: Its argument list.
            timeout: Seconds.
            stdin: Text for its standard input.
            check: Whether a non-zero exit status is an error.

        Raises:
            CommandError: It failed (with `check`) or did not end in time.
        """
        return commands.run([*self.entering, *argv], timeout=timeout, stdin=stdin, check=check)

    def attach(self, argv: Sequence[str]) -> int:
        """Run a command on the node with this process's own terminal, without a deadline; returns its exit status."""
        return subprocess.run([*self.entering, *argv], check=False).returncode

    def lay_out(self) -> None:
        """Write the node's own files; nothing of it runs yet."""
        run = self._run
        nodefs.write(self.folder, run.run_id, run.plan, self.name, self.number, kubelet=run.options.kubelets)
        if run.options.kubelets:
            kubelets.lay_out(run, self)

    def agent_program(self) -> Program:
        """How the node's agent is started now: for one that stands in for it."""
        return self._agent(self)

    def guests(self) -> list[GuestProcess]:
        """The QEMU processes of the node's guests, as the kernel sees them: whatever libvirt says."""
        identity = self.holder.identity
        return [] if identity is None else guests.find([identity.pid])

    def qemu(self, domain: str) -> GuestProcess | None:
        """The QEMU process of a domain, if it runs."""
        return next((guest for guest in self.guests() if guest.domain == domain), None)

    def power_off(self) -> None:
        """End everything on the node at once, as a power cut does; what it has on disk stays.

        The namespaces end with their last process, and with them /run, all links, and all mounts.

        Raises:
            DevError: Something survives.
        """
        holder = self.holder.identity
        if holder is None:
            return
        group = cgroups.path_of(self._run.run_id, self.name)
        runs.end_where(lambda pid: is_inside(pid, holder.pid) or cgroups.holds(group, pid), but=holder)
        self.holder.kill()
        plan = self._run.plan
        links.remove_names([plan.uplink(self.number), plan.vm_port(self.number)])

    def reboot(self) -> None:
        """Cut the node's power, and start it again: a new boot ID, nothing runs but what an init would start.

        Raises:
            DevError: Some part is not ready in time.
        """
        self.power_off()
        self.power_on()

    def power_on(self) -> None:
        """Start a node that was powered off, and wait until it is ready."""
        self.make()
        for part in self.parts[1:]:
            if part.name == self.kubelet.name:  # one that finds no containerd gives up, for its service to try again
                self.containerd.wait_ready(_BACK_WITHIN)
            part.start()
        for part in self.parts[1:]:
            part.wait_ready(_BACK_WITHIN)

    def make(self) -> None:
        """Make the namespaces, mounts and links of the node; nothing runs in it yet but the holder.

        Raises:
            DevError: Some step failed; what was made stays, for whoever takes the run down.
        """
        table = self.folder / "fstab"
        self.boot_id_file.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        self.holder.start()
        self._wait_for_namespaces()
        self.exec(["mount", "-a", "-T", str(table)])
        self.exec(["mkdir", "-p", "/run/netns", "/run/lock", "/run/libvirt", "/run/berth", "/run/cni"])
        self.exec(["hostname", self.name])
        self.exec(["sysctl", "-q", "-e", "-w", "net.bridge.bridge-nf-call-iptables=0", "net.ipv4.ip_forward=1"])
        self.exec(
            ["sysctl", "-q", "-e", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]
        )
        plan = self._run.plan
        links.apply(links.node_links_on_host(plan, self.number, self.holder.pid))
        links.disable_ipv6(plan, [plan.uplink(self.number), plan.vm_port(self.number)])
        links.apply(links.node_links_inside(plan, self.number), entering=self.entering)
        if self._run.options.kubelets:
            self._make_for_kubelet()

    def _make_for_kubelet(self) -> None:
        """Add what a kubelet takes: mounts that Pods share with the node, its control group, the way to other Pods."""
        self.exec(["mount", "--make-rshared", "/"])
        cgroups.make(self._run.run_id, self.name)
        routes = links.pod_routes_inside(self._run.plan, self.number, self._run.options.nodes)
        links.apply(routes, entering=self.entering)

    def import_image(self, archive: Path) -> None:
        """Bring a container image to the node.

        Args:
            archive: An OCI archive whose index names it.

        Raises:
            CommandError: containerd does not run, or does not take it.
        """
        kubelets.import_image(self._run, self, archive)

    def tag_image(self, reference: str, more: str) -> None:
        """Give a container image that the node has another name.

        Raises:
            CommandError: containerd does not run, or has no such image.
        """
        kubelets.tag_image(self._run, self, full_name(reference), more)

    def _wait_for_namespaces(self) -> None:
        """Wait until the holder has left the machine's namespaces: its process exists a moment before that."""
        self.holder.wait_ready()

    def _holder(self) -> Program:
        argv = [_UNSHARE, "--net", "--mount", "--uts", "--propagation", "private", "--", "/bin/sleep", "infinity"]
        return Program(self.holder.name, argv, is_ready=lambda: _is_apart(self.holder.pid))

    def _virtlogd(self) -> Program:
        argv = [*self.entering, "/usr/sbin/virtlogd", "-f", "/etc/libvirt/virtlogd.conf", "-p", "/run/virtlogd.pid"]
        return Program(self.virtlogd.name, argv)

    def _libvirtd(self) -> Program:
        argv = [*self.entering, "/usr/sbin/libvirtd", "-f", "/etc/libvirt/libvirtd.conf", "-p", "/run/libvirtd.pid"]
        return Program(self.libvirtd.name, argv, is_ready=self._libvirt_answers)

    def _libvirt_answers(self) -> bool:
        if not self.path("/run/libvirt/libvirt-sock").exists():
            return False
        asked = self.exec(["virsh", "-q", "-c", "qemu:///system", "uri"], timeout=_LIBVIRT_TIMEOUT, check=False)
        return asked.returncode == 0


def _is_apart(pid: int) -> bool:
    """Whether a process has a network and mount namespace other than ours, and has become what it was started for."""
    ours, theirs = Path("/proc/self/ns"), Path(f"/proc/{pid}/ns")
    try:
        if any((theirs / kind).readlink() == (ours / kind).readlink() for kind in ("net", "mnt", "uts")):
            return False
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "sleep"
    except FileNotFoundError as error:
        raise DevError(f"the process {pid} that holds the namespaces has ended") from error


def is_inside(pid: int, holder: int) -> bool:
    """Whether a process lives on the node that `holder` holds: it sees the node's file system."""
    try:
        return Path(f"/proc/{pid}/ns/mnt").readlink() == Path(f"/proc/{holder}/ns/mnt").readlink()
    except OSError:  # it has ended meanwhile
        return False


def object_of(node: NodeHandle, *, cpus: int, memory_kib: int) -> Mapping[str, object]:
    """The Kubernetes Node, as its kubelet would register it."""
    capacity = {"cpu": str(cpus), "memory": f"{memory_kib}Ki", "pods": "110"}
    condition = {"reason": "NoKubelet", "message": "a node of a development cluster"}
    conditions = [
        {**condition, "type": kind, "status": "True" if kind == "Ready" else "False"}
        for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": str(node.address)},
                {"type": "Hostname", "address": node.name},
            ],
        },
    }
