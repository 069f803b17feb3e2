"""VirtualMachineImage and its cluster-wide twin: where the bytes of a disk come from, and their checksum.

The checksum is required: it is the key under which nodes keep the image, and what makes a copy trustworthy.
"""

from typing import Annotated, Literal

from pydantic import Field

from berth_api.markers import Cel, ListMap, SetList
from berth_api.objects import Condition, Model, Resource
from berth_api.quantities import Quantity


class HttpSource(Model):
    """An image on a web server."""

    url: Annotated[str, Field(min_length=10, max_length=2048, pattern=r"^https?://[^\s@]+$")]

    rules = (
        Cel(
            "isURL(self.url) && url(self.url).getHostname() != ''",
            "url must be a valid http or https URL, without user or password",
        ),
        Cel(
            "!isURL(self.url) || !(url(self.url).getHostname().lowerAscii() in ['localhost', '127.0.0.1', '[::1]', '::1', '0.0.0.0', '169.254.169.254'])",
            "url must not lead to a loopback or link-local address; serve the image from an address that the nodes may reach",
        ),
    )


class FileSource(Model):
    """An image below the directory that the node's administrator configured."""

    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9_+=,@%-][A-Za-z0-9._+=,@%/-]*$")]

    rules = (
        Cel(
            "!self.path.startsWith('/') && !self.path.split('/').exists(p, p == '' || p == '.' || p == '..')",
            "path is relative to the image directory of the nodes: no leading '/', no '..'",
        ),
    )


class ImageSource(Model):
    """Exactly one place to get the image from."""

    http: HttpSource | None = None
    file: FileSource | None = None

    rules = (Cel("has(self.http) != has(self.file)", "give exactly one of http and file"),)


class ImageSpec(Model):
    """An image, identified by its checksum."""

    source: ImageSource
    checksum: Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
    """`sha256:` and 64 lower-case hex digits, of the file as it is served."""

    rules = (
        Cel(
            "self.checksum == oldSelf.checksum", "the checksum is the image's identity: make an image with another name"
        ),
    )


class ImageStatus(Model):
    """What the nodes know of the image, aggregated by the operator."""

    phase: Literal["Pending", "Ready", "Failed"] | None = None
    format: str | None = None
    virtual_size: Quantity | None = None
    nodes: Annotated[tuple[str, ...], SetList()] = ()
    """Nodes that hold a copy."""
    conditions: Annotated[tuple[Condition, ...], ListMap(("type",))] = ()


class VirtualMachineImage(Resource):
    """An image for the VMs of its namespace."""

    kind: str = "VirtualMachineImage"
    spec: ImageSpec
    status: ImageStatus = Field(default_factory=ImageStatus)


class ClusterVirtualMachineImage(Resource):
    """A golden image for the VMs of all namespaces."""

    kind: str = "ClusterVirtualMachineImage"
    spec: ImageSpec
    status: ImageStatus = Field(default_factory=ImageStatus)
