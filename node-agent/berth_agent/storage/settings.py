"""The limits within which images and disks are made; the agent's settings build these once and pass them in."""

from dataclasses import dataclass

GIB = 1 << 30
TIB = 1 << 40


@dataclass(frozen=True, kw_only=True)
class DownloadLimits:
    """How long a download may take, and how much it may bring.

    Attributes:
        connect_seconds: for the name, the connection and TLS together, per hop.
        stall_seconds: without a single byte; longer than a busy mirror's pauses.
        total_seconds: for everything, redirects and copying included: 100 GiB at 30 MiB/s.
        max_bytes: of one image; beyond it a mistake is likelier than an image.
        reserve_bytes: of the file system that an image leaves free, for logs and for guests that grow.
        max_redirects: that are followed, each one checked like the first URL.
        concurrent: downloads that begin at a time on a node; more only divide the same link.
        lend_seconds: after which a download that goes on lets another begin beside it, as it may never end.
    """

    connect_seconds: float = 10
    stall_seconds: float = 30
    total_seconds: float = 3600
    max_bytes: int = 100 * GIB
    reserve_bytes: int = GIB
    max_redirects: int = 5
    concurrent: int = 4
    lend_seconds: float = 60


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """What an image may claim about itself, and what looking at it may cost.

    Attributes:
        max_virtual_size: in bytes; a header can claim any 64-bit number.
        tool_seconds: for one run of qemu-img, which reads and writes only metadata here.
        tool_memory_bytes: of address space for qemu-img while it reads an image that nobody has looked at.
        lock_seconds: to wait for another process that fetches the same image.
    """

    max_virtual_size: int = 16 * TIB
    tool_seconds: float = 20
    tool_memory_bytes: int = GIB
    lock_seconds: float = 3600
