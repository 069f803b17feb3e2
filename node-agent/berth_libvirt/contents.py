"""What an image holds, as a list that the image itself carries.

The list names each folder, file and link. Its own digest names the tree on the node: the same content under another tag
is the same tree, and a copy is verified against the list before anything runs from it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from berth_libvirt.errors import BrokenImage

LIST = "usr/share/berth-libvirt/contents"
"""Where an image has its list, below its root; the list does not name itself."""

_NAME_LENGTH = 16


@dataclass(frozen=True, order=True)
class Entry:
    """A folder (`d`), file (`f`) or link (`l`) of an image; all belong to root.

    Attributes:
        path: Below the root, without a leading slash.
        kind: `d`, `f` or `l`.
        mode: Permission bits; 0 for a link.
        content: A file's SHA-256 in hexadecimal, or where a link leads.
    """

    path: str
    kind: str
    mode: int
    content: str = ""


def scan(roots: Sequence[Path]) -> list[Entry]:
    """List what folders hold that together become an image's root; of a path in several, the last counts.

    Raises:
        BrokenImage: There is something else than folders, files and links.
    """
    found: dict[str, Entry] = {}
    for root in roots:
        for folder, folders, files in os.walk(root):
            for name in (*folders, *files):
                entry = read(root, str(Path(folder, name).relative_to(root)))
                found[entry.path] = entry
    found.pop(LIST, None)
    return sorted(found.values())


def read(root: Path, path: str) -> Entry:
    """Look at one path below a root, without following links.

    Raises:
        FileNotFoundError: There is nothing.
        BrokenImage: It is a device, a socket or a pipe.
    """
    whole = root / path
    status = whole.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, "l", 0, str(whole.readlink()))
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, "d", mode)
    if stat.S_ISREG(status.st_mode):
        return Entry(path, "f", mode, digest(whole))
    raise BrokenImage(f"{whole} is neither a folder, nor a file, nor a link: an image of libvirt holds nothing else")


def digest(path: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def dump(entries: Iterable[Entry]) -> bytes:
    """Write a list: a JSON array a line, in the order of paths, so that the same content gives the same bytes."""
    return b"".join(json.dumps(astuple(entry)).encode() + b"\n" for entry in sorted(entries))


def load(root: Path) -> tuple[str, list[Entry]]:
    """Read the list that an image's root carries.

    Returns:
        The name of the tree, and what is in it.

    Raises:
        BrokenImage: There is none, or none that can be read, or it names something outside the root.
    """
    path = root / LIST
    try:
        data = path.read_bytes()
        entries = [Entry(*json.loads(line)) for line in data.splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise BrokenImage(f"{path}: {error}; libvirt.managed.image is no image of berth-libvirt") from error
    for entry in entries:
        if entry.kind not in {"d", "f", "l"} or Path(entry.path).is_absolute() or ".." in Path(entry.path).parts:
            raise BrokenImage(f"{path} names {entry.path!r}, which is no path of an image")
    own = Entry(LIST, "f", stat.S_IMODE(path.stat().st_mode), hashlib.sha256(data).hexdigest())
    return own.content[:_NAME_LENGTH], [*entries, own]
