"""Tokens of node agents as they are, and as a thief would like them to be."""

import json
import subprocess
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any, Protocol

from berth_dev import kubeconfigs

_COORDINATE = 32
"""Bytes of a P-256 coordinate (RFC 7518, section 3.4)."""


class Kubectl(Protocol):
    """Runs kubectl as administrator, and returns what it prints."""

    def __call__(self, *args: str) -> str:
        """Run it to its end."""
        ...


def variations(kubectl: Kubectl, token: str, pod: str, key: Path, scratch: Path) -> dict[str, str]:
    """What a thief would make of a token, or like to have beside it, by the names that attempts have for them.

    Args:
        kubectl: Has tokens made that the API server makes for somebody.
        token: Of an agent's Pod on node-1.
        pod: That Pod's name.
        key: What the API server signs tokens with: for one that has expired.
        scratch: A folder for a key of the thief's own.
    """
    kubeconfigs.new_signing_key(scratch / "own.key", scratch / "own.pub")
    of_node_gone = request(kubectl, "Node", "node-5")
    kubectl("delete", "node", "node-5")
    return {
        "new": request(kubectl, "Node", "node-4"),
        "nodeless": request(kubectl),
        "token-of-other-audience": request(kubectl, "Pod", pod, "https://vault.example.com"),
        "token-expired": expired(token, key),
        "token-of-node-gone": of_node_gone,
        "token-with-other-node": altered(token, "node-2"),
        "token-self-signed": signed(claims_of(token), scratch / "own.key"),
        "token-none": "0123456789abcdef",
    }


def request(kubectl: Kubectl, kind: str = "", name: str = "", audience: str = "") -> str:
    """A token of the agents' service account, bound to a Pod or a Node as the API server binds it."""
    bound = ("--bound-object-kind", kind, "--bound-object-name", name) if kind else ()
    audiences = ("--audience", audience) if audience else ()
    return kubectl("create", "token", "berth-agent", "-n", "berth-system", *bound, *audiences).strip()


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    payload = token.split(".")[1]
    content: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return content


def altered(token: str, node: str) -> str:
    """The token with another node in it, and its old signature."""
    header, _, signature = token.split(".")
    claims = claims_of(token)
    claims["kubernetes.io"]["node"]["name"] = node
    return f"{header}.{_encoded(json.dumps(claims).encode())}.{signature}"


def expired(token: str, key: Path) -> str:
    """The token as it is an hour later, signed by a key."""
    now = int(time.time())
    return signed({**claims_of(token), "iat": now - 7200, "nbf": now - 7200, "exp": now - 3600}, key)


def signed(claims: dict[str, Any], key: Path) -> str:
    """A token of these claims (RFC 7515), signed by a P-256 key."""
    header = {"alg": "ES256", "typ": "JWT"}
    content = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    der = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(key)],
        input=content.encode(),
        capture_output=True,
        timeout=30,
        check=True,
    ).stdout
    return f"{content}.{_encoded(_raw(der))}"


def _raw(der: bytes) -> bytes:
    """The two numbers of an ECDSA signature out of their ASN.1 sequence (RFC 3279, section 2.2.3)."""
    first = 4 + der[3]
    numbers = der[4:first], der[first + 2 :]
    return b"".join(number.lstrip(b"\0").rjust(_COORDINATE, b"\0") for number in numbers)


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
