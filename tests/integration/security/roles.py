"""What users try with the rights that they have, or would like to have."""

from tests.integration.security.calls import Request, merge
from tests.integration.security.rules import ADMISSION, CORE, GROUP, HYPERVISORS, SYSTEM, VMS, Attempt, Rule

TENANT = "tenant"
TENANT_VMS = f"{GROUP}/namespaces/{TENANT}/virtualmachines"
USERS = ("view", "edit", "admin")
"""Service accounts of the tenant's namespace, each bound to the cluster role of that name there."""
RBAC = Rule("RBAC", 403, 'User "system:serviceaccount:tenant:')
_STATUS = {"status": {"nodeName": "node-1", "phase": "Running"}}
_META = {"metadata": {"name": "evil"}}


def _create(name: str, what: str, path: str) -> Attempt:
    return Attempt(f"create-{name}", f"create {what}", Request("POST", path, {**_META, "spec": {}}), RBAC, "admin")


USER_ATTEMPTS: tuple[Attempt, ...] = (
    Attempt(
        "user-status", "bind a VM by writing its status", merge(f"{TENANT_VMS}/own/status", _STATUS), RBAC, "admin"
    ),
    Attempt(
        "user-claim",
        "claim for a VM by replacing its status",
        Request("PUT", f"{TENANT_VMS}/own/status", {"metadata": {"name": "own"}, **_STATUS}),
        RBAC,
        "admin",
    ),
    Attempt(
        "user-image-status",
        "call an image ready",
        merge(f"{GROUP}/namespaces/{TENANT}/virtualmachineimages/own/status", {"status": {"phase": "Ready"}}),
        RBAC,
        "admin",
    ),
    _create("network", "a network, whose CNI chain reaches into the nodes", f"{GROUP}/virtualnetworks"),
    _create("pool", "a pool, whose path is the nodes'", f"{GROUP}/storagepools"),
    _create("class", "a class", f"{GROUP}/virtualmachineclasses"),
    _create("cluster-image", "an image for everybody", f"{GROUP}/clustervirtualmachineimages"),
    _create("hypervisor", "a Hypervisor", HYPERVISORS),
    _create("vm-elsewhere", "a VM in another namespace", VMS),
    Attempt(
        "user-hypervisor",
        "overcommit a node",
        merge(f"{HYPERVISORS}/node-1", {"spec": {"overcommit": {"memory": 8}}}),
        RBAC,
        "admin",
    ),
    Attempt(
        "user-public-key",
        "put a key on a Hypervisor",
        merge(f"{HYPERVISORS}/node-1/status", {"status": {"publicKey": "x"}}),
        RBAC,
        "admin",
    ),
    Attempt(
        "user-secret-elsewhere",
        "read a Secret of another namespace",
        Request("GET", f"{CORE}/namespaces/default/secrets/user-data"),
        RBAC,
        "admin",
    ),
    Attempt(
        "user-agent-token",
        "have a token of an agent made",
        Request("POST", f"{SYSTEM}/serviceaccounts/berth-agent/token", {"spec": {}}),
        RBAC,
        "admin",
    ),
    Attempt(
        "user-policy",
        "delete a policy",
        Request("DELETE", f"{ADMISSION}/validatingadmissionpolicies/berth-agent-virtualmachines"),
        RBAC,
        "admin",
    ),
    Attempt(
        "user-lease",
        "take the operator's Lease",
        Request("DELETE", "/apis/coordination.k8s.io/v1/namespaces/berth-system/leases/berth-operator"),
        RBAC,
        "admin",
    ),
    Attempt(
        "namesake",
        "write a status as a service account that is also called berth-agent",
        merge(f"{TENANT_VMS}/own/status", _STATUS),
        RBAC,
        "berth-agent",
    ),
    Attempt(
        "view-create",
        "create a VM with the right to view",
        Request("POST", TENANT_VMS, {**_META, "spec": {}}),
        RBAC,
        "view",
    ),
    Attempt("view-delete", "delete a VM with the right to view", Request("DELETE", f"{TENANT_VMS}/own"), RBAC, "view"),
    Attempt(
        "view-secrets",
        "read Secrets with the right to view",
        Request("GET", f"{CORE}/namespaces/{TENANT}/secrets"),
        RBAC,
        "view",
    ),
    Attempt("view-hypervisors", "list the nodes' Hypervisors", Request("GET", HYPERVISORS), RBAC, "admin"),
    Attempt("view-pools", "list the pools and their paths", Request("GET", f"{GROUP}/storagepools"), RBAC, "admin"),
    Attempt(
        "view-networks",
        "list the networks and their CNI chains",
        Request("GET", f"{GROUP}/virtualnetworks"),
        RBAC,
        "admin",
    ),
    Attempt(
        "view-elsewhere", "list the VMs of all namespaces", Request("GET", f"{GROUP}/virtualmachines"), RBAC, "admin"
    ),
)
