"""From libvirt's errors to the errors of the port.

By code, never by message: messages are translated and change between versions. Whether the connection is broken is
asked of the connection: a closed socket is reported with codes that libvirtd also relays from elsewhere (its own
connection to virtlogd, for one). Source: include/libvirt/virterror.h.
"""

from typing import Any

import libvirt

from berth_agent.hypervisor import errors

_BY_CODE: dict[int, type[errors.HypervisorError]] = {
    libvirt.VIR_ERR_NO_CONNECT: errors.Unavailable,
    libvirt.VIR_ERR_INVALID_CONN: errors.Unavailable,
    libvirt.VIR_ERR_AUTH_FAILED: errors.Unavailable,
    libvirt.VIR_ERR_NO_DOMAIN: errors.DomainNotFound,
    libvirt.VIR_ERR_DOM_EXIST: errors.DomainExists,
    libvirt.VIR_ERR_XML_ERROR: errors.DomainRejected,
    libvirt.VIR_ERR_XML_DETAIL: errors.DomainRejected,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: errors.DomainRejected,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: errors.DomainRejected,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE: errors.DomainRejected,
    libvirt.VIR_ERR_INVALID_ARG: errors.DomainRejected,
    libvirt.VIR_ERR_OPERATION_INVALID: errors.OperationInvalid,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE: errors.GuestAgentUnavailable,
    libvirt.VIR_ERR_AGENT_UNSYNCED: errors.GuestAgentUnavailable,
}
_MAX_MESSAGE = 1000


def is_broken(connection: Any) -> bool:
    """Whether the way to libvirtd is gone, so that only a new connection helps. Does not ask libvirtd."""
    try:
        return bool(connection.isAlive() != 1)
    except libvirt.libvirtError:
        return True


def is_code(error: libvirt.libvirtError, *codes: int) -> bool:
    """Whether the error is one of these."""
    return error.get_error_code() in codes


def translate(error: libvirt.libvirtError, *, broken: bool = False) -> errors.HypervisorError:
    """The port's error for one of libvirt's."""
    kind = errors.Unavailable if broken else _BY_CODE.get(error.get_error_code(), errors.OperationFailed)
    return kind(message_of(error))


def message_of(error: libvirt.libvirtError) -> str:
    """Libvirt's message, on one line. It can quote QEMU, and QEMU what a user wrote."""
    text = " ".join((error.get_error_message() or str(error)).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:_MAX_MESSAGE]
