"""libvirt's event loop, in a thread of its own.

libvirt knows one event loop per process, chosen before the first connection, for good. `libvirtaio` would make it
asyncio's: then a libvirt that blocks in a callback blocks every heartbeat of the agent, and the loop is bound to the
first asyncio loop that there was. In a thread, libvirt's own poll loop also answers keepalives while asyncio is busy,
and all that crosses over is one `call_soon_threadsafe` per event.
"""

from functools import cache
from threading import Thread

import libvirt
import structlog

log = structlog.get_logger()


@cache
def start_event_loop() -> Thread:
    """Start the loop if it does not run yet. It ends with the process: libvirt has no way to change it.

    Also silences libvirt's habit of printing errors to stderr: they are raised, and told by whoever handles them.
    """
    libvirt.registerErrorHandler(_ignore, None)
    libvirt.virEventRegisterDefaultImpl()
    thread = Thread(target=_run, name="libvirt-events", daemon=True)
    thread.start()
    return thread


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            log.error("libvirt's event loop failed once", error=str(error))


def _ignore(_context: object, _error: object) -> None:
    """Errors are raised as exceptions as well."""
