"""What is tried with a stolen operator token: it may do much, and still not everything that RBAC has to give it."""

from typing import Any

from tests.integration.security.calls import Request, apply, merge, patch
from tests.integration.security.rules import BUDGETS, CORE, HYPERVISORS, LEASES, SYSTEM, VMS, Attempt, Rule, policy

RBAC = Rule("RBAC", 403, 'User "system:serviceaccount:berth-system:berth-operator" cannot ')
NODE = policy("berth-operator-nodes", "the operator may change nothing of a Node but labels")
NODE_LABELS = policy("berth-operator-nodes", "the operator may change only the labels berth.dev/hypervisor")
MACHINE = policy("berth-operator-virtualmachines", "a VirtualMachine is its user's")
FOREIGN_POD = policy("berth-operator-pods", "the operator makes, resizes and deletes anchor Pods only")
STRONG_POD = policy("berth-operator-pods", "an anchor Pod has no volumes, no service account's token and no privilege")
FOREIGN_BUDGET = policy("berth-operator-budgets", "the operator makes and deletes budgets of anchors only")
WIDE_BUDGET = policy("berth-operator-budgets", "an anchor's budget selects anchor Pods only")
ANCHOR_LABEL = {"berth.dev/anchor": "true"}


def anchor(labels: dict[str, str] = ANCHOR_LABEL, container: dict[str, Any] | None = None, **spec: Any) -> Request:
    """Create a Pod that is an anchor but for what is given."""
    context = {"allowPrivilegeEscalation": False, **(container or {})}
    body = {
        "metadata": {"name": "evil", "labels": labels},
        "spec": {
            "nodeName": "node-2",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532},
            "containers": [{"name": "anchor", "image": "pause", "securityContext": context}],
            **spec,
        },
    }
    return Request("POST", f"{SYSTEM}/pods", body)


def _budget(labels: dict[str, str], **selected: str) -> Request:
    spec = {"minAvailable": 1, "selector": {"matchLabels": selected}}
    return Request("POST", BUDGETS, {"metadata": {"name": "evil", "labels": labels}, "spec": spec})


def _attempt(name: str, what: str, request: Request, rule: Rule) -> Attempt:
    return Attempt(f"operator-{name}", what, request, rule, "operator")


_NODE, _VM = f"{CORE}/nodes/node-1", f"{VMS}/mine"
_DISK = {"name": "d", "hostPath": {"path": "/"}}
OPERATOR_ATTEMPTS: tuple[Attempt, ...] = (
    _attempt("spec", "change a VM's spec", merge(_VM, {"spec": {"paused": True}}), MACHINE),
    _attempt("labels", "label a VM", apply(_VM, "x", {"metadata": {"labels": {"a": "b"}}}), MACHINE),
    _attempt("owner", "give a VM an owner", merge(_VM, {"metadata": {"annotations": {"a": "b"}}}), MACHINE),
    _attempt(
        "finalizer", "add another finalizer", patch(_VM, ("add", "/metadata/finalizers/-", "a.example.com/b")), MACHINE
    ),
    _attempt("delete", "delete a VM", Request("DELETE", _VM), RBAC),
    _attempt("taint", "taint a Node", merge(_NODE, {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}}), NODE),
    _attempt("cordon", "cordon a Node", merge(_NODE, {"spec": {"unschedulable": True}}), NODE),
    _attempt("annotate", "annotate a Node", merge(_NODE, {"metadata": {"annotations": {"a": "b"}}}), NODE),
    _attempt(
        "node-label",
        "label a Node as part of the control plane",
        merge(_NODE, {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
        NODE_LABELS,
    ),
    _attempt(
        "node-unlabel",
        "take a Node's own labels away",
        merge(_NODE, {"metadata": {"labels": {"zone": None}}}),
        NODE_LABELS,
    ),
    _attempt("node-status", "raise a Node's allocatable", merge(f"{_NODE}/status", {"status": {}}), RBAC),
    _attempt("overcommit", "overcommit a node", merge(f"{HYPERVISORS}/node-1", {"spec": {}}), RBAC),
    _attempt("key", "put a key on a Hypervisor", merge(f"{HYPERVISORS}/node-1/status", {"status": {}}), RBAC),
    _attempt("heartbeat", "renew a node's heartbeat", merge(f"{LEASES}/node-1", {"spec": {}}), RBAC),
    _attempt("secrets", "list Secrets", Request("GET", f"{CORE}/secrets"), RBAC),
    _attempt("secret", "write a Secret", merge(f"{CORE}/namespaces/default/secrets/user-data", {"data": {}}), RBAC),
    _attempt("pod", "create a Pod that is no anchor", anchor({}), FOREIGN_POD),
    _attempt(
        "privileged",
        "create a privileged anchor",
        anchor(container={"privileged": True, "allowPrivilegeEscalation": True}),
        STRONG_POD,
    ),
    _attempt("root", "create an anchor that is root", anchor(container={"runAsNonRoot": False}), STRONG_POD),
    _attempt(
        "capable",
        "create an anchor with capabilities",
        anchor(container={"capabilities": {"add": ["SYS_ADMIN"]}}),
        STRONG_POD,
    ),
    _attempt("host-path", "create an anchor with a path of the host", anchor(volumes=[_DISK]), STRONG_POD),
    _attempt("host-pid", "create an anchor among the host's processes", anchor(hostPID=True), STRONG_POD),
    _attempt(
        "agents-token",
        "create an anchor with an agent's token, on any node",
        anchor(serviceAccountName="berth-agent", automountServiceAccountToken=True),
        STRONG_POD,
    ),
    _attempt("delete-pod", "delete an agent's Pod", Request("DELETE", f"{SYSTEM}/pods/agent-1"), FOREIGN_POD),
    _attempt("label-pod", "label a Pod", merge(f"{SYSTEM}/pods/agent-1", {"metadata": {"labels": ANCHOR_LABEL}}), RBAC),
    _attempt(
        "evict",
        "evict a Pod",
        Request("POST", f"{SYSTEM}/pods/agent-1/eviction", {"metadata": {"name": "agent-1"}}),
        RBAC,
    ),
    _attempt("budget", "make a budget that is no anchor's", _budget({}, **ANCHOR_LABEL), FOREIGN_BUDGET),
    _attempt(
        "wide-budget",
        "keep Pods from being evicted that are no anchors",
        _budget(ANCHOR_LABEL, **{"app.kubernetes.io/component": "agent"}),
        WIDE_BUDGET,
    ),
    _attempt("budget-of-all", "keep all Pods from being evicted", _budget(ANCHOR_LABEL), WIDE_BUDGET),
    _attempt(
        "delete-budget", "delete the operators' budget", Request("DELETE", f"{BUDGETS}/berth-operator"), FOREIGN_BUDGET
    ),
    _attempt("change-budget", "change a budget", merge(f"{BUDGETS}/berth-operator", {"spec": {}}), RBAC),
    _attempt(
        "budget-elsewhere",
        "make a budget elsewhere",
        Request("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", {}),
        RBAC,
    ),
    _attempt("pod-elsewhere", "create a Pod elsewhere", Request("POST", f"{CORE}/namespaces/default/pods", {}), RBAC),
    _attempt("token", "have a token made", Request("POST", f"{SYSTEM}/serviceaccounts/berth-agent/token", {}), RBAC),
)
