"""What a thief tries who is inside an agent's Pod: what only a cluster with kubelets has, and what is beside the API.

Most of it is tried on the other node as well: what the agent is on its own node, it must not be there.
"""

from typing import Any

from tests.integration.security.calls import Request, apply, merge
from tests.integration.security.rules import AGENT, CORE, FOREIGN_VM, RBAC, SYSTEM, Attempt, Rule, status_of

KUBELET = Rule("kubelet's authorization", 403, "Forbidden (user=system:serviceaccount:berth-system:berth-agent, verb=")
KUBELET_NAMELESS = Rule("kubelet's authentication", 401, "Unauthorized")
NOBODY = Rule("nobody listens there", 0, "ConnectionRefusedError")
NOT_MOUNTED = Rule("not in the container", 0, "FileNotFoundError")
OTHER_NAMESPACE = Rule("its own PID namespace", 0, "FileNotFoundError")
READ_ONLY = Rule("no such method", 405, "Method Not Allowed")
OPERATOR_METRICS = "operator:9090"
_PROXY = f"{CORE}/nodes/node-2/proxy"
_APPS = "/apis/apps/v1/namespaces/berth-system"
_ANCHOR = f"{SYSTEM}/pods/berth-anchor-node-1"
_OTHER_ANCHOR = f"{SYSTEM}/pods/berth-anchor-node-2"
_BOX: dict[str, Any] = {"name": "evil", "image": "berth-agent", "securityContext": {"privileged": True}}
_HOST_POD: dict[str, Any] = {
    "metadata": {"name": "evil"},
    "spec": {
        "nodeName": "node-2",
        "hostPID": True,
        "containers": [{**_BOX, "volumeMounts": [{"name": "host", "mountPath": "/host"}]}],
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    },
}
_REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}}
_ACCESS = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SubjectAccessReview",
    "spec": {"user": "admin", "resourceAttributes": {"verb": "get", "resource": "secrets"}},
}
_APPROVAL = {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "a", "message": "b"}]}}

_API = (
    Attempt("anchor-resize", "resize its node's anchor", merge(f"{_ANCHOR}/resize", {"spec": {}}), RBAC),
    Attempt(
        "anchor-resize-another",
        "make another node's anchor as large as that node",
        merge(
            f"{_OTHER_ANCHOR}/resize",
            {"spec": {"containers": [{"name": "anchor", "resources": {"requests": {"memory": "64Gi"}}}]}},
        ),
        RBAC,
    ),
    Attempt("anchor-end", "end its node's anchor", Request("DELETE", _ANCHOR), RBAC),
    Attempt("anchor-end-another", "end another node's anchor", Request("DELETE", _OTHER_ANCHOR), RBAC),
    Attempt("anchor-evict", "evict it", Request("POST", f"{_ANCHOR}/eviction", {"metadata": {"name": "anchor"}}), RBAC),
    Attempt(
        "anchor-allocate",
        "say that the kubelet has allocated more to its node's anchor",
        merge(f"{_ANCHOR}/status", {"status": {"containerStatuses": []}}),
        RBAC,
    ),
    Attempt("anchor-exec", "run a command in it", Request("POST", f"{_OTHER_ANCHOR}/exec?command=/pause"), RBAC),
    Attempt("anchor-attach", "attach to another Pod", Request("POST", f"{_OTHER_ANCHOR}/attach"), RBAC),
    Attempt(
        "anchor-forward", "forward a port of another Pod", Request("POST", f"{_OTHER_ANCHOR}/portforward?ports=1"), RBAC
    ),
    Attempt(
        "anchor-proxy", "reach another Pod through the API server", Request("GET", f"{_OTHER_ANCHOR}/proxy/"), RBAC
    ),
    Attempt(
        "ephemeral-container",
        "add an ephemeral container to another Pod",
        merge(f"{_OTHER_ANCHOR}/ephemeralcontainers", {"spec": {"ephemeralContainers": [_BOX]}}),
        RBAC,
    ),
    Attempt(
        "pod-image", "put another image into another Pod", merge(_OTHER_ANCHOR, {"spec": {"containers": [_BOX]}}), RBAC
    ),
    Attempt(
        "host-pod", "create a Pod with the files of another node", Request("POST", f"{SYSTEM}/pods", _HOST_POD), RBAC
    ),
    Attempt(
        "host-pod-elsewhere",
        "the same in another namespace",
        Request("POST", f"{CORE}/namespaces/kube-system/pods", _HOST_POD),
        RBAC,
    ),
    Attempt(
        "bind-pod",
        "bind a Pod to its node",
        Request("POST", f"{_OTHER_ANCHOR}/binding", {"target": {"name": "node-1"}}),
        RBAC,
    ),
    Attempt(
        "own-daemonset",
        "have every node run another image as the agent",
        merge(f"{_APPS}/daemonsets/berth-agent", {"spec": {"template": {"spec": {"hostPID": True}}}}),
        RBAC,
    ),
    Attempt(
        "operators-deployment",
        "take the operator down",
        merge(f"{_APPS}/deployments/berth-operator/scale", {"spec": {"replicas": 0}}),
        RBAC,
    ),
    Attempt(
        "release-secrets", "read Helm's own Secrets", Request("GET", f"{SYSTEM}/secrets?labelSelector=owner"), RBAC
    ),
    Attempt(
        "token-of-admin-account",
        "have a token made for a controller that may do anything",
        Request("POST", f"{CORE}/namespaces/kube-system/serviceaccounts/clusterrole-aggregation-controller/token", {}),
        RBAC,
    ),
    Attempt(
        "token-of-own-account",
        "have a longer-lived token made for itself",
        Request("POST", f"{SYSTEM}/serviceaccounts/berth-agent/token", {"spec": {"expirationSeconds": 31_536_000}}),
        RBAC,
    ),
    Attempt(
        "token-review",
        "ask whose a token is",
        Request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", _REVIEW),
        RBAC,
    ),
    Attempt(
        "access-review",
        "ask what others may do",
        Request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", _ACCESS),
        RBAC,
    ),
    Attempt(
        "approve-certificate",
        "approve a certificate",
        merge("/apis/certificates.k8s.io/v1/certificatesigningrequests/a/approval", _APPROVAL),
        RBAC,
    ),
    Attempt(
        "node-configz", "read another kubelet's settings", Request("GET", f"{CORE}/nodes/node-2/proxy/configz"), RBAC
    ),
    Attempt("node-logs", "read another node's logs", Request("GET", f"{CORE}/nodes/node-2/proxy/logs/"), RBAC),
    Attempt("nodes", "list Nodes", Request("GET", f"{CORE}/nodes"), RBAC),
    Attempt("server-metrics", "read the API server's metrics", Request("GET", "/metrics"), RBAC),
    Attempt("server-logs", "read the control plane's logs", Request("GET", "/logs/"), RBAC),
    Attempt(
        "adopt-foreign",
        "say that it adopts another node's VM",
        apply(status_of("theirs"), AGENT, {"status": {"domainUUID": "00000000-0000-0000-0000-000000000001"}}),
        FOREIGN_VM,
    ),
)

