"""The file names of disks and seeds: made of a VM's UID and a disk's name, and nothing else. Pure.

A name that reaches a file system was checked here first, so no name can leave its directory, hide, or be read back as
another VM's.
"""

import re

from berth_agent.storage.errors import InvalidName

SUFFIX = ".qcow2"

# RFC 9562, as the API server writes it; RFC 1123 label
_UID_PATTERN = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LABEL_PATTERN = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_UID = re.compile(_UID_PATTERN, re.ASCII)
_LABEL = re.compile(_LABEL_PATTERN, re.ASCII)
_DISK_FILE = re.compile(rf"({_UID_PATTERN})-({_LABEL_PATTERN}){re.escape(SUFFIX)}", re.ASCII)


def is_uid(text: str) -> bool:
    """Whether it is a UUID in lower case."""
    return _UID.fullmatch(text) is not None


def check_uid(uid: str) -> str:
    """Return the UID as it is.

    Raises:
        InvalidName: it is not a UUID in lower case.
    """
    if not is_uid(uid):
        raise InvalidName(f"{uid[:100]!r} is not an object's UID")
    return uid


def disk_file(uid: str, disk_name: str) -> str:
    """The file name of a VM's disk.

    Raises:
        InvalidName: one of the two could not be part of a file name.
    """
    if _LABEL.fullmatch(disk_name) is None:
        raise InvalidName(
            f"{disk_name[:100]!r} is no disk name: at most 63 lower-case letters, digits and '-', "
            f"with a letter or digit at both ends"
        )
    return f"{check_uid(uid)}-{disk_name}{SUFFIX}"


def parse_disk_file(name: str) -> tuple[str, str] | None:
    """Read `disk_file` back: UID and disk name, or None for a file that is none of ours."""
    match = _DISK_FILE.fullmatch(name)
    return None if match is None else (match[1], match[2])
