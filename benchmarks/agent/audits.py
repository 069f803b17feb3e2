"""Who wrote what, from the API server's audit log: it names the user, which the server's metrics do not. Pure.

Source: Kubernetes, "Auditing": one `audit.k8s.io/v1` Event a line, here of the level Metadata.
"""

import json
from collections import Counter
from collections.abc import Iterable

WRITES = ("create", "update", "patch", "delete", "deletecollection")
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted", "Panic"],
    "rules": [{"level": "Metadata", "verbs": list(WRITES)}, {"level": "None"}],
}


def writes(lines: Iterable[str]) -> dict[str, Counter[str]]:
    """Writes by user, and by what was done to what: `update leases`."""
    found: dict[str, Counter[str]] = {}
    for line in lines:
        event = json.loads(line)
        if event.get("verb") not in WRITES:
            continue
        of = event.get("objectRef", {})
        target = "/".join(filter(None, (of.get("resource", ""), of.get("subresource", ""))))
        found.setdefault(event["user"]["username"], Counter())[f"{event['verb']} {target}"] += 1
    return found
