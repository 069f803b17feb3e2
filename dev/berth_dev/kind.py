"""The same cluster on a Docker engine: control plane and nodes are containers that the `kind` program makes.

A node is then a worker container of kind's, with libvirt installed into it, and its kubelet is real. There is one
difference that shows: the nodes' containers have Docker's network between them and no second one, so that `vmbr0` joins
the guests of one node with each other, and those of different nodes only where Docker routes between its containers.

Nothing of this could be run where it was written, for want of a Docker engine: the commands are tested as commands, and
their effect is not. `make up BACKEND=process` is what every test of Berth runs on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from berth_dev import berthparts, commands, kube, nodefs
from berth_dev.errors import CommandError
from berth_dev.images import IMAGE_HOST
from berth_dev.kube import Kubectl
from berth_dev.kubernetesreleases import NEWEST, KubernetesRelease, release_of
from berth_dev.parts import Part
from berth_dev.progress import Say
from berth_dev.states import Run

PACKAGES = ("libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "qemu-utils", "iproute2", "dnsmasq-base")
_PYTHON_PACKAGES = ("python3-venv", "python3-dev", "gcc", "pkg-config", "libvirt-dev")
_PROJECT, _IMAGES, _CNI, _VENV = "/berth/project", "/berth/images", "/berth/cni", "/berth-venv"
_KUBECONFIG = "/etc/berth/kubeconfig"
_PROBE_TIMEOUT = 10.0
_COMMAND_TIMEOUT = 60.0
_CREATE_TIMEOUT = 900.0
_INSTALL_TIMEOUT = 900.0

Runner = Callable[[Sequence[str], str | None, float], str]
"""Runs an argument list with a text as its standard input, for at most so many seconds, and returns its output."""


def run_command(argv: Sequence[str], stdin: str | None, timeout: float) -> str:
    """Run a program for real."""
    return commands.run(argv, stdin=stdin, timeout=timeout).stdout


def is_available(runner: Runner = run_command) -> bool:
    """Whether a Docker engine answers and kind is installed."""
    try:
        runner(["docker", "info"], None, _PROBE_TIMEOUT)
        runner(["kind", "version"], None, _PROBE_TIMEOUT)
    except CommandError:
        return False
    return True


def cluster_config(
    nodes: int, project: Path, images: Path, cni: Path, *, kubernetes: KubernetesRelease = NEWEST
) -> Mapping[str, object]:
    """What kind is told to make: a control plane, and the workers with what the agent needs mounted read-only."""
    image = f"kindest/node:{kubernetes.version}"
    mounts = [
        {"hostPath": str(source), "containerPath": target, "readOnly": True}
        for source, target in ((project, _PROJECT), (images, _IMAGES), (cni, _CNI))
    ]
    workers = [{"role": "worker", "image": image, "extraMounts": mounts} for _ in range(nodes)]
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "image": image}, *workers],
    }


def worker_names(cluster: str, nodes: int) -> list[str]:
    """The names that kind gives to its workers, which are those of the containers and of the Nodes."""
    return [f"{kind_name(cluster)}-worker{number if number > 1 else ''}" for number in range(1, nodes + 1)]


def kind_name(cluster: str) -> str:
    """The cluster's name as kind knows it, apart from whatever else uses kind on the machine."""
    return f"berth-{cluster}"


