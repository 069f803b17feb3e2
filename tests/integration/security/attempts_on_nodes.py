"""What a stolen agent token tries in other nodes' names: Hypervisors, heartbeats, the operator's Lease, Events."""

from collections.abc import Mapping
from typing import Any

from tests.integration.security.calls import Request, apply, merge, patch
from tests.integration.security.rules import (
    AGENT,
    CORE,
    EVENT_METADATA,
    EVENT_SCHEMA,
    EVENT_SUBJECT,
    EVENTS,
    FOREIGN_EVENT,
    FOREIGN_HYPERVISOR,
    FOREIGN_LEASE,
    HYPERVISOR_METADATA,
    HYPERVISOR_SPEC,
    HYPERVISORS,
    IGNORED,
    LEASE_METADATA,
    LEASES,
    RBAC,
    Attempt,
    Rule,
    owned,
)

_LIE = {"status": {"capacity": {"cpu": "512", "memory": "64Ti"}}}
HYPERVISOR_ATTEMPTS = (
    Attempt(
        "report-for-another",
        "write another node's Hypervisor status, by apply",
        apply(f"{HYPERVISORS}/node-2/status", AGENT, _LIE),
        FOREIGN_HYPERVISOR,
    ),
    Attempt(
        "shrink-another",
        "make another node look empty-handed, by merge patch",
        merge(f"{HYPERVISORS}/node-2/status", {"status": {"capacity": {"cpu": "0", "memory": "0"}}}),
        FOREIGN_HYPERVISOR,
    ),
    Attempt(
        "swap-public-key",
        "put its own key on another node's Hypervisor, to read what is sealed to it",
        patch(f"{HYPERVISORS}/node-2/status", ("add", "/status/publicKey", "bWluZQ==")),
        FOREIGN_HYPERVISOR,
    ),
    Attempt(
        "replace-status",
        "replace its own Hypervisor's status",
        Request("PUT", f"{HYPERVISORS}/node-1/status", {"metadata": {"name": "node-1"}, **_LIE}),
        RBAC,
    ),
    Attempt(
        "spec-of-another",
        "cordon another node's Hypervisor",
        merge(f"{HYPERVISORS}/node-2", {"spec": {"schedulable": False}}),
        RBAC,
    ),
    Attempt(
        "raise-overcommit",
        "raise its own overcommit",
        merge(f"{HYPERVISORS}/node-1", {"spec": {"overcommit": {"cpu": 64, "memory": 8}}}),
        RBAC,
    ),
    Attempt(
        "raise-overcommit-by-status",
        "the same by way of the status",
        apply(f"{HYPERVISORS}/node-1/status", "evil", {"spec": {"overcommit": {"cpu": 64}}}),
        IGNORED,
    ),
    Attempt(
        "uncordon",
        "make itself schedulable again",
        apply(f"{HYPERVISORS}/node-1", AGENT, {"spec": {"schedulable": True}}),
        RBAC,
    ),
    Attempt(
        "label-hypervisor",
        "label its own Hypervisor, by way of the status",
        merge(f"{HYPERVISORS}/node-1/status", {"metadata": {"labels": {"a": "b"}, "finalizers": ["a.example.com/b"]}}),
        IGNORED,
    ),
    Attempt(
        "create-for-another",
        "create another node's Hypervisor",
        Request("POST", HYPERVISORS, {"metadata": {"name": "node-3"}, "spec": {}}),
        FOREIGN_HYPERVISOR,
    ),
    Attempt(
        "create-without-name",
        "create a Hypervisor under a name that the server makes up",
        Request("POST", HYPERVISORS, {"metadata": {"generateName": "node-1"}, "spec": {}}),
        FOREIGN_HYPERVISOR,
    ),
    Attempt(
        "create-with-spec",
        "create its Hypervisor with overcommit",
        Request("POST", HYPERVISORS, {"metadata": {"name": "node-4"}, "spec": {"overcommit": {"memory": 8}}}),
        HYPERVISOR_SPEC,
        "new",
    ),
    Attempt(
        "create-with-labels",
        "create its Hypervisor with labels",
        Request("POST", HYPERVISORS, {"metadata": {"name": "node-4", "labels": {"a": "b"}}}),
        HYPERVISOR_METADATA,
        "new",
    ),
    Attempt(
        "create-with-finalizer",
        "create its Hypervisor with a finalizer that keeps it",
        Request("POST", HYPERVISORS, {"metadata": {"name": "node-4", "finalizers": ["a.example.com/b"]}}),
        HYPERVISOR_METADATA,
        "new",
    ),
    Attempt(
        "create-with-owner",
        "create its Hypervisor as part of the operator's Deployment",
        Request("POST", HYPERVISORS, {"metadata": owned("node-4")}),
        HYPERVISOR_METADATA,
        "new",
    ),
    Attempt(
        "create-with-status",
        "create its Hypervisor with a capacity at once",
        Request("POST", f"{HYPERVISORS}?dryRun=All", {"metadata": {"name": "node-4"}, **_LIE}),
        Rule("status subresource", 201, ""),
        "new",
    ),
    Attempt("delete-hypervisor", "delete its own Hypervisor", Request("DELETE", f"{HYPERVISORS}/node-1"), RBAC),
    Attempt(
        "delete-another-hypervisor",
        "delete another node's Hypervisor",
        Request("DELETE", f"{HYPERVISORS}/node-2"),
        RBAC,
    ),
)


