"""Container images as OCI archives, written without an engine and without a registry.

An image of ours is one layer and a few lines of configuration (OCI image-spec 1.1, layout in a tar file), which is what
`ctr images import` and `buildah pull oci-archive:` read. The same files give the same bytes, and so the same digest.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_MEDIA = "application/vnd.oci.image"
_REGISTRY = "docker.io/library/"
"""What a runtime puts before a name without a registry."""


@dataclass(frozen=True)
class ImageContent:
    """What an image holds and how it is started.

    Attributes:
        entrypoint: The argument list of its process.
        files: Executable files by their absolute path in the image.
        links: Targets of symbolic links by their absolute path.
        user: `UID` or `UID:GID` of the process; root where empty.
        command: Further arguments, which a Pod may replace.
    """

    entrypoint: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    command: tuple[str, ...] = ()


def full_name(reference: str) -> str:
    """The name under which a runtime keeps an image that a Pod calls `reference`."""
    return reference if "/" in reference else f"{_REGISTRY}{reference}"


def write_archive(target: Path, reference: str, content: ImageContent) -> None:
    """Write an image for this machine's kind (linux/amd64) as a tar file.

    Args:
        target: The tar file.
        reference: What Pods will call it: `NAME:TAG`.
        content: What is in it.
    """
    layer = _layer(content)
    config = _document(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": list(content.entrypoint),
                "Cmd": list(content.command),
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
                "User": content.user,
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created_by": "berth"}],
        }
    )
    manifest = _document(
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": _descriptor("config.v1+json", config),
            "layers": [_descriptor("layer.v1.tar", layer)],
        }
    )
    annotations = {
        "io.containerd.image.name": full_name(reference),
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    platform = {"architecture": "amd64", "os": "linux"}
    described = {**_descriptor("manifest.v1+json", manifest), "annotations": annotations, "platform": platform}
    index = {"schemaVersion": 2, "mediaType": f"{_MEDIA}.index.v1+json", "manifests": [described]}
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", _document({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _document(index))
        for blob in (layer, config, manifest):
            _add(archive, f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}", blob)


def _layer(content: ImageContent) -> bytes:
    """The files as an uncompressed tar: owned by root, dated 1970, folders before what is in them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for folder in sorted({str(up) for path in (*content.files, *content.links) for up in Path(path).parents}):
            if folder != "/":
                entry = tarfile.TarInfo(folder.removeprefix("/"))
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
        for path, data in sorted(content.files.items()):
            _add(archive, path.removeprefix("/"), data, mode=0o755)
        for path, pointed in sorted(content.links.items()):
            entry = tarfile.TarInfo(path.removeprefix("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, pointed
            archive.addfile(entry)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _descriptor(kind: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": f"{_MEDIA}.{kind}", "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _document(content: object) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
