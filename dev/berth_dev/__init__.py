"""A whole cluster on one machine, for development, tests, benchmarks and the demo.

Everything in it is real: the control plane is Kubernetes' own, the nodes have their own libvirtd, their guests boot.
Only the machines under the nodes are not: a node is a set of namespaces. `Cluster` is the way in from Python,
`python -m berth_dev` (and the Makefile) from a shell.
"""

from berth_dev.clusters import Cluster
from berth_dev.errors import CommandError, DevError, PartFailedError
from berth_dev.images import GuestImage
from berth_dev.nodes import NodeHandle
from berth_dev.parts import Part
from berth_dev.states import Options

__all__ = ["Cluster", "CommandError", "DevError", "GuestImage", "NodeHandle", "Options", "Part", "PartFailedError"]
