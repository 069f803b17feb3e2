"""Which boot of the node this is: by it a guest that ended with its node is told from one that ended by itself.

Source: random(4), /proc/sys/kernel/random/boot_id: a UUID that the kernel makes once per boot.
"""

import re
from pathlib import Path

_BOOT_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
"""It ends up in domains' metadata and in statuses."""
_MOST_READ = 256


class BootUnknown(Exception):
    """The file that names the node's boot cannot be read, or names none."""


def boot_id(path: Path) -> str:
    """The boot ID of the running node.

    Args:
        path: The kernel's file, or one that stands for it where a node's reboot is played.

    Raises:
        BootUnknown: there is no such file, or no boot ID in it.
    """
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            text = file.read(_MOST_READ).strip()
    except OSError as error:
        raise BootUnknown(f"set BERTH_AGENT_BOOT_ID_FILE to a file that names the node's boot: {error}") from error
    if not _BOOT_ID.fullmatch(text):
        raise BootUnknown(f"{path} must hold a boot ID, 1 to 64 of 0-9, a-z, A-Z and '-', and nothing else")
    return text
