"""MAC addresses: each follows from the VM's UID and the NIC's name, so a VM keeps its own wherever it is bound.

Locally administered and unicast (IEEE 802, second-lowest bit of the first octet set, lowest clear): the default prefix
02:be can belong to no vendor. With 32 random bits two of 10,000 NICs collide with a chance of 1 %: hence the attempts.
"""

from hashlib import sha256

ATTEMPTS = 16


def generate(prefix: str, uid: str, interface: str, attempt: int) -> str:
    """MAC number `attempt` of a NIC: the prefix (1 to 5 octets) and octets of a hash."""
    octets = prefix.split(":")
    digest = sha256(f"{uid}/{interface}/{attempt}".encode()).digest()
    return ":".join(octets + [f"{byte:02x}" for byte in digest[: 6 - len(octets)]])
