"""Sealing to a node's public key: only that node's agent can read what the operator writes into its VMs' claims.

The key comes from the node, so it is anybody's bytes: a point of small order, for one, makes a box that everybody could
open. libsodium refuses those when it seals, not when it reads them, so a key counts once something was sealed to it. A
node whose key does not is no candidate for VMs that need sealing, instead of the best one for ever.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from functools import lru_cache

from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox

_REMEMBERED = 16_384
"""Keys that were tried: a node's seldom changes, and each change of the node asks for it."""


def seal(content: bytes, public_key: str) -> str:
    """Seal to a node's Curve25519 public key (base64): libsodium's sealed box, in base64.

    Raises:
        ValueError: that is no public key, or one that seals nothing.
    """
    try:
        box = SealedBox(PublicKey(b64decode(public_key, validate=True)))
        return b64encode(box.encrypt(content)).decode()
    except (Base64Error, CryptoError, TypeError) as error:
        raise ValueError(f"not a Curve25519 public key in base64: {error}") from error


@lru_cache(maxsize=_REMEMBERED)
def can_seal_to(public_key: str) -> bool:
    """Whether this is a key that something can be sealed to."""
    try:
        seal(b"", public_key)
    except ValueError:
        return False
    return True