class KindNode:
    """A worker of a kind cluster.

    Attributes:
        name: Its name as a Node and as a container.
    """

    def __init__(self, name: str, runner: Runner) -> None:
        self.name = name
        self._runner = runner

    def exec(self, argv: Sequence[str], *, stdin: str | None = None, timeout: float = _COMMAND_TIMEOUT) -> str:
        """Run a command in the worker's container to its end and return its output."""
        return self._runner(["docker", "exec", "-i", self.name, *argv], stdin, timeout)

    def install(self) -> None:
        """Install libvirt and the agent's environment, and start libvirt; the container's init is systemd."""
        apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        self.exec([*apt, "update"], timeout=_INSTALL_TIMEOUT)
        packages = [*PACKAGES, *_PYTHON_PACKAGES]
        self.exec([*apt, "install", "-y", "--no-install-recommends", *packages], timeout=_INSTALL_TIMEOUT)
        self.exec(["tee", "/etc/libvirt/qemu.conf"], stdin=nodefs.QEMU_CONF)
        self.exec(["systemctl", "restart", "virtlogd", "libvirtd"])
        self.exec(["python3", "-m", "venv", _VENV])
        pip = [f"{_VENV}/bin/pip", "install", "--quiet"]
        self.exec([*pip, "--require-hashes", "-r", f"{_PROJECT}/requirements.lock"], timeout=_INSTALL_TIMEOUT)
        self.exec([*pip, "--no-deps", "--no-build-isolation", _PROJECT], timeout=_INSTALL_TIMEOUT)

    def join_network(self) -> None:
        """Make the bridge that the examples' network attaches guests to."""
        self.exec(["ip", "link", "add", "name", "vmbr0", "type", "bridge"])
        self.exec(["ip", "link", "set", "dev", "vmbr0", "up"])

    def serve_images(self) -> None:
        """Serve the images to this worker, under the name by which manifests know the image server."""
        address = json.loads(self._runner(["docker", "inspect", self.name], None, _COMMAND_TIMEOUT))[0]
        own = str(address["NetworkSettings"]["Networks"]["kind"]["IPAddress"])
        self.exec(["tee", "-a", "/etc/hosts"], stdin=f"{own} {IMAGE_HOST}\n")
        server = ["python3", "-m", "http.server", "80", "--bind", own, "--directory", _IMAGES]
        self.exec(["systemd-run", "--unit=berth-images", *server])

    def start_agent(self, kubeconfig: str, settings: Mapping[str, str]) -> None:
        """Start the agent as a service of the container, with credentials of its own."""
        self.exec(["mkdir", "-p", "-m", "0700", str(Path(_KUBECONFIG).parent)])
        self.exec(["tee", _KUBECONFIG], stdin=kubeconfig)
        env = [f"--setenv={key}={value}" for key, value in settings.items()]
        self.exec(["systemd-run", "--unit=berth-agent", "--property=Restart=always", *env, f"{_VENV}/bin/berth-agent"])


def agent_settings(node: str, accelerator: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The agent's environment in a worker."""
    return {
        "BERTH_AGENT_NODE_NAME": node,
        "BERTH_AGENT_KUBECONFIG": _KUBECONFIG,
        "BERTH_AGENT_CNI_BIN_DIRS": _CNI,
        "BERTH_AGENT_ACCELERATOR": accelerator,
        "BERTH_AGENT_IMAGE_FILE_DIR": nodefs.IMPORT_FOLDER,
        "BERTH_AGENT_LOG_FORMAT": "text",
        **extra,
    }


class KindCluster:
    """A cluster on a Docker engine, with the part of `Cluster`'s interface that does not need the machine's namespaces.

    Attributes:
        run: Its record.
        nodes: Its workers.
        kubectl: Runs kubectl as administrator.
        operator: The operator's process, on the machine itself.
    """

    def __init__(self, run: Run, runner: Runner = run_command) -> None:
        self.run = run
        self._runner = runner
        self.kubectl = Kubectl(run.artifacts.bin / "kubectl", run.kubeconfig, run.run_id)
        self.nodes = [KindNode(name, runner) for name in worker_names(run.cluster, run.options.nodes)]
        self.operator = Part(run, "operator", lambda: berthparts.operator_program(run))

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.run.kubeconfig

    def create(self, project: Path) -> None:
        """Let kind make the containers, and wait for its nodes."""
        artifacts, name = self.run.artifacts, kind_name(self.run.cluster)
        options = self.run.options
        config = cluster_config(
            options.nodes, project, artifacts.images, artifacts.cni, kubernetes=release_of(options.kubernetes)
        )
        argv = ["kind", "create", "cluster", "--name", name, "--config", "-", "--kubeconfig", str(self.kubeconfig)]
        self._runner([*argv, "--wait", "180s"], json.dumps(config), _CREATE_TIMEOUT)

    def delete(self) -> None:
        """Let kind remove the containers; doing so again does nothing."""
        self._runner(["kind", "delete", "cluster", "--name", kind_name(self.run.cluster)], None, _CREATE_TIMEOUT)

    def prepare_nodes(self, say: Say) -> None:
        """Make hypervisors of the workers."""
        for node in self.nodes:
            say(f"{node.name}: installing libvirt and the agent (minutes)")
            node.install()
            node.join_network()
            node.serve_images()

    def start_berth(self, project: Path) -> None:
        """Apply what Berth needs in the API, and start the operator and the agents."""
        kube.apply_manifests(self.kubectl, project)
        kube.wait_in_force(self.kubectl, berthparts.AGENT_USER)
        options = self.run.options
        if options.operator:
            berthparts.write_operator_kubeconfig(self.run, self.kubectl)
            self.operator.start()
            self.operator.wait_ready()
        for node in self.nodes if options.agent else ():
            settings = agent_settings(node.name, options.accelerator, options.agent_env)
            node.start_agent(berthparts.agent_kubeconfig(self.kubectl, node.name), settings)
