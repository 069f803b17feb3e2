"""Which cluster this is.

The UID of the namespace `kube-system` stands for a cluster: it is made with it, nobody can delete it, and a restore of
objects makes another. Others use it for the same (OpenTelemetry, `k8s.cluster.uid`). A back-up of etcd keeps it: what
returns is the same cluster as it was.
"""

from berth_api.client import Api
from berth_api.kinds import NAMESPACE

_NAMESPACE = "kube-system"


async def cluster_identity(api: Api) -> str:
    """The cluster's identity.

    Raises:
        ApiError: the API server gave no answer, or the agent may not ask for it.
    """
    return str((await api.get(NAMESPACE, _NAMESPACE))["metadata"]["uid"])
