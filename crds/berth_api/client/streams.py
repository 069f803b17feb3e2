"""What a watch sends: one JSON object a line, each an event about one object.

The bytes come in pieces that know nothing of lines, an object may be larger than any buffer, and a connection may end
in the middle of one. A line that is not whole, or is no event, means that something was missed: the watch has failed,
and whoever wants to go on starts another one from the last version that it saw.
Source: Kubernetes API concepts, "Efficient detection of changes".
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from berth_api.client.errors import Unavailable, from_status

ADDED: Final = "ADDED"
MODIFIED: Final = "MODIFIED"
DELETED: Final = "DELETED"
BOOKMARK: Final = "BOOKMARK"
_ERROR: Final = "ERROR"
LONGEST_LINE = 64 * 2**20
"""Bytes. No object is that large (etcd refuses a fortieth of it); something that never ends a line is no API server."""
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Something happened to an object.

    Attributes:
        type: ADDED, MODIFIED, DELETED or BOOKMARK: nothing happened up to the object's version, which is all it has.
        object: The object as it is now, or as it was when it was deleted.
    """

    type: str
    object: dict[str, Any]

    @property
    def version(self) -> str:
        """From where to watch on."""
        version: str = self.object["metadata"]["resourceVersion"]
        return version


class Lines:
    """Puts pieces of bytes together to whole lines."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._begun: list[bytes] = []
        self._length = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that this piece ends, without their ends; empty ones are left out.

        Raises:
            Unavailable: The line grows without an end.
        """
        first, *others = piece.split(b"\n")
        self._begun.append(first)
        self._length += len(first)
        if self._length > self._longest:
            raise Unavailable(200, "", f"the API server sends a line of more than {self._longest} bytes")
        if not others:
            return []
        whole = [b"".join(self._begun), *others[:-1]]
        self._begun, self._length = [others[-1]], len(others[-1])
        return [line for line in whole if line]

    def end(self) -> None:
        """There is no more to come.

        Raises:
            Unavailable: A line is not whole.
        """
        if self._length:
            raise Unavailable(200, "", f"the watch broke off in the middle of an event, after {self._length} bytes")


def event_of(line: bytes) -> WatchEvent:
    """Read an event.

    Raises:
        ApiError: The line is no event (`Unavailable`), or is the server's last word about this watch: `Gone` where the
            version is too old, and whatever else a status stands for.
    """
    try:
        event = orjson.loads(line)
    except ValueError as error:
        raise _garbage(line) from error
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise _garbage(line)
    kind, body = event.get("type"), event["object"]
    if kind == _ERROR:
        code = body.get("code")
        raise from_status(code if isinstance(code, int) and code else _SERVER_ERROR, body)
    if not isinstance(kind, str) or not (is_object(body) if kind != BOOKMARK else _has(body, "resourceVersion")):
        raise _garbage(line)
    return WatchEvent(kind, body)


def is_object(body: Any) -> bool:
    """Whether this can be an object of the API server's: it has a name and a version."""
    return isinstance(body, dict) and _has(body, "name") and _has(body, "resourceVersion")


def _has(body: dict[str, Any], name: str) -> bool:
    metadata = body.get("metadata")
    value = metadata.get(name) if isinstance(metadata, dict) else None
    return isinstance(value, str) and value != ""


def _garbage(line: bytes) -> Unavailable:
    return Unavailable(200, "", f"the watch sent what is no event: {line[:80]!r}")
