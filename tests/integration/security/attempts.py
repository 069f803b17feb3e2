"""What is tried with a stolen agent token, and the rule that refuses each. docs/security.md lists them all.

The token is of a Pod of the DaemonSet on node-1, with the node claim that the API server put into it. What is tried
beside the API, or on Pods, is in `attempts_in_pods`: there all of these are tried once more, from inside such a Pod.
"""

from tests.integration.security.attempts_by_tokens import TOKENLESS, TOKENS
from tests.integration.security.attempts_on_clusters import CLUSTER
from tests.integration.security.attempts_on_nodes import EVENT_ATTEMPTS, HYPERVISOR_ATTEMPTS, LEASE_ATTEMPTS
from tests.integration.security.attempts_on_vms import MACHINES
from tests.integration.security.rules import Attempt

ATTEMPTS: tuple[Attempt, ...] = (
    *MACHINES,
    *HYPERVISOR_ATTEMPTS,
    *LEASE_ATTEMPTS,
    *EVENT_ATTEMPTS,
    *CLUSTER,
    *TOKENLESS,
    *TOKENS,
)
