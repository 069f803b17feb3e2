"""What an attempt is, and the rules that refuse them, each by words that only its own answer has."""

from dataclasses import dataclass
from typing import Any

from tests.integration.security.calls import Request

GROUP = "/apis/berth.dev/v1alpha1"
VMS = f"{GROUP}/namespaces/default/virtualmachines"
HYPERVISORS = f"{GROUP}/hypervisors"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/berth-system/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
BUDGETS = "/apis/policy/v1/namespaces/berth-system/poddisruptionbudgets"
CORE = "/api/v1"
SYSTEM = f"{CORE}/namespaces/berth-system"
RBAC_GROUP = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"

AGENT, OPERATOR = "berth-agent", "berth-operator"
CLAIM = {"id": "c1", "epoch": 1, "cpu": "2", "memory": "1100Mi", "storage": "11Gi"}
PRESENT = {**CLAIM, "epoch": 1_000_000}
"""A claim that is refused for whoever makes it: its age, which another rule might be quicker to see, is no reason."""
SCHEDULED = {
    "type": "Scheduled",
    "status": "True",
    "reason": "Bound",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Rule:
    """What refuses.

    Attributes:
        name: As docs/security.md has it.
        status: Of the answer.
        phrase: That only this rule's answer has.
    """

    name: str
    status: int
    phrase: str


def policy(name: str, phrase: str) -> Rule:
    """A ValidatingAdmissionPolicy of Berth's, and words of its own message."""
    return Rule(
        f"policy {name}", 403, f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {phrase}"
    )


RBAC = Rule("RBAC", 403, 'User "system:serviceaccount:berth-system:berth-agent" cannot ')
AUTHENTICATION = Rule("authentication", 401, "Unauthorized")
IGNORED = Rule("status subresource", 200, "")
"""The API server takes the write and leaves out all of it that is not status."""
EVENT_SCHEMA = Rule("API server", 422, "needs to be unset")

FOREIGN_VM = policy("berth-agent-virtualmachines", "a node agent may write the status of VMs on its own node only")
BINDING = policy("berth-agent-virtualmachines", "status.nodeName is the operator's")
CLAIMED = policy("berth-agent-virtualmachines", "status.claim is the operator's")
CONDITION = policy("berth-agent-virtualmachines", "the condition Scheduled is the operator's")
FOREIGN_HYPERVISOR = policy("berth-agent-hypervisors", "a node agent may write the Hypervisor of its own node only")
HYPERVISOR_SPEC = policy("berth-agent-hypervisors", "the spec of a Hypervisor is the administrator's")
HYPERVISOR_METADATA = policy("berth-agent-hypervisors", "a node agent may not set labels")
FOREIGN_LEASE = policy("berth-agent-leases", "a node agent may write the Lease of its own node only")
LEASE_METADATA = policy("berth-agent-leases", "a node agent may not set labels")
FOREIGN_EVENT = policy("berth-agent-events", "a node agent reports events with reportingController")
EVENT_SUBJECT = policy("berth-agent-events", "a node agent reports events about VirtualMachines of berth.dev only")
EVENT_METADATA = policy("berth-agent-events", "a node agent may not set finalizers or owners")
NODELESS = "this token of a node agent names no node"


@dataclass(frozen=True)
class Attempt:
    """One attack.

    Attributes:
        name: Of the test.
        what: In words.
        request: As it is sent.
        rule: What refuses it.
        token: `pod` (of an agent's Pod on node-1), `new` (of node-4, which has no Hypervisor yet) or `nodeless`.
        at: Who is attacked: `api`; or, from inside a Pod only, `files` or a host (`node-1`, `node-2`, `control-plane`,
            `operator`) with its port.
    """

    name: str
    what: str
    request: Request
    rule: Rule
    token: str = "pod"  # noqa: S105 - which one, not the token
    at: str = "api"


def status_of(vm: str) -> str:
    return f"{VMS}/{vm}/status"


def owned(path: str) -> dict[str, Any]:
    """Metadata that ties one's own object to the operator's Deployment."""
    return {"name": path, "ownerReferences": [OWNER]}


OWNER: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "name": "berth-operator",
    "uid": "00000000-0000-0000-0000-000000000001",
    "blockOwnerDeletion": True,
}
