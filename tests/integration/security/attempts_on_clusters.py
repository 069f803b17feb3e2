"""What a stolen agent token tries on the rest of the cluster."""

from tests.integration.security.calls import Request, merge
from tests.integration.security.rules import ADMISSION, BUDGETS, CORE, GROUP, RBAC, RBAC_GROUP, SYSTEM, VMS, Attempt

_POD = {
    "metadata": {"name": "evil"},
    "spec": {
        "nodeName": "node-2",
        "serviceAccountName": "berth-operator",
        "containers": [{"name": "a", "image": "a", "securityContext": {"privileged": True}}],
    },
}
_TOKEN = {"spec": {"audiences": [], "boundObjectRef": {"kind": "Node", "apiVersion": "v1", "name": "node-2"}}}
_CLUSTER_ADMIN = {
    "metadata": {"name": "evil"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "name": "berth-agent", "namespace": "berth-system"}],
}
CLUSTER = (
    Attempt("read-own-secrets", "list the Secrets of Berth's namespace", Request("GET", f"{SYSTEM}/secrets"), RBAC),
    Attempt(
        "read-secret",
        "read the Secret that its own VM names",
        Request("GET", f"{CORE}/namespaces/default/secrets/user-data"),
        RBAC,
    ),
    Attempt("read-all-secrets", "list all Secrets", Request("GET", f"{CORE}/secrets"), RBAC),
    Attempt("watch-secrets", "watch all Secrets", Request("GET", f"{CORE}/secrets?watch=1&timeoutSeconds=1"), RBAC),
    Attempt("read-configmaps", "list ConfigMaps", Request("GET", f"{SYSTEM}/configmaps"), RBAC),
    Attempt(
        "token-of-another",
        "have a token made for an agent of another node",
        Request("POST", f"{SYSTEM}/serviceaccounts/berth-agent/token", _TOKEN),
        RBAC,
    ),
    Attempt(
        "token-of-operator",
        "have a token made for the operator",
        Request("POST", f"{SYSTEM}/serviceaccounts/berth-operator/token", {"spec": {}}),
        RBAC,
    ),
    Attempt(
        "impersonate-operator",
        "impersonate the operator",
        Request("GET", VMS, headers={"Impersonate-User": "system:serviceaccount:berth-system:berth-operator"}),
        RBAC,
    ),
    Attempt(
        "impersonate-node",
        "impersonate an agent of another node",
        Request(
            "GET",
            VMS,
            headers={
                "Impersonate-User": "system:serviceaccount:berth-system:berth-agent",
                "Impersonate-Extra-authentication.kubernetes.io%2fnode-name": "node-2",
            },
        ),
        RBAC,
    ),
    Attempt(
        "impersonate-masters",
        "impersonate an administrator",
        Request("GET", VMS, headers={"Impersonate-User": "x", "Impersonate-Group": "system:masters"}),
        RBAC,
    ),
    Attempt(
        "create-pod",
        "create a privileged Pod on another node, as the operator",
        Request("POST", f"{SYSTEM}/pods", _POD),
        RBAC,
    ),
    Attempt("delete-pod", "delete a Pod", Request("DELETE", f"{SYSTEM}/pods/agent-1"), RBAC),
    Attempt(
        "evict-pod",
        "evict a Pod",
        Request("POST", f"{SYSTEM}/pods/agent-1/eviction", {"metadata": {"name": "agent-1"}}),
        RBAC,
    ),
    Attempt("resize-pod", "resize its anchor Pod", merge(f"{SYSTEM}/pods/agent-1/resize", {"spec": {}}), RBAC),
    Attempt(
        "unguard-node", "have a node that VMs hold be drained", Request("DELETE", f"{BUDGETS}/berth-operator"), RBAC
    ),
    Attempt("guard-node", "keep a node from being drained", Request("POST", BUDGETS, {}), RBAC),
    Attempt("pod-status", "write a Pod's status", merge(f"{SYSTEM}/pods/agent-1/status", {"status": {}}), RBAC),
    Attempt("exec", "run a command in another Pod", Request("POST", f"{SYSTEM}/pods/agent-1/exec?command=sh"), RBAC),
    Attempt("pod-logs", "read another Pod's log", Request("GET", f"{SYSTEM}/pods/agent-1/log"), RBAC),
    Attempt(
        "label-node", "label its own Node", merge(f"{CORE}/nodes/node-1", {"metadata": {"labels": {"a": "b"}}}), RBAC
    ),
    Attempt(
        "node-status",
        "raise its own Node's allocatable",
        merge(f"{CORE}/nodes/node-1/status", {"status": {"allocatable": {"cpu": "512"}}}),
        RBAC,
    ),
    Attempt(
        "taint-node", "take another Node's taints away", merge(f"{CORE}/nodes/node-2", {"spec": {"taints": []}}), RBAC
    ),
    Attempt("delete-node", "delete another Node", Request("DELETE", f"{CORE}/nodes/node-2"), RBAC),
    Attempt("node-proxy", "talk to another node's kubelet", Request("GET", f"{CORE}/nodes/node-2/proxy/pods"), RBAC),
    Attempt(
        "change-crd",
        "open a CRD's schema",
        merge("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/virtualmachines.berth.dev", {"spec": {}}),
        RBAC,
    ),
    Attempt(
        "delete-crd",
        "delete a CRD, and every VM with it",
        Request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/virtualmachines.berth.dev"),
        RBAC,
    ),
    Attempt(
        "delete-policy",
        "delete the policy that holds it",
        Request("DELETE", f"{ADMISSION}/validatingadmissionpolicies/berth-agent-virtualmachines"),
        RBAC,
    ),
    Attempt(
        "unbind-policy",
        "delete the binding of the policy that holds it",
        Request("DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/berth-agent-virtualmachines"),
        RBAC,
    ),
    Attempt(
        "change-role",
        "give itself more rights",
        merge(
            f"{RBAC_GROUP}/clusterroles/berth-agent",
            {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
        ),
        RBAC,
    ),
    Attempt(
        "bind-role",
        "bind itself to cluster-admin",
        Request("POST", f"{RBAC_GROUP}/clusterrolebindings", _CLUSTER_ADMIN),
        RBAC,
    ),
    Attempt(
        "sign-certificate",
        "have a certificate signed",
        Request("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", {"metadata": {"name": "a"}}),
        RBAC,
    ),
    Attempt(
        "image-status",
        "write an image's status",
        merge(f"{GROUP}/namespaces/default/virtualmachineimages/golden/status", {"status": {"phase": "Ready"}}),
        RBAC,
    ),
    Attempt(
        "image-source",
        "change where an image comes from",
        merge(f"{GROUP}/namespaces/default/virtualmachineimages/golden", {"spec": {"source": {}}}),
        RBAC,
    ),
    Attempt(
        "pool-status",
        "write a pool's status",
        merge(f"{GROUP}/storagepools/fast/status", {"status": {"nodes": 9}}),
        RBAC,
    ),
    Attempt(
        "pool-path",
        "lead a pool to another path",
        merge(f"{GROUP}/storagepools/fast", {"spec": {"path": "/etc"}}),
        RBAC,
    ),
    Attempt(
        "network-status",
        "write a network's status",
        merge(f"{GROUP}/virtualnetworks/lan/status", {"status": {"free": 9}}),
        RBAC,
    ),
    Attempt(
        "network-chain",
        "change a network's CNI chain",
        merge(f"{GROUP}/virtualnetworks/lan", {"spec": {"cni": {"plugins": []}}}),
        RBAC,
    ),
    Attempt("class", "change a class", merge(f"{GROUP}/virtualmachineclasses/small", {"spec": {}}), RBAC),
)
