"""What is tried with tokens that are not an agent's, or not any more."""

from tests.integration.security.attempts_on_nodes import event, lease
from tests.integration.security.calls import MERGE, Request, merge
from tests.integration.security.rules import AUTHENTICATION, HYPERVISORS, LEASES, NODELESS, Attempt, policy, status_of

TOKENLESS = (
    Attempt(
        "nodeless-vm",
        "write a bound VM's status with a token that names no node",
        merge(status_of("mine"), {"status": {"phase": "Running"}}),
        policy("berth-agent-virtualmachines", NODELESS),
        "nodeless",
    ),
    Attempt(
        "nodeless-unbound-vm",
        "write an unbound VM's status with it",
        merge(status_of("nobodys"), {"status": {"phase": "Running"}}),
        policy("berth-agent-virtualmachines", NODELESS),
        "nodeless",
    ),
    Attempt(
        "nodeless-hypervisor",
        "create a Hypervisor with it",
        Request("POST", HYPERVISORS, {"metadata": {"name": "node-3"}, "spec": {}}),
        policy("berth-agent-hypervisors", NODELESS),
        "nodeless",
    ),
    Attempt(
        "nodeless-lease",
        "renew a heartbeat with it",
        Request("PUT", f"{LEASES}/node-1", lease("node-1")),
        policy("berth-agent-leases", NODELESS),
        "nodeless",
    ),
    Attempt("nodeless-event", "report an Event with it", event(), policy("berth-agent-events", NODELESS), "nodeless"),
)

_OWN_STATUS = Request("PATCH", status_of("mine"), {"status": {"phase": "Running"}}, MERGE)
TOKENS = tuple(
    Attempt(token, what, _OWN_STATUS, AUTHENTICATION, token)
    for token, what in (
        ("token-of-other-audience", "use a token made for another audience"),
        ("token-expired", "use a token after its time"),
        ("token-of-pod-gone", "use a token whose Pod is gone"),
        ("token-of-node-gone", "use a token whose Node is gone"),
        ("token-with-other-node", "write another node into its token"),
        ("token-self-signed", "sign a token for itself"),
        ("token-none", "come without a token that anybody made"),
    )
)
