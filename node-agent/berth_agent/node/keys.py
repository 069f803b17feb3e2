"""The node's key pair: what the operator seals a Secret's user-data to, so that agents need not read Secrets.

The private key never leaves the node. A node that lost it makes a new one; a claim that was sealed to the old one is
refused, and the operator seals again to the key it then finds on the Hypervisor.
"""

import base64
import binascii
import os
from pathlib import Path
from typing import Self

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox


class UnsealFailed(Exception):
    """The sealed text was not made for this node's key, or was damaged."""

    reason = "UnsealFailed"
    retryable = False


class NodeKey:
    """A Curve25519 key pair; opens libsodium sealed boxes."""

    def __init__(self, private: PrivateKey) -> None:
        self._private = private

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key at `path`, or make one there, readable by its owner only.

        Raises:
            OSError: the file cannot be read or written.
            ValueError: the file holds something else than a key.
        """
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(bytes(PrivateKey.generate()))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        private = path.read_bytes()
        if len(private) != PrivateKey.SIZE:
            raise ValueError(f"{path} holds no key: delete it, and a new one is made")
        return cls(PrivateKey(private))

    @property
    def public(self) -> str:
        """The public key in base64, as the Hypervisor publishes it."""
        return base64.b64encode(bytes(self._private.public_key)).decode()

    def unseal(self, sealed: str) -> bytes:
        """Open a sealed box in base64.

        Raises:
            UnsealFailed: it was sealed to another key, or is damaged.
        """
        try:
            return SealedBox(self._private).decrypt(base64.b64decode(sealed, validate=True))
        except (CryptoError, binascii.Error, ValueError) as error:
            raise UnsealFailed("the claim's user-data was sealed to another key than this node's") from error
