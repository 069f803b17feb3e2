"""The tap that libvirt opens by name.

Persistent, because it is made before QEMU runs and survives it; with a virtio header, because QEMU opens it with one
and TCP's checksum and segmentation offloads cross it that way; multi-queue exactly if the NIC is: the kernel refuses to
open a tap with another value of that flag.
"""

from __future__ import annotations

import fcntl
import os
import struct

from berth_agent.network.errors import DatapathFailed

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP = 0x0002
_IFF_MULTI_QUEUE = 0x0100
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_TUN_EXCL = 0x8000


def create_tap(name: str, queues: int) -> None:
    """Make a persistent tap in the calling thread's network namespace.

    Raises:
        DatapathFailed: there is a link of that name, or the kernel refused.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL | (_IFF_MULTI_QUEUE if queues > 1 else 0)
    try:
        handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
            fcntl.ioctl(handle, _TUNSETPERSIST, 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise DatapathFailed(f"cannot create tap {name}: {error}") from error
