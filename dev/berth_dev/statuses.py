"""What of a cluster runs, and where to look into it."""

import shutil

from berth_dev.clusters import Cluster


def describe(cluster: Cluster) -> str:
    """A table of the cluster's parts, with process id and log, below what one needs to use the cluster."""
    run = cluster.run
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
        f"cluster {cluster.name} ({run.backend}): underlay {run.plan.underlay}, VM network {cluster.vm_subnet} on "
        f"{run.plan.vm_bridge} (this machine: {cluster.vm_gateway})\n"
        f"  export KUBECONFIG={cluster.kubeconfig}\n{table}"
    )


def is_whole(cluster: Cluster) -> bool:
    """Whether every part that the cluster was asked to have runs."""
    return all(part.is_running for part in cluster.parts.values())


def has_kubectl() -> bool:
    """Whether whoever uses the cluster has a kubectl of their own."""
    return shutil.which("kubectl") is not None
