"""What kubelets, container runtimes and proxies are known to leave on a machine, looked at before and after."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from berth_dev import commands
from berth_dev.clusters import Cluster

_FOLDERS = (
    "/run/containerd",
    "/run/netns",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/cni",
    "/var/lib/berth",
    "/var/log/pods",
    "/var/log/containers",
    "/opt/containerd",
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/usr/libexec/kubernetes",
)
_SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/netfilter/nf_conntrack_max",
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
)


@dataclass(frozen=True)
class Machine:
    """What of the machine is everybody's.

    Attributes:
        sysctls: Their values; None for one that this kernel does not have.
        folders: Which of those exist that kubelets and their like make.
        rules: The machine's own nftables.
    """

    sysctls: dict[str, str | None]
    folders: frozenset[str]
    rules: str

    @classmethod
    def now(cls) -> "Machine":
        """Look at it."""
        values = {name: _read(Path("/proc/sys") / name) for name in _SYSCTLS}
        there = frozenset(folder for folder in _FOLDERS if Path(folder).exists())
        return cls(values, there, commands.run(["nft", "list", "ruleset"]).stdout)


def left_of(cluster: Cluster) -> list[str]:
    """Everything on the machine that names the cluster or its run, in words; by no means of the project's own."""
    run = cluster.run
    return [
        *(f"control group {path}" for path in Path("/sys/fs/cgroup").rglob(f"*{run.run_id}*")),
        *(f"mount {line}" for line in _lines(Path("/proc/self/mountinfo")) if _names(run.run_id, str(run.state), line)),
        *(f"link {path.name}" for path in Path("/sys/class/net").iterdir() if path.name.startswith(_prefix(cluster))),
        *(f"route {line}" for line in _routes() if line.startswith(_block(cluster))),
        *(f"process {text}" for text in _processes(run.run_id, str(run.state))),
        *([f"folder {run.state}"] if run.state.exists() else []),
    ]


def _processes(run_id: str, state: str) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        command = (_read(entry / "cmdline") or "").replace("\0", " ") if entry.name.isdigit() else ""
        if not command:  # one that has ended and waits for its parent has none either
            continue
        seen = [_read(entry / kind) or "" for kind in ("cgroup", "mountinfo", "environ")]
        if "pytest" not in command and any(_names(run_id, state, text) for text in (command, *seen)):
            yield f"{entry.name} {command}"


def _names(run_id: str, state: str, text: str) -> bool:
    return run_id in text or f"{state}/" in text


def _prefix(cluster: Cluster) -> str:
    return f"berth{cluster.run.index}-"


def _block(cluster: Cluster) -> str:
    return str(cluster.run.plan.network.network_address).removesuffix("0.0")


def _routes() -> list[str]:
    return commands.run(["ip", "route", "show"]).stdout.splitlines()


def _lines(path: Path) -> list[str]:
    return (_read(path) or "").splitlines()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
