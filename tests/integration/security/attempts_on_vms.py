"""What a stolen agent token tries on VMs: to bind, to claim, to answer for others, to keep or lose objects."""

from tests.integration.security.calls import Request, apply, merge, patch
from tests.integration.security.rules import (
    AGENT,
    BINDING,
    CLAIMED,
    CONDITION,
    FOREIGN_VM,
    IGNORED,
    OPERATOR,
    OWNER,
    PRESENT,
    RBAC,
    SCHEDULED,
    VMS,
    Attempt,
    status_of,
)

MACHINES = (
    Attempt(
        "bind-by-apply",
        "bind an unbound VM to itself, by apply",
        apply(status_of("nobodys"), AGENT, {"status": {"nodeName": "node-1"}}),
        FOREIGN_VM,
    ),
    Attempt(
        "bind-as-operator",
        "the same in the operator's field manager, with a claim",
        apply(status_of("nobodys"), OPERATOR, {"status": {"nodeName": "node-1", "claim": PRESENT}}),
        FOREIGN_VM,
    ),
    Attempt(
        "bind-by-merge-patch",
        "the same by merge patch",
        merge(status_of("nobodys"), {"status": {"nodeName": "node-1"}}),
        FOREIGN_VM,
    ),
    Attempt(
        "bind-by-json-patch",
        "the same by JSON patch",
        patch(status_of("nobodys"), ("add", "/status/nodeName", "node-1")),
        FOREIGN_VM,
    ),
    Attempt(
        "bind-by-update",
        "the same by replacing the status",
        Request("PUT", status_of("nobodys"), {"metadata": {"name": "nobodys"}, "status": {"nodeName": "node-1"}}),
        RBAC,
    ),
    Attempt(
        "pin-by-spec",
        "pin a VM to itself by spec.nodeName",
        merge(f"{VMS}/nobodys", {"spec": {"nodeName": "node-1"}}),
        RBAC,
    ),
    Attempt(
        "create-bound",
        "create a VM that is bound already",
        Request("POST", VMS, {"metadata": {"name": "new"}, "spec": {}, "status": {"nodeName": "node-1"}}),
        RBAC,
    ),
    Attempt(
        "steal-by-apply",
        "bind another node's VM to itself, by apply",
        apply(status_of("theirs"), AGENT, {"status": {"nodeName": "node-1"}}),
        FOREIGN_VM,
    ),
    Attempt(
        "steal-by-json-patch",
        "the same by JSON patch",
        patch(status_of("theirs"), ("replace", "/status/nodeName", "node-1")),
        FOREIGN_VM,
    ),
    Attempt(
        "give-away",
        "bind its own VM to another node",
        merge(status_of("mine"), {"status": {"nodeName": "node-2"}}),
        BINDING,
    ),
    Attempt(
        "unbind",
        "take the binding of its own VM away",
        patch(status_of("mine"), ("remove", "/status/nodeName")),
        BINDING,
    ),
    Attempt(
        "drop-status", "take the whole status of its own VM away", merge(status_of("mine"), {"status": None}), BINDING
    ),
    Attempt(
        "grow-claim",
        "claim more for its own VM",
        apply(status_of("mine"), AGENT, {"status": {"claim": {**PRESENT, "memory": "64Gi"}}}),
        CLAIMED,
    ),
    Attempt(
        "date-claim",
        "date its own VM's claim in a later epoch",
        merge(status_of("mine"), {"status": {"claim": {"epoch": 99}}}),
        CLAIMED,
    ),
    Attempt(
        "address-claim",
        "claim an address of its choice for its own VM",
        merge(
            status_of("mine"),
            {
                "status": {
                    "claim": {
                        "interfaces": [
                            {
                                "name": "default",
                                "networkName": "a",
                                "macAddress": "52:54:00:00:00:01",
                                "ipAddresses": ["10.1.1.5/24"],
                            }
                        ]
                    }
                }
            },
        ),
        CLAIMED,
    ),
    Attempt(
        "drop-claim",
        "take the claim of its own VM away",
        patch(status_of("mine"), ("remove", "/status/claim")),
        CLAIMED,
    ),
    Attempt(
        "unschedule",
        "turn its own VM's condition Scheduled",
        merge(status_of("mine"), {"status": {"conditions": [{**SCHEDULED, "status": "False"}]}}),
        CONDITION,
    ),
    Attempt(
        "run-theirs",
        "say that another node's VM is Running",
        apply(status_of("theirs"), AGENT, {"status": {"phase": "Running"}}),
        FOREIGN_VM,
    ),
    Attempt(
        "release-theirs",
        "release another node's claim, so that its VM starts twice",
        merge(status_of("theirs"), {"status": {"releasedClaim": "c1"}}),
        FOREIGN_VM,
    ),
    Attempt(
        "admit-theirs",
        "admit another node's claim",
        merge(status_of("theirs"), {"status": {"admittedClaim": "c1"}}),
        FOREIGN_VM,
    ),
    Attempt(
        "run-nobodys",
        "say that an unbound VM is Running",
        apply(status_of("nobodys"), AGENT, {"status": {"phase": "Running"}}),
        FOREIGN_VM,
    ),
    Attempt(
        "drop-finalizer",
        "drop Berth's finalizer from its own VM",
        patch(f"{VMS}/mine", ("remove", "/metadata/finalizers")),
        RBAC,
    ),
    Attempt(
        "drop-finalizer-by-status",
        "the same by way of the status",
        merge(status_of("mine"), {"metadata": {"finalizers": []}}),
        IGNORED,
    ),
    Attempt(
        "drop-finalizer-of-leaving",
        "the same on a VM that is being deleted",
        merge(status_of("leaving"), {"metadata": {"finalizers": None}}),
        IGNORED,
    ),
    Attempt(
        "add-finalizer",
        "add a finalizer that keeps its own VM for ever, by way of the status",
        merge(status_of("mine"), {"metadata": {"finalizers": ["berth.dev/vm", "evil.example.com/keep"]}}),
        IGNORED,
    ),
    Attempt(
        "own-vm",
        "give its own VM an owner, by way of the status",
        merge(status_of("mine"), {"metadata": {"ownerReferences": [OWNER]}}),
        IGNORED,
    ),
    Attempt(
        "label-vm",
        "label and annotate its own VM, by way of the status",
        merge(status_of("mine"), {"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}}}),
        IGNORED,
    ),
    Attempt(
        "spec-by-status",
        "change its own VM's spec, by way of the status",
        merge(status_of("mine"), {"spec": {"cpu": {"cores": 64}, "priorityClassName": "p"}}),
        IGNORED,
    ),
    Attempt("change-vm-spec", "change its own VM's spec", merge(f"{VMS}/mine", {"spec": {"paused": True}}), RBAC),
    Attempt("delete-vm", "delete its own VM", Request("DELETE", f"{VMS}/mine"), RBAC),
    Attempt("delete-all-vms", "delete all VMs of a namespace", Request("DELETE", VMS), RBAC),
)
