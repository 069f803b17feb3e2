"""Tokens of node agents as they are, and as a thief would like them to be."""

import json
import subprocess
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

from tests.integration.api.apiserver import ApiServer

AGENTS = "/api/v1/namespaces/berth-system/serviceaccounts/berth-agent/token"
_COORDINATE = 32
"""Bytes of a P-256 coordinate (RFC 7518, section 3.4)."""


def request(server: ApiServer, kind: str = "", name: str = "", audience: str = "") -> str:
    """A token of the agents' service account, bound to a Pod or a Node as the API server binds it."""
    bound = ("--bound-object-kind", kind, "--bound-object-name", name) if kind else ()
    audiences = ("--audience", audience) if audience else ()
    return server.kubectl("create", "token", "berth-agent", "-n", "berth-system", *bound, *audiences).strip()


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
