"""A cluster as a Python object: made, found again, looked into, taken down."""

import ipaddress
from collections.abc import Callable
from pathlib import Path

from berth_dev import berthparts, commands, controlplane, runs, states
from berth_dev.errors import DevError
from berth_dev.images import GuestImage, read_images
from berth_dev.kube import Kubectl
from berth_dev.linkserver import LinkHandle
from berth_dev.nodes import NodeHandle
from berth_dev.parts import Part, Program
from berth_dev.progress import Say, silent
from berth_dev.states import Options, Run


class Cluster:
    """A cluster that exists.

    `up` makes one, `load` finds one that another process made. Both give the same object: nothing of a cluster lives in
    the process that made it.

    Attributes:
        run: Its record.
        nodes: Its nodes, in order.
        kubectl: Runs kubectl as administrator: `cluster.kubectl("get", "vm", "-o", "json", timeout=10)` returns what it
            prints and raises `CommandError` with what it complains about.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.kubectl = Kubectl(run.artifacts.bin / "kubectl", run.kubeconfig, run.run_id)
        self.nodes = [NodeHandle(run, number, self._agent) for number in range(1, run.options.nodes + 1)]
        self._host_parts = self._make_host_parts()

    @classmethod
    def up(
        cls,
        name: str,
        options: Options | None = None,
        *,
        say: Say = silent,
        root: Path | None = None,
        anew: bool = False,
    ) -> "Cluster":
        """Make a cluster and wait until all of it is ready.

        Args:
            name: Its name; several live side by side.
            options: What it is to be.
            say: Takes progress lines.
            root: Where clusters keep their state; `states.state_root()` where left out.
            anew: Take a cluster of that name down first, instead of refusing.

        Raises:
            DevError: There is one of that name, or some part failed; what was made is taken down, but for the logs.
        """
        from berth_dev import startup  # noqa: PLC0415 - it is built on this module

        return startup.bring_up(name, options or Options(), say=say, root=root or states.state_root(), anew=anew)

    @classmethod
    def load(cls, name: str, *, root: Path | None = None) -> "Cluster":
        """Find a cluster that was made before.

        Raises:
            DevError: There is none of that name.
        """
        run = states.load(name, root or states.state_root())
        if run is None:
            raise DevError(f"there is no cluster {name!r}: make up CLUSTER={name}")
        if run.backend == "kind":
            raise DevError(f"the nodes of {name} are containers: docker exec -it berth-{name}-worker bash")
        return cls(run)

    def down(self, *, say: Say = silent) -> None:
        """Take everything of the cluster down; doing so again does nothing.

        Raises:
            DevError: Something resists, and what.
        """
        from berth_dev import teardown  # noqa: PLC0415 - it is built on this module

        teardown.take_down(self.run.cluster, say=say, root=self.run.state.parent)

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.run.cluster

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.run.kubeconfig

    @property
    def vm_subnet(self) -> ipaddress.IPv4Network:
        """The network of the bridge `vmbr0`, the same on all nodes."""
        return self.run.plan.vm_subnet

    @property
    def vm_gateway(self) -> ipaddress.IPv4Address:
        """This machine's address on the VM network."""
        return self.run.plan.vm_gateway

    @property
    def images(self) -> dict[str, GuestImage]:
        """The guest images, by name: `tiny` and `debian`."""
        return read_images(self.run.artifacts.images)

    def import_image(self, archive: Path) -> None:
        """Bring a container image to every node, from an OCI archive that names it.

        Raises:
            CommandError: A node's containerd does not take it, or the nodes have none.
        """
        for node in self.nodes:
            node.import_image(archive)

    def helm(self, *args: str, timeout: float = 300.0) -> str:
        """Run helm as administrator and return its output; only where there are kubelets.

        Args:
            args: Its arguments.
            timeout: Seconds.

        Raises:
            CommandError: It failed; the message has its standard error.
        """
        folder = self.run.state / "helm"
        own = {"KUBECONFIG": str(self.kubeconfig)}
        own |= {f"HELM_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        env = runs.environment(self.run.run_id, own)
        return commands.run([str(self.run.artifacts.helm), *args], timeout=timeout, env=env).stdout

    @property
    def operator(self) -> Part:
        """The operator's process."""
        return self.part("operator")

    @property
    def parts(self) -> dict[str, Part]:
        """Every part that the cluster was asked to have, by name, in the order in which they are started."""
        node_parts = (part for node in self.nodes for part in node.parts)
        asked = (part for part in self._host_parts.values() if part.name != "operator" or self.run.options.operator)
        return {part.name: part for part in (*asked, *node_parts)}

    def part(self, name: str) -> Part:
        """A part by name, asked for or not (an operator that is run by hand, say).

        Raises:
            DevError: There is none of that name.
        """
        every = {**self._host_parts, **{part.name: part for node in self.nodes for part in (*node.parts, node.agent)}}
        if name not in every:
            raise DevError(f"there is no part {name!r}; there are {', '.join(every)}")
        return every[name]

    def start(self, name: str) -> None:
        """Start a part and wait until it is ready."""
        self.part(name).start()
        self.part(name).wait_ready()

    def kill_and_start(self, name: str) -> None:
        """End a part as a crash would, start it again, and wait until it is ready."""
        self.part(name).kill()
        self.start(name)

    def link(self, name: str) -> LinkHandle:
        """The link through which a part (`operator`, `node-1.agent`) reaches the API server.

        Raises:
            DevError: It has none: the cluster was made without `Options.links`.
        """
        links = controlplane.link_ports(self.run)
        if name not in links:
            raise DevError(f"{name!r} has no link that can be broken; there are {', '.join(links) or 'none'}")
        return LinkHandle(name, self.run.plan.loopback)

    def stop(self, name: str) -> None:
        """Stop a part; its state stays."""
        self.part(name).stop()

    def node(self, name: str) -> NodeHandle:
        """A node by name.

        Raises:
            DevError: There is none of that name.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise DevError(f"there is no node {name!r}; there are {', '.join(node.name for node in self.nodes)}")

    def _make_host_parts(self) -> dict[str, Part]:
        folder = self.run.state / "control-plane"
        programs: dict[str, Program] = dict(controlplane.programs(self.run, self.run.artifacts.bin, folder))
        programs["image-server"] = controlplane.image_server(self.run)
        if self.run.options.links:
            programs["links"] = controlplane.link_server(self.run)
        programs["operator"] = berthparts.operator_program(self.run)
        return {name: Part(self.run, name, _constantly(program)) for name, program in programs.items()}

    def _agent(self, node: NodeHandle) -> Program:
        return berthparts.agent_program(self.run, node, self.kubectl)


def _constantly(program: Program) -> Callable[[], Program]:
    return lambda: program
