"""A stand-in for the API server that costs its clients as much as the real one and itself next to nothing.

What is measured is what a call or an event costs in the client's process; a real API server on the same two cores would
be most of the noise. It speaks HTTP/1.1 over TLS, has one kind of objects, gives lists in pages, answers each write
with the object, and sends a watch as many modifications as were asked for, then leaves it open.
"""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

from berth_api.kinds import VIRTUAL_MACHINE, Kind

_NAMESPACE = Kind("Namespace", "namespaces", namespaced=False, group="", version="v1")
_EVENT = Kind("Event", "events", namespaced=True, group="", version="v1")
_CRD = Kind(
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    group="apiextensions.k8s.io",
    version="v1",
)
VERSION = 1000
"""Of every list; modifications come after it."""
_PAUSE = 0.5
"""Seconds between the beginning of a watch and the first modification: nobody takes it for a part of the list."""


def machine(number: int, version: int) -> dict[str, Any]:
    """A virtual machine as it is once it runs, managed fields and all."""
    claim = {
        "id": f"claim-{number}",
        "epoch": 3,
        "cpu": "2",
        "memory": "2300Mi",
        "storage": "10Gi",
        "interfaces": [
            {
                "name": "default",
                "networkName": "tenant-a",
                "macAddress": f"02:be:00:00:{number >> 8 & 255:02x}:{number & 255:02x}",
                "ipAddresses": ["10.0.0.7"],
            }
        ],
    }
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "AsWanted",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
        for kind in ("Scheduled", "DisksReady", "NetworkReady", "Ready")
    ]
    owned: dict[str, Any] = {
        f"f:{field}": {}
        for field in ("phase", "nodeName", "claim", "conditions", "interfaces", "disks", "startedAt", "machineType")
    }
    return {
        "apiVersion": VIRTUAL_MACHINE.api_version,
        "kind": VIRTUAL_MACHINE.kind,
        "metadata": {
            "name": f"vm-{number}",
            "namespace": "default",
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["berth.dev/vm"],
            "labels": {"app": "web", "tier": "front"},
            "managedFields": [
                {
                    "manager": manager,
                    "operation": "Apply",
                    "apiVersion": VIRTUAL_MACHINE.api_version,
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:status": owned},
                    "subresource": "status",
                }
                for manager in ("berth-operator", "berth-agent")
            ],
        },
        "spec": {
            "cpu": {"cores": 2},
            "memory": {"size": "2Gi"},
            "disks": [
                {
                    "name": "root",
                    "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "debian-12"},
                    "size": "10Gi",
                }
            ],
            "networks": [{"name": "default", "networkName": "tenant-a"}],
            "cloudInit": {"userData": "#cloud-config\n"},
            "runStrategy": "Always",
        },
        "status": {
            "nodeName": f"node-{number % 10}",
            "phase": "Running",
            "claim": claim,
            "admittedClaim": f"claim-{number}",
            "conditions": conditions,
            "startedAt": "2026-01-01T00:00:00Z",
            "machineType": "pc-q35-7.2",
            "observedGeneration": 1,
        },
    }


@contextmanager
def serving(objects: int, modifications: int) -> Iterator[Path]:
    """Run the stand-in as a process of its own, and end it afterwards; a kubeconfig that leads to it."""
    with TemporaryDirectory(prefix="berth-bench-") as folder:
        key, certificate, kubeconfig = (Path(folder) / name for name in ("key.pem", "cert.pem", "kubeconfig"))
        make_certificate(key, certificate)
        argv = [
            sys.executable,
            "-m",
            "benchmarks.localapi",
            str(key),
            str(certificate),
            str(objects),
            str(modifications),
        ]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            try:
                port = int(process.stdout.readline()) if process.stdout else 0
                kubeconfig.write_text(kubeconfig_text(f"https://127.0.0.1:{port}", certificate), encoding="utf-8")
                yield kubeconfig
            finally:
                process.terminate()


def kubeconfig_text(server: str, certificate: Path) -> str:
    """JSON is YAML."""
    cluster = {"server": server, "certificate-authority": str(certificate)}
    return json.dumps(
        {
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": "local", "user": {"token": "none"}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
            "current-context": "local",
        }
    )


def make_certificate(key: Path, certificate: Path) -> None:
    """One for 127.0.0.1, signed by itself."""
    subject = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "keyUsage=critical,digitalSignature,keyCertSign",
    ]
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *new, *subject, *files], check=True, capture_output=True, timeout=30)


class _Server:
    """Answers, made before anybody asks."""

    def __init__(self, objects: int, modifications: int) -> None:
        self._objects = [_dumps(machine(number, VERSION)) for number in range(objects)]
        self._events = [
            b'{"type":"MODIFIED","object":' + _dumps(machine(number % objects, VERSION + 1 + number)) + b"}\n"
            for number in range(modifications)
        ]
        self._paths = {path: _dumps(answer) for path, answer in _discovery().items()}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (
                        int(line.split(":")[1])
                        for line in head.split("\r\n")
                        if line.lower().startswith("content-length:")
                    ),
                    0,
                )
                if length:
                    await reader.readexactly(length)
                method, target, _ = head.split(" ", 2)
                await self._answer(method, target, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(
        self, method: str, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        ours = parts.path == VIRTUAL_MACHINE.path()
        if method != "GET":
            _send(writer, self._objects[0])
        elif parts.path in self._paths:
            _send(writer, self._paths[parts.path])
        elif "watch" in query:
            await self._stream(writer, self._events if ours else [])
            await reader.read()
        elif not ours:
            _send(writer, _dumps({"kind": "List", "metadata": {"resourceVersion": str(VERSION)}, "items": []}))
        else:
            _send(writer, self._page(int(query.get("limit", len(self._objects))), int(query.get("continue", 0))))
        await writer.drain()

    def _page(self, limit: int, first: int) -> bytes:
        rest = str(first + limit) if first + limit < len(self._objects) else ""
        kind = f'"apiVersion":"{VIRTUAL_MACHINE.api_version}","kind":"{VIRTUAL_MACHINE.kind}List"'
        head = f'{{{kind},"metadata":{{"resourceVersion":"{VERSION}","continue":"{rest}"}},"items":['
        return head.encode() + b",".join(self._objects[first : first + limit]) + b"]}"

    async def _stream(self, writer: asyncio.StreamWriter, events: Sequence[bytes]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(_PAUSE)
        for event in events:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()


def _discovery() -> dict[str, object]:
    """What kopf wants to know before it watches anything."""
    kinds = (VIRTUAL_MACHINE, _CRD)
    groups = [
        {"name": kind.group, "versions": [version], "preferredVersion": version}
        for kind in kinds
        for version in ({"groupVersion": kind.api_version, "version": kind.version},)
    ]
    return {
        "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.3"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": _resources(_NAMESPACE, _EVENT),
        "/apis": {"kind": "APIGroupList", "groups": groups},
        **{f"/apis/{kind.api_version}": _resources(kind) for kind in kinds},
    }


def _resources(*kinds: Kind) -> dict[str, object]:
    resources = [
        {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": ["list", "watch", "get", "patch", "create"],
        }
        for kind in kinds
    ]
    return {"kind": "APIResourceList", "groupVersion": kinds[0].api_version, "resources": resources}


def _dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


async def _main() -> None:
    key, certificate, objects, modifications = sys.argv[1:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(_Server(int(objects), int(modifications)).serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_main())
