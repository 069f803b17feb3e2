"""The values that name an image: where it comes from, what its bytes are, and what the cache holds of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from berth_agent.storage.errors import InvalidSource

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have come and the bytes that will have, None where the source does not say."""

_CHECKSUM = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)


class ImageFormat(StrEnum):
    """The formats that a disk can stand on."""

    QCOW2 = "qcow2"
    RAW = "raw"


@dataclass(frozen=True, kw_only=True)
class HttpSource:
    """An image that a server hands out over http or https."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """An image in the directory that the node's administrator configured; the path is relative to it."""

    path: str

    def __str__(self) -> str:
        return f"file {self.path!r}"


ImageSource = HttpSource | FileSource


@dataclass(frozen=True, order=True)
class Digest:
    """A sha256 in lower-case hex: an image's only name in the cache."""

    hex: str

    @classmethod
    def parse(cls, checksum: str) -> Self:
        """Read ``sha256:<64 hex digits>``.

        Raises:
            InvalidSource: it is anything else.
        """
        match = _CHECKSUM.fullmatch(checksum.lower())
        if match is None:
            raise InvalidSource(f"the checksum {checksum[:100]!r} is not sha256: and 64 hexadecimal digits")
        return cls(match[1])

    @property
    def directory_name(self) -> str:
        """The name of the image's directory in the cache."""
        return f"sha256-{self.hex}"

    @classmethod
    def from_directory_name(cls, name: str) -> Self | None:
        """Read back `directory_name`; None if the name is not one."""
        match = _CHECKSUM.fullmatch(name.replace("sha256-", "sha256:", 1))
        return None if match is None else cls(match[1])

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


@dataclass(frozen=True, kw_only=True)
class CachedImage:
    """An image that this node holds, verified and inspected.

    Attributes:
        path: the image file, immutable.
        digest: ``sha256:<hex>`` of the file.
        format: what QEMU is to be told; never probed.
        virtual_size: what a guest sees, in bytes.
        size: what the file takes, in bytes.
    """

    path: Path
    digest: str
    format: ImageFormat
    virtual_size: int
    size: int