_CALLS = (
    ("pods", "GET", "/pods", "list the Pods of {} by its kubelet"),
    ("configz", "GET", "/configz", "read the settings of {}'s kubelet"),
    ("logs", "GET", "/logs/", "read the log files of {}"),
    ("exec", "POST", "/exec/berth-system/berth-anchor-{}/anchor?command=/pause", "run a command in a Pod of {}"),
    ("run", "POST", "/run/berth-system/berth-anchor-{}/anchor?cmd=/pause", "the same on {} the old way"),
    ("container-logs", "GET", "/containerLogs/berth-system/berth-anchor-{}/anchor", "read a container's log on {}"),
    (
        "checkpoint",
        "POST",
        "/checkpoint/berth-system/berth-anchor-{}/anchor",
        "have a container's memory of {} dumped",
    ),
    ("pprof", "GET", "/debug/pprof/heap", "read the memory of {}'s kubelet"),
)
_KUBELETS = tuple(
    Attempt(
        f"kubelet-{name}-{node}", what.format(node), Request(method, path.format(node)), KUBELET, at=f"{node}:10250"
    )
    for node in ("node-1", "node-2")
    for name, method, path, what in _CALLS
)

_NETWORK = (
    Attempt(
        "kubelet-nameless",
        "ask another node's kubelet without a token",
        Request("GET", "/pods"),
        KUBELET_NAMELESS,
        "nobody",
        "node-2:10250",
    ),
    *(
        Attempt(f"reach-{name}", f"reach {what}", Request("GET", "/"), NOBODY, at=at)
        for name, what, at in (
            ("read-only-port", "the kubelet's read-only port of its own node", "node-1:10255"),
            ("read-only-port-of-another", "the one of another node", "node-2:10255"),
            ("etcd", "etcd", "control-plane:2379"),
            ("controllers", "kube-controller-manager", "control-plane:10257"),
            ("scheduler", "kube-scheduler", "control-plane:10259"),
            ("probes-of-another", "the probes of another node's agent", "node-2:10481"),
            ("proxy-of-another", "the settings of another node's kube-proxy", "node-2:10249"),
        )
    ),
    *(
        Attempt(
            f"operator-{method.lower()}",
            f"{method} something to the operator's metrics",
            Request(method, "/metrics", {"a": 1}),
            READ_ONLY,
            at=OPERATOR_METRICS,
        )
        for method in ("POST", "DELETE")
    ),
)

_FILES = tuple(
    Attempt(f"file-{name}", f"read {what}", Request("GET", path), rule, at="files")
    for name, what, path, rule in (
        ("tokens", "other Pods' tokens, where the kubelet keeps them", "/var/lib/kubelet/pods", NOT_MOUNTED),
        ("kubelet-key", "the kubelet's own key", "/var/lib/kubelet/pki", NOT_MOUNTED),
        ("kubernetes", "kubeconfigs of the node", "/etc/kubernetes", NOT_MOUNTED),
        ("containerd", "containerd's socket", "/run/containerd/containerd.sock", NOT_MOUNTED),
        ("passwords", "the node's passwords", "/etc/shadow", NOT_MOUNTED),
        ("logs", "the logs of the node's Pods", "/var/log/pods", NOT_MOUNTED),
        ("processes", "the environment of the kubelet's process", "/proc/{kubelet}/environ", OTHER_NAMESPACE),
        ("other-process", "the files of another process of the node", "/proc/{other}/root/etc", OTHER_NAMESPACE),
    )
)

POD_ATTEMPTS: tuple[Attempt, ...] = (*_API, *_KUBELETS, *_NETWORK, *_FILES)
