"""What of a cluster runs, and where to look into it."""

import shutil

from berth_dev.clusters import Cluster
from berth_dev.kubernetesreleases import release_of
from berth_dev.states import Run


def describe(run: Run) -> str:
    """A table of a cluster's parts, with process id and log, below what one needs to use the cluster."""
    if run.backend == "kind":
        shown = f"cluster {run.cluster} (kind): docker ps --filter name=berth-{run.cluster}"
        return f"{shown}\n  export KUBECONFIG={run.kubeconfig}"
    cluster, release = Cluster(run), release_of(run.options.kubernetes)
    rows = [("PART", "PID", "STATE", "LOG")]
    for part in cluster.parts.values():
        identity = part.identity
        rows.append(
            (part.name, str(identity.pid) if identity else "-", "running" if identity else "DOWN", str(part.log))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = "\n".join(
        "  " + "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]))
        for row in rows
    )
    return (
        f"cluster {cluster.name} ({run.backend}): Kubernetes {release.version}, "
        f"underlay {run.plan.underlay}, VM network {cluster.vm_subnet} on "
        f"{run.plan.vm_bridge} (this machine: {cluster.vm_gateway})\n"
        f"  export KUBECONFIG={cluster.kubeconfig}\n{table}"
    )


def is_whole(run: Run) -> bool:
    """Whether every part that the cluster was asked to have runs, as far as this machine's processes tell."""
    return run.backend == "kind" or all(part.is_running for part in Cluster(run).parts.values())


def has_kubectl() -> bool:
    """Whether whoever uses the cluster has a kubectl of their own."""
    return shutil.which("kubectl") is not None
