"""libvirt's event callbacks, as typed events.

Callbacks run in libvirt's thread and must not call libvirt: they only say which domain, and what. Whose domain it is
is found out afterwards, in asyncio's loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import libvirt
import structlog

from berth_agent.hypervisor.powers import name_in
from berth_agent.hypervisor.states import DomainEventKind

log = structlog.get_logger()


class RawEvent(NamedTuple):
    """Something happened to the domain with this UUID, whoever's it is."""

    uuid: str
    kind: DomainEventKind
    detail: str = ""


Emit = Callable[[RawEvent], None]

_LIFECYCLE: dict[int, tuple[DomainEventKind, tuple[str, ...]]] = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: (DomainEventKind.DEFINED, ("Added", "Updated", "Renamed", "FromSnapshot")),
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: (DomainEventKind.UNDEFINED, ("Removed", "Renamed")),
    libvirt.VIR_DOMAIN_EVENT_STARTED: (
        DomainEventKind.STARTED,
        ("Booted", "Migrated", "Restored", "FromSnapshot", "Wakeup"),
    ),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: (
        DomainEventKind.SUSPENDED,
        (
            "Paused",
            "Migrated",
            "IOError",
            "Watchdog",
            "Restored",
            "FromSnapshot",
            "APIError",
            "PostCopy",
            "PostCopyFailed",
        ),
    ),
    libvirt.VIR_DOMAIN_EVENT_RESUMED: (
        DomainEventKind.RESUMED,
        ("Unpaused", "Migrated", "FromSnapshot", "PostCopy", "PostCopyFailed"),
    ),
    libvirt.VIR_DOMAIN_EVENT_STOPPED: (
        DomainEventKind.STOPPED,
        ("Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "FromSnapshot"),
    ),
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: (DomainEventKind.SHUTTING_DOWN, ("Finished", "Guest", "Host")),
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: (DomainEventKind.PM_SUSPENDED, ("Memory", "Disk")),
    libvirt.VIR_DOMAIN_EVENT_CRASHED: (DomainEventKind.CRASHED, ("Panicked", "CrashLoaded")),
}


def register_all(connection: Any, emit: Emit) -> list[int]:
    """Register every callback at the connection; returns their ids.

    Args:
        connection: libvirt's.
        emit: Called in libvirt's thread with each event.
    """

    def lifecycle(_connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        if event not in _LIFECYCLE:
            log.info("an event that is not known here", event=event, detail=detail)
            return
        kind, details = _LIFECYCLE[event]
        emit(RawEvent(domain.UUIDString(), kind, name_in(details, detail)))

    def reboot(_connection: Any, domain: Any, _opaque: Any) -> None:
        emit(RawEvent(domain.UUIDString(), DomainEventKind.REBOOTED))

    def watchdog(_connection: Any, domain: Any, action: int, _opaque: Any) -> None:
        emit(RawEvent(domain.UUIDString(), DomainEventKind.WATCHDOG, str(action)))

    def io_error(
        _connection: Any, domain: Any, _path: str, alias: str, _action: int, reason: str, _opaque: Any
    ) -> None:
        emit(RawEvent(domain.UUIDString(), DomainEventKind.IO_ERROR, f"{alias}:{reason or 'unknown'}"))

    def agent(_connection: Any, domain: Any, state: int, _reason: int, _opaque: Any) -> None:
        connected = state == libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
        kind = DomainEventKind.AGENT_CONNECTED if connected else DomainEventKind.AGENT_DISCONNECTED
        emit(RawEvent(domain.UUIDString(), kind))

    def job(_connection: Any, domain: Any, _statistics: Any, _opaque: Any) -> None:
        emit(RawEvent(domain.UUIDString(), DomainEventKind.JOB_COMPLETED))

    callbacks = {
        libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: lifecycle,
        libvirt.VIR_DOMAIN_EVENT_ID_REBOOT: reboot,
        libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG: watchdog,
        libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON: io_error,
        libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: agent,
        libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED: job,
    }
    return [connection.domainEventRegisterAny(None, number, callback, None) for number, callback in callbacks.items()]
