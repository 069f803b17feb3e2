"""Where a cluster's run is remembered: one folder, one record, one lock each.

The record is written before anything is made, so whatever a crash leaves behind has an id to find it by.
"""

import fcntl
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from berth_dev.addresses import MAX_NODES, AddressPlan
from berth_dev.errors import DevError
from berth_dev.kubernetesreleases import NEWEST, release_of
from berth_dev.processes import poll_until

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
_RECORD = "run.json"
LOCK_TIMEOUT = 120.0


@dataclass(frozen=True)
class Options:
    """What a cluster was asked to be.

    Attributes:
        nodes: How many nodes, from 1.
        operator: Whether the operator runs.
        agent: Whether an agent runs on each node.
        scheduler: Whether kube-scheduler runs; nothing needs it until there are Pods.
        durable_etcd: Whether etcd syncs to disk, which only a test that cuts the power needs.
        accelerator: `auto`, `kvm` or `tcg`, for the agents.
        kubelets: Whether nodes run Pods: each then has a containerd, a kubelet and a kube-proxy, and nothing of Berth
            is there until its chart is installed.
        kubernetes: Which release the cluster is of: one of `berth_dev.kubernetesreleases`.
        libvirt: Whether nodes have a libvirtd of their own; without, Berth's chart brings one.
        links: Whether operator and agents reach the API server through links that can be broken (`Cluster.link`).
        operator_env: Further environment of the operator.
        agent_env: Further environment of the agents.
    """

    nodes: int = 2
    operator: bool = True
    agent: bool = True
    scheduler: bool = False
    durable_etcd: bool = False
    accelerator: str = "tcg"
    kubelets: bool = False
    libvirt: bool = True
    kubernetes: str = NEWEST.minor
    links: bool = False
    operator_env: dict[str, str] = field(default_factory=dict)
    agent_env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise DevError(f"a cluster has 1 to {MAX_NODES} nodes, not {self.nodes}")
        if self.accelerator not in {"auto", "kvm", "tcg"}:
            raise DevError(f"the accelerator is auto, kvm or tcg, not {self.accelerator!r}")
        release_of(self.kubernetes)
        if not self.libvirt and not self.kubelets:
            raise DevError("nodes without a libvirtd get one by Berth's chart, which takes kubelets")
        if self.kubelets and (self.operator or self.agent or self.links):
            raise DevError("with kubelets, Berth comes by its chart: operator, agent and links are not to be asked for")


@dataclass(frozen=True)
class Artifacts:
    """What was built for the run, in the cache.

    Attributes:
        bin: Holds the control plane's programs.
        cni: Holds the CNI plugins.
        images: Holds the guest images and their checksums.
        containerd: Holds containerd's programs; the working directory where no node has a kubelet.
        pause: The archive of the pause image; likewise.
        helm: The helm program; likewise.
    """

    bin: Path
    cni: Path
    images: Path
    containerd: Path = Path()
    pause: Path = Path()
    helm: Path = Path()


@dataclass(frozen=True)
class Run:
    """One life of a cluster, from up to down.

    Attributes:
        cluster: Its name.
        run_id: The mark that everything it starts carries.
        index: What its addresses follow from.
        state: Its folder.
        options: What it was asked to be.
        artifacts: What it runs.
        backend: `process`, or `kind` where a Docker engine runs it.
    """

    cluster: str
    run_id: str
    index: int
    state: Path
    options: Options
    artifacts: Artifacts
    backend: str = "process"

    @property
    def plan(self) -> AddressPlan:
        """The addresses and links of the run."""
        return AddressPlan(self.index)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.state / "kubeconfig"

    def log(self, name: str) -> Path:
        """Where the process of this name writes."""
        return self.state / "logs" / f"{name}.log"

    def save(self) -> None:
        """Write the record, atomically."""
        scratch = self.state / f"{_RECORD}.new"
        scratch.write_text(json.dumps(asdict(self), indent=2, default=str), encoding="utf-8")
        scratch.replace(self.state / _RECORD)


def new_run_id() -> str:
    """Make the mark that everything a run starts carries."""
    return uuid.uuid4().hex


def state_root() -> Path:
    """Where all clusters of this machine are: `BERTH_DEV_STATE`, or /var/lib/berth-dev."""
    root = Path(os.environ.get("BERTH_DEV_STATE") or "/var/lib/berth-dev").absolute()
    if root.is_relative_to("/run") or root.is_relative_to("/sys"):
        raise DevError(f"BERTH_DEV_STATE={root}: nodes have /run and /sys of their own and would not see it")
    return root


def check_name(cluster: str) -> None:
    """Refuse a cluster name that would not make a safe folder and host names.

    Raises:
        DevError: It does not.
    """
    if not _NAME.fullmatch(cluster):
        raise DevError(f"the cluster name {cluster!r} must be 1 to 20 of a-z, 0-9 and -, starting with a letter")


def load(cluster: str, root: Path) -> Run | None:
    """Read a cluster's record; None when there is none.

    Raises:
        DevError: The name is no name, or the record cannot be read.
    """
    check_name(cluster)
    path = root / cluster / _RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        artifacts = Artifacts(**{name: Path(folder) for name, folder in record["artifacts"].items()})
        return Run(**{**record, "state": path.parent, "options": Options(**record["options"]), "artifacts": artifacts})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise DevError(f"{path} is not a record of a run: {error}") from error


def load_all(root: Path) -> list[Run]:
    """Every cluster of this machine, by name."""
    if not root.is_dir():
        return []
    runs = (load(entry.name, root) for entry in sorted(root.iterdir()) if _NAME.fullmatch(entry.name))
    return [run for run in runs if run is not None]


@contextmanager
def locked(folder: Path, *, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold a folder against every other process that does the same; the kernel lets go of it when we die.

    Args:
        folder: Made if it is missing.
        timeout: Seconds to wait for whoever holds it.

    Raises:
        DevError: It is still held at the end of that time.
    """
    deadline = time.monotonic() + timeout
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, folder):
                break
            os.close(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            if not poll_until(deadline):
                raise DevError(
                    f"{folder} is in use by another command on the same cluster; wait for it to end"
                ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    """Whether what we locked is still what the path names: the last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False
