"""From nothing to a cluster that is ready, a step a function, in the order of `bring_up`.

The run's record is the first thing that is made and the last that is removed, so that a crash anywhere between leaves
nothing that `teardown` cannot find.
"""

import os
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from berth_dev import (
    berthparts,
    caches,
    capabilities,
    containers,
    controlplane,
    images,
    kube,
    links,
    nodes,
    states,
    teardown,
    tools,
)
from berth_dev.addresses import free_index, parse_networks
from berth_dev.clusters import Cluster
from berth_dev.errors import DevError
from berth_dev.kind import KindCluster
from berth_dev.kubernetesreleases import NEWEST, release_of
from berth_dev.parts import Part
from berth_dev.progress import Say
from berth_dev.states import Artifacts, Options, Run

_SLOW_START = 120.0
_MACHINE = Path("/run/lock")
"""A folder that every machine has: locked while a cluster takes its place on the machine."""


def project_root() -> Path:
    """The folder that holds `crds/`, `charts/` and `dev/`."""
    return Path(__file__).resolve().parents[2]


def build(say: Say, *, kubelets: bool = False, kubernetes: str = NEWEST.minor) -> Artifacts:
    """Build what the cache does not have yet.

    Args:
        say: Takes progress lines.
        kubelets: Whether nodes are to run Pods.
        kubernetes: Which release the cluster is to be of, `1.36`.
    """
    cache, project = caches.cache_root(), project_root()
    if cache.is_relative_to("/run"):
        raise DevError(f"BERTH_CACHE={cache}: nodes have a /run of their own and would not see it")
    bin_folder, cni_folder = tools.build_tools(cache, project, say, kubernetes=release_of(kubernetes))
    made = Artifacts(bin_folder, cni_folder, images.build_images(cache, project, say))
    if not kubelets:
        return made
    return replace(
        made,
        containerd=tools.build_containerd(cache, say),
        pause=containers.pause_image(cache, project, say),
        helm=tools.build_helm(cache, say),
    )


def bring_up(name: str, options: Options, *, say: Say, root: Path, anew: bool) -> Cluster:
    """Make a cluster; see `Cluster.up`."""
    states.check_name(name)
    if os.geteuid() != 0:
        raise DevError("a cluster takes namespaces, bridges and a libvirtd: run this as root")
    artifacts = build(say, kubelets=options.kubelets, kubernetes=options.kubernetes)
    if anew and teardown.take_down(name, say=say, root=root):
        say(f"took the former cluster {name} down")
    with states.locked(root / name), ExitStack() as choosing:
        # Until its links are there, nobody else on the machine may choose an index: roots do not know of each other.
        choosing.enter_context(states.locked(_MACHINE))
        run = record(name, options, artifacts, root)
        cluster = Cluster(run)
        try:
            _lay_links(cluster)
            choosing.close()
            _make(cluster, say)
        except BaseException as error:
            say(f"failed; taking down what was made of {name} (the logs stay in {run.state / 'logs'})")
            try:
                teardown.remove_run(run, say, keep_logs=True)
            except DevError as remaining:
                error.add_note(f"and taking it down failed: {remaining}")
            raise
    return cluster


def bring_up_kind(name: str, options: Options, *, say: Say) -> KindCluster:
    """Make a cluster on a Docker engine; see `berth_dev.kind` for what is different there.

    Raises:
        DevError: There is one of that name, or some step failed; what was made is taken down again.
    """
    states.check_name(name)
    root, project = states.state_root(), project_root()
    artifacts = build(say, kubernetes=options.kubernetes)
    with states.locked(root / name):
        run = record(name, options, artifacts, root, "kind")
        cluster = KindCluster(run)
        try:
            say(f"cluster {name} on the Docker engine (BACKEND=process makes one without)")
            cluster.create(project)
            cluster.prepare_nodes(say)
            cluster.start_berth(project)
        except BaseException:
            say("failed; taking down what was made")
            teardown.remove_run(run, say, keep_logs=True)
            raise
    return cluster


def record(name: str, options: Options, artifacts: Artifacts, root: Path, backend: str = "process") -> Run:
    """Choose the index and make the run known."""
    with states.locked(root):
        known = states.load_all(root)
        if any(run.cluster == name for run in known):
            raise DevError(
                f"there is a cluster {name} already: make status CLUSTER={name}, or make down CLUSTER={name}"
            )
        shutil.rmtree(root / name / "logs", ignore_errors=True)
        taken = [run.index for run in known]
        index = free_index(taken, parse_networks(links.routed_networks()), links.list_links())
        run = Run(name, states.new_run_id(), index, root / name, options, artifacts, backend)
        run.save()
    return run


def _make(cluster: Cluster, say: Say) -> None:
    say(f"cluster {cluster.name}: addresses {cluster.run.plan.network}, state in {cluster.run.state}")
    _start_api(cluster)
    _make_nodes(cluster, say)
    _finish_control_plane(cluster, say)
    if cluster.run.options.kubelets:
        _start_kubelets(cluster, say)
        _wait_for_libvirt(cluster, say)
        _wait_for_kubelets(cluster, say)
    else:
        _install(cluster, say)
        _wait_for_libvirt(cluster, say)
        _start_berth(cluster, say)


