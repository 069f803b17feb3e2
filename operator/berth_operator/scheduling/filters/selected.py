"""nodeSelector and required nodeAffinity, over the Node's labels and its name.

Source: Kubernetes "Assigning Pods to Nodes": terms are ored, the expressions of a term anded, and a term without
expressions matches nothing.
"""

from berth_operator.scheduling.matching import selected
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes whose labels match all that the VM requires of them."""
    return selected(snapshot, request.requirements)


FILTER = Filter(
    "Selected",
    keep,
    "does not match nodeSelector or nodeAffinity",
    "do not match nodeSelector or nodeAffinity",
    lasting=True,
    optional=True,
)
