"""Berth's own parts, as plain processes: configured by their environment, with the credentials that a Pod would get."""

import datetime as dt
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from berth_dev import kubeconfigs, nodefs
from berth_dev.controlplane import answers, link_ports, link_url
from berth_dev.errors import CommandError
from berth_dev.kube import Kubectl
from berth_dev.nodes import NodeHandle
from berth_dev.parts import Program
from berth_dev.states import Run

NAMESPACE = "berth-system"
OPERATOR = "berth-operator"
OPERATOR_PART = "operator"
AGENT = "berth-agent"
AGENT_USER = f"system:serviceaccount:{NAMESPACE}:{AGENT}"
_LIVENESS_PORT = 8080
_TOKEN_LIFE = "24h"  # noqa: S105 - a duration
_FRESH_LEASE = dt.timedelta(seconds=60)


def executable(name: str) -> str:
    """A console script of the environment that this very interpreter belongs to."""
    return str(Path(sys.prefix) / "bin" / name)


def write_operator_kubeconfig(run: Run, kubectl: Kubectl) -> None:
    """Give the operator a token of its service account."""
    token = kubectl("create", "token", OPERATOR, "-n", NAMESPACE, "--duration", _TOKEN_LIFE).strip()
    text = kubectl.kubeconfig_for(OPERATOR, token, server=_way(run, OPERATOR_PART))
    kubeconfigs.write_secret(_operator_kubeconfig(run), text)


def agent_kubeconfig(kubectl: Kubectl, node: str, *, server: str | None = None) -> str:
    """A kubeconfig with a token of the agents' service account that is bound to the Node, as a Pod's is.

    Args:
        kubectl: The administrator's.
        node: The Node's name.
        server: Where the API server is reached, if not where kubectl does.
    """
    bound = ("--bound-object-kind", "Node", "--bound-object-name", node)
    token = kubectl("create", "token", AGENT, "-n", NAMESPACE, *bound, "--duration", _TOKEN_LIFE).strip()
    return kubectl.kubeconfig_for(AGENT, token, server=server)


def write_agent_kubeconfig(run: Run, kubectl: Kubectl, node: NodeHandle) -> None:
    """Give a node's agent its kubeconfig."""
    text = agent_kubeconfig(kubectl, node.name, server=_way(run, node.agent.name))
    kubeconfigs.write_secret(_agent_kubeconfig(node), text)


def _way(run: Run, part: str) -> str | None:
    """Where a part's link to the API server is, if it has one."""
    port = link_ports(run).get(part)
    return None if port is None else link_url(run.plan, port)


def _operator_kubeconfig(run: Run) -> Path:
    return run.state / "operator" / "kubeconfig"


def _agent_kubeconfig(node: NodeHandle) -> Path:
    return node.folder / "kubeconfig"


def operator_program(run: Run) -> Program:
    """How the operator is started: on the machine itself, as a Deployment would run anywhere."""
    liveness = f"http://{run.plan.loopback}:{_LIVENESS_PORT}/healthz"
    env = {
        "BERTH_OPERATOR_KUBECONFIG": str(_operator_kubeconfig(run)),
        "BERTH_OPERATOR_NAMESPACE": NAMESPACE,
        "BERTH_OPERATOR_LIVENESS_URL": liveness,
        "BERTH_OPERATOR_LOG_FORMAT": "text",
        **run.options.operator_env,
    }
    return Program(OPERATOR_PART, [executable(OPERATOR)], env, is_ready=lambda: _is_live(liveness))


def agent_program(run: Run, node: NodeHandle, kubectl: Kubectl) -> Program:
    """How a node's agent is started: inside the node's namespaces, as a hostNetwork Pod would be."""
    liveness = f"http://{node.address}:{_LIVENESS_PORT}/healthz"
    env = {
        "BERTH_AGENT_NODE_NAME": node.name,
        "BERTH_AGENT_KUBECONFIG": str(_agent_kubeconfig(node)),
        "BERTH_AGENT_STATE_DIR": "/var/lib/berth",
        "BERTH_AGENT_BOOT_ID_FILE": str(node.boot_id_file),
        "BERTH_AGENT_CNI_BIN_DIRS": str(run.artifacts.cni),
        "BERTH_AGENT_ACCELERATOR": run.options.accelerator,
        "BERTH_AGENT_IMAGE_FILE_DIR": nodefs.IMPORT_FOLDER,
        "BERTH_AGENT_IMAGE_DENIED_CIDRS": str(run.plan.network),
        "BERTH_AGENT_IMAGE_ALLOWED_CIDRS": f"{run.plan.image_server}/32",
        "BERTH_AGENT_LIVENESS_URL": liveness,
        "BERTH_AGENT_LOG_FORMAT": "text",
        **run.options.agent_env,
    }

    def is_ready() -> bool:
        return _is_live(liveness) and _reports(kubectl, node.name)

    return Program(node.agent.name, [*node.entering, executable(AGENT)], env, is_ready=is_ready)


def _is_live(url: str) -> bool:
    parts = urlsplit(url)
    return answers(parts.hostname or "", parts.port or _LIVENESS_PORT, parts.path)


def _reports(kubectl: Kubectl, node: str) -> bool:
    """Whether the node's Hypervisor says that guests can be started there, and its Lease is renewed."""
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    try:
        if kubectl("get", "hypervisors.berth.dev", node, "-o", ready).strip() != "True":
            return False
        lease = json.loads(kubectl("get", "lease", node, "-n", NAMESPACE, "-o", "json"))
    except CommandError:
        return False
    return is_fresh(lease.get("spec", {}).get("renewTime"), dt.datetime.now(dt.UTC))


def is_fresh(renew_time: str | None, now: dt.datetime) -> bool:
    """Whether a Lease was renewed a short while ago.

    Args:
        renew_time: The Lease's `spec.renewTime`, if it has one.
        now: With a time zone.
    """
    return renew_time is not None and now - dt.datetime.fromisoformat(renew_time) < _FRESH_LEASE


def machine_memory_kib() -> int:
    """The machine's memory; every node of the cluster shares it."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
