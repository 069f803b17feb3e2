"""StoragePool: a place for disks on the nodes, as a libvirt storage pool."""

from typing import Annotated, Literal

from pydantic import Field

from berth_api.markers import Cel, InWords, ListMap, ServerDefault
from berth_api.objects import NAME_IS_LABEL, Condition, Model, Resource


class StoragePoolSpec(Model):
    """Where the pool's disks are kept on each node."""

    type: Annotated[Literal["dir"], ServerDefault("dir")] = "dir"
    path: Annotated[
        str,
        Field(min_length=2, max_length=512, pattern=r"^(/[A-Za-z0-9._+-]+)+$"),
        InWords(
            "must be an absolute path of letters, digits, '.', '_', '+' and '-', such as /var/lib/berth/pools/default"
        ),
    ]
    """Absolute directory on the nodes. Made if it is not there."""
    shared: Annotated[bool, ServerDefault(False)] = False
    """All nodes see the same files."""

    rules = (
        Cel("!self.path.split('/').exists(p, p == '.' || p == '..')", "path must not contain '.' or '..'"),
        Cel(
            "self.path == oldSelf.path && self.type == oldSelf.type",
            "disks would be left behind: a pool's type and path never change, make a pool with another name",
        ),
    )


class StoragePoolStatus(Model):
    """What the nodes report, aggregated by the operator."""

    nodes: int | None = None
    """Nodes on which the pool is active."""
    conditions: Annotated[tuple[Condition, ...], ListMap(("type",))] = ()


class StoragePool(Resource):
    """A storage pool on the nodes."""

    kind: str = "StoragePool"
    spec: StoragePoolSpec
    status: StoragePoolStatus = Field(default_factory=StoragePoolStatus)

    rules = (NAME_IS_LABEL,)
