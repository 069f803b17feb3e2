"""Credentials of a cluster: who may present which token, and the kubeconfigs that carry them.

Tokens of the control plane's own parts are in a static token file; those of Berth's parts are service account tokens
as in production, because the admission policies look at the node that a token is bound to.
"""

import base64
import csv
import io
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from berth_dev import commands


@dataclass(frozen=True)
class StaticUser:
    """A user of the API server's token file.

    Attributes:
        name: Its user name.
        token: Its bearer token.
        groups: Its groups.
    """

    name: str
    token: str
    groups: tuple[str, ...] = ()


def new_users(nodes: Sequence[str] = ()) -> list[StaticUser]:
    """The administrator, the parts of the control plane, and those of nodes with a kubelet, each with a fresh token.

    Args:
        nodes: Names of the nodes that have a kubelet.
    """
    kubelets = [
        *(StaticUser(f"system:node:{name}", secrets.token_hex(16), ("system:nodes",)) for name in nodes),
        *([StaticUser("system:kube-proxy", secrets.token_hex(16))] if nodes else []),
    ]
    return [
        StaticUser("admin", secrets.token_hex(16), ("system:masters",)),
        StaticUser("system:kube-controller-manager", secrets.token_hex(16)),
        StaticUser("system:kube-scheduler", secrets.token_hex(16)),
        *kubelets,
    ]


def token_file(users: list[StaticUser]) -> str:
    """Write the API server's --token-auth-file: token, user, uid, groups."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for user in users:
        writer.writerow([user.token, user.name, user.name, ",".join(user.groups)])
    return text.getvalue()


def parse_token_file(text: str) -> list[StaticUser]:
    """Read what `token_file` wrote."""
    return [
        StaticUser(name, token, tuple(filter(None, groups.split(","))))
        for token, name, _, groups in csv.reader(io.StringIO(text))
    ]


def kubeconfig(server: str, ca: bytes, token: str, *, cluster: str, user: str) -> str:
    """Write a kubeconfig (JSON is YAML) with one cluster, one user and one context."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": cluster,
                    "cluster": {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()},
                }
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "current-context": cluster,
        },
        indent=2,
    )


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from the moment it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def new_signing_key(private: Path, public: Path) -> None:
    """Make the key pair that signs service account tokens."""
    commands.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(private)]
    )
    private.chmod(0o600)
    commands.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)])


def new_client_certificate(name: str, group: str, folder: Path) -> None:
    """Make a certificate that a client of a group shows, and that is its own authority: `NAME.crt` and `NAME.key`."""
    key = folder / f"{name}.key"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", str(key)]
    purpose = ["-subj", f"/O={group}/CN={name}", "-days", "30", "-addext", "extendedKeyUsage=clientAuth"]
    commands.run(["openssl", "req", "-x509", *curve, *purpose, "-out", str(folder / f"{name}.crt")])
    key.chmod(0o600)
