"""VirtualMachineImage and its cluster-wide twin: where the bytes of a disk come from, and their checksum.

The checksum is required: it is the key under which nodes keep the image, and what makes a copy trustworthy.
"""

from typing import Annotated, Literal

from pydantic import Field

from berth_api.markers import Cel, InWords, ListMap, SetList
from berth_api.objects import Condition, Model, Resource
from berth_api.quantities import MeasuredQuantity

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HOSTS = (
    # Not 127.1 or 0x7f000001: resolvers read them as addresses.
    r"([a-z0-9_]([-a-z0-9_]*[a-z0-9_])?[.])*[a-z]([-a-z0-9]*[a-z0-9])?[.]?",
    rf"{_OCTET}([.]{_OCTET}){{3}}",
    r"\[([23][0-9a-f]{3}|f[cd][0-9a-f]{2}):[0-9a-f:]*\]",  # global and unique local unicast
)
_LOCAL_HOSTS = (r"([^/?#]*[.])?localhost[.]?", r"(0|127|169[.]254|22[4-9]|2[3-5][0-9])[.][0-9.]+")
_AUTHORITY_END = "(:[0-9]{1,5})?([/?#]|$)"


class HttpSource(Model):
    """An image on a web server."""

    url: Annotated[
        str,
        Field(min_length=10, max_length=2048, pattern=r"^https?://[^\s@]+$"),
        InWords("must start with http:// or https://, without user, password or spaces"),
    ]

    rules = (
        Cel(
            f"isURL(self.url) && self.url.matches(r'(?i)^https?://({'|'.join(_HOSTS)}){_AUTHORITY_END}')",
            "url must be a valid http or https URL, without user or password, whose host is a DNS name,"
            " an IPv4 address, or a global or unique local IPv6 address",
        ),
        Cel(
            f"!self.url.matches(r'(?i)^https?://({'|'.join(_LOCAL_HOSTS)}){_AUTHORITY_END}')",
            "url must not lead to a loopback, link-local or multicast address;"
            " serve the image from an address that the nodes may reach",
        ),
    )


class FileSource(Model):
    """An image below the directory that the node's administrator configured."""

    path: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9_+=,@%-][A-Za-z0-9._+=,@%/-]*$"),
        InWords("must be a relative path of letters, digits and ._+=,@%-"),
    ]

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
    checksum: Annotated[
        str,
        Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$"),
        InWords("must be sha256: and 64 hex digits in lower case, as sha256sum prints them"),
    ]
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
    virtual_size: MeasuredQuantity | None = None
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
