"""What is noted of a VM's guests on its domain, where it outlives the agent and its last report.

An agent may be killed between any two calls, and a guest may end before anybody has looked. So its last start is noted
in the domain's definition, which the guest's end leaves as it is, and before its CPUs run: of a guest that has done
anything there is a note. A start that nobody has noted has done nothing, and may be made again.

libvirt copies a definition with each start, whoever asks for it. So what says of the running guest that we have started
it is with the live domain alone, and goes with the guest. Defining the domain anew drops all notes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, tostring

import libvirt

from berth_agent.hypervisor.failures import is_code

RUN_URI = "https://berth.dev/domain/run/v1"
"""Namespace of the note of the guest that runs."""
START_URI = "https://berth.dev/domain/start/v1"
"""Namespace of the note of the guest that was started last."""
STOP_URI = "https://berth.dev/domain/stop/v1"
"""Namespace of the note of the last request to stop."""
_KIND = libvirt.VIR_DOMAIN_METADATA_ELEMENT
_LIVE, _CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG


@dataclass(frozen=True)
class Notes:
    """What a domain tells of its guest: the one that runs, else the last one."""

    started_at: datetime | None = None
    boot_id: str = ""
    asked_to_stop_at: datetime | None = None
    asked_to_stop_for: str = ""


def read(root: Element, *, active: bool) -> Notes:
    """The notes in a domain's description: of an active domain what goes with its guest, else what is left of it."""
    if active:
        start, stop = _find(root, RUN_URI, "run"), None
    else:
        start, stop = _find(root, START_URI, "start"), _find(root, STOP_URI, "stop")
    return Notes(
        started_at=_moment(start, "started"),
        boot_id="" if start is None else start.get("boot", ""),
        asked_to_stop_at=_moment(stop, "asked"),
        asked_to_stop_for="" if stop is None else stop.get("reason", ""),
    )


def note_start(domain: Any, boot_id: str) -> None:
    """Note that the guest, whose CPUs have not run yet, is started now; one whose start is noted is left as it is.

    Raises:
        libvirt.libvirtError: it could not be noted: the guest must not run.
    """
    if _has_run(domain):
        return
    now = _now()
    _write(domain, Element("start", started=now, boot=boot_id), "berth-start", START_URI, _CONFIG)
    _write(domain, Element("run", started=now, boot=boot_id), "berth-run", RUN_URI, _LIVE)


def note_stop(domain: Any, reason: str) -> None:
    """Note that the guest is asked to stop now, and why: it may obey when nobody looks.

    Raises:
        libvirt.libvirtError: it could not be noted.
    """
    _write(domain, Element("stop", asked=_now(), reason=reason), "berth-stop", STOP_URI, _CONFIG)


def _has_run(domain: Any) -> bool:
    try:
        domain.metadata(_KIND, RUN_URI, _LIVE)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            return False
        raise
    return True


def _write(domain: Any, note: Element, prefix: str, uri: str, where: int) -> None:
    domain.setMetadata(_KIND, tostring(note, encoding="unicode"), prefix, uri, where)


def _find(root: Element, uri: str, tag: str) -> Element | None:
    return root.find(f"metadata/{{{uri}}}{tag}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _moment(note: Element | None, name: str) -> datetime | None:
    try:
        return None if note is None else datetime.fromisoformat(note.get(name, "")).astimezone(UTC)
    except ValueError:
        return None