def lease(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"holderIdentity": "node-1", "leaseDurationSeconds": 40, **spec}}


LEASE_ATTEMPTS = (
    Attempt(
        "beat-for-another",
        "renew another node's heartbeat",
        Request("PUT", f"{LEASES}/node-2", lease("node-2")),
        FOREIGN_LEASE,
    ),
    Attempt(
        "beat-for-a-dead-one",
        "make a heartbeat for a node that has none",
        Request("POST", LEASES, lease("node-3")),
        FOREIGN_LEASE,
    ),
    Attempt(
        "patch-heartbeat",
        "renew another node's heartbeat by patch",
        merge(f"{LEASES}/node-2", {"spec": {"holderIdentity": "node-1"}}),
        RBAC,
    ),
    Attempt(
        "lead",
        "take the operator's Lease, and so the lead",
        Request("PUT", f"{LEASES}/berth-operator", lease("berth-operator")),
        FOREIGN_LEASE,
    ),
    Attempt(
        "outdate-claims",
        "raise the operator's leaseTransitions, so that all claims are of a former leader",
        Request("PUT", f"{LEASES}/berth-operator", lease("berth-operator", leaseTransitions=1_000_000)),
        FOREIGN_LEASE,
    ),
    Attempt(
        "patch-lead",
        "the same by patch",
        merge(f"{LEASES}/berth-operator", {"spec": {"leaseTransitions": 1_000_000}}),
        RBAC,
    ),
    Attempt("delete-lead", "delete the operator's Lease", Request("DELETE", f"{LEASES}/berth-operator"), RBAC),
    Attempt("delete-heartbeat", "delete another node's heartbeat", Request("DELETE", f"{LEASES}/node-2"), RBAC),
    Attempt(
        "lease-of-other-name", "make a Lease of another name", Request("POST", LEASES, lease("spare")), FOREIGN_LEASE
    ),
    Attempt(
        "lease-without-name",
        "make a Lease under a name that the server makes up",
        Request("POST", LEASES, {"metadata": {"generateName": "node-1"}}),
        FOREIGN_LEASE,
    ),
    Attempt(
        "lease-with-owner",
        "make its Lease keep the operator's Deployment from being deleted",
        Request("PUT", f"{LEASES}/node-1", {"metadata": owned("node-1")}),
        LEASE_METADATA,
    ),
    Attempt(
        "lease-with-finalizer",
        "make its Lease stay for ever",
        Request("PUT", f"{LEASES}/node-1", {"metadata": {"name": "node-1", "finalizers": ["a.example.com/b"]}}),
        LEASE_METADATA,
    ),
    Attempt(
        "kubelets-heartbeat",
        "renew the kubelet's heartbeat of another node",
        Request("PUT", LEASES.replace("berth-system", "kube-node-lease") + "/node-2", lease("node-2")),
        RBAC,
    ),
    Attempt("list-leases", "list all Leases", Request("GET", "/apis/coordination.k8s.io/v1/leases"), RBAC),
)


def event(
    regarding: Mapping[str, str] = {"apiVersion": "berth.dev/v1alpha1", "kind": "VirtualMachine"},
    **changes: Any,
) -> Request:
    body = {
        "metadata": {"name": "e1", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "berth.dev/berth-agent",
        "reportingInstance": "node-1",
        "action": "Starting",
        "reason": "Started",
        "type": "Normal",
        "regarding": {"namespace": "default", "name": "mine", **regarding},
        **changes,
    }
    return Request("POST", EVENTS, body)


EVENT_ATTEMPTS = (
    Attempt(
        "event-of-another", "report an Event in another node's name", event(reportingInstance="node-2"), FOREIGN_EVENT
    ),
    Attempt(
        "event-of-operator",
        "report an Event in the operator's name",
        event(reportingController="berth.dev/berth-operator"),
        FOREIGN_EVENT,
    ),
    Attempt(
        "event-of-kubelet",
        "report an Event in the kubelet's name",
        event(reportingController="kubelet"),
        FOREIGN_EVENT,
    ),
    Attempt(
        "event-with-source",
        "report an Event whose old-style source is the kubelet of another node",
        event(deprecatedSource={"component": "kubelet", "host": "node-2"}),
        EVENT_SCHEMA,
    ),
    Attempt(
        "event-about-node", "report an Event about a Node", event({"apiVersion": "v1", "kind": "Node"}), EVENT_SUBJECT
    ),
    Attempt(
        "event-about-pod", "report an Event about a Pod", event({"apiVersion": "v1", "kind": "Pod"}), EVENT_SUBJECT
    ),
    Attempt(
        "event-with-finalizer",
        "report an Event that stays for ever",
        event(metadata={"name": "e1", "namespace": "default", "finalizers": ["a.example.com/b"]}),
        EVENT_METADATA,
    ),
    Attempt(
        "core-event",
        "report an Event of the old API, where nothing says who reports",
        Request(
            "POST",
            f"{CORE}/namespaces/default/events",
            {
                "metadata": {"name": "e1", "namespace": "default"},
                "involvedObject": {"namespace": "default"},
                "source": {"component": "kubelet"},
            },
        ),
        RBAC,
    ),
)