def _lay_links(cluster: Cluster) -> None:
    """Make the bridges, whose names and addresses are the index's."""
    plan = cluster.run.plan
    links.apply(links.host_links(plan))
    links.disable_ipv6(plan, [plan.underlay_bridge, plan.vm_bridge])


def _start_api(cluster: Cluster) -> None:
    """Start what takes longest to come up; nothing waits for it yet."""
    folder = cluster.run.state / "control-plane"
    folder.mkdir()
    kubelets = [node.name for node in cluster.nodes] if cluster.run.options.kubelets else []
    controlplane.write_credentials(folder, kubelets)
    for name in ("etcd", "kube-apiserver", "image-server", *(["links"] if cluster.run.options.links else [])):
        cluster.part(name).start()


def _make_nodes(cluster: Cluster, say: Say) -> None:
    for node in cluster.nodes:
        say(f"{node.name}: namespaces, links, libvirt")
        node.lay_out()
        capabilities.seed(node.private, caches.cache_root())
        node.make()
        if cluster.run.options.libvirt:
            node.virtlogd.start()
            node.libvirtd.start()
        if cluster.run.options.kubelets:
            node.containerd.start()
    if cluster.run.options.kubelets:
        links.apply(links.pod_routes_on_host(cluster.run.plan, len(cluster.nodes)))


def _finish_control_plane(cluster: Cluster, say: Say) -> None:
    say("waiting for the API server")
    cluster.part("etcd").wait_ready()
    cluster.part("kube-apiserver").wait_ready(_SLOW_START)
    controlplane.write_kubeconfigs(cluster.run, cluster.run.state / "control-plane")
    later: list[str] = [name for name in ("kube-controller-manager", "kube-scheduler") if name in cluster.parts]
    for name in later:
        cluster.part(name).start()
    for name in (*later, "image-server", *(["links"] if cluster.run.options.links else [])):
        cluster.part(name).wait_ready()


def _install(cluster: Cluster, say: Say) -> None:
    """Apply what Berth needs in the API, and register the nodes."""
    say("applying CRDs, roles and policies; registering the nodes")
    kube.apply_manifests(cluster.kubectl, project_root())
    cpus, memory = os.cpu_count() or 1, berthparts.machine_memory_kib()
    kube.register_nodes(
        cluster.kubectl, [nodes.object_of(node, cpus=cpus, memory_kib=memory) for node in cluster.nodes]
    )


def _start_kubelets(cluster: Cluster, say: Say) -> None:
    """Bring what a sandbox takes to each node, and have it join."""
    say("waiting for containerd on every node, starting kubelets")
    for node in cluster.nodes:
        node.containerd.wait_ready(_SLOW_START)
        node.import_image(cluster.run.artifacts.pause)
        node.kubelet.start()
        node.proxy.start()


def _wait_for_kubelets(cluster: Cluster, say: Say) -> None:
    say("waiting for the nodes to be Ready")
    for node in cluster.nodes:
        node.kubelet.wait_ready(_SLOW_START)
        node.proxy.wait_ready(_SLOW_START)
    # Without it, no Pod is let in.
    account = ("wait", "--for=create", "serviceaccount/default", f"--timeout={_SLOW_START:g}s")
    cluster.kubectl(*account, timeout=_SLOW_START + 10)


def _wait_for_libvirt(cluster: Cluster, say: Say) -> None:
    if not cluster.run.options.libvirt:
        return
    say("waiting for libvirt on every node")
    for node in cluster.nodes:
        node.virtlogd.wait_ready()
        node.libvirtd.wait_ready(_SLOW_START)
    capabilities.keep(cluster.nodes[0], caches.cache_root())


def _start_berth(cluster: Cluster, say: Say) -> None:
    """Start the operator and the agents, with credentials of their own."""
    options = cluster.run.options
    started: list[Part] = []
    if has_service_account(cluster, berthparts.OPERATOR):
        berthparts.write_operator_kubeconfig(cluster.run, cluster.kubectl)
    if has_service_account(cluster, berthparts.AGENT):
        kube.wait_in_force(cluster.kubectl, berthparts.AGENT_USER)
        for node in cluster.nodes:
            berthparts.write_agent_kubeconfig(cluster.run, cluster.kubectl, node)
    if options.operator:
        started.append(cluster.operator)
    if options.agent:
        started += [node.agent for node in cluster.nodes]
    for part in started:
        say(f"starting {part.name}")
        part.start()
    for part in started:
        part.wait_ready(_SLOW_START)


def has_service_account(cluster: Cluster, name: str) -> bool:
    """Whether the manifests made this service account."""
    found = cluster.kubectl(
        "get", "serviceaccount", name, "-n", berthparts.NAMESPACE, "--ignore-not-found", "-o", "name"
    )
    return bool(found.strip())
