"""Container images as OCI archives, written without an engine and without a registry.

An image of ours is one layer and a few lines of configuration (OCI image-spec 1.1, layout in a tar file), which is what
`ctr images import` and `buildah pull oci-archive:` read. The same files give the same bytes, and so the same digest.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MEDIA = "application/vnd.oci.image"
_REGISTRY = "docker.io/library/"
"""What a runtime puts before a name without a registry."""
_NAME = "io.containerd.image.name"
_REFERENCE = "org.opencontainers.image.ref.name"


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


def names_in(archive: Path) -> list[str]:
    """What an archive's index calls its images: what engines write there has no registry if the name has none.

    Raises:
        KeyError: It is no OCI archive.
    """
    with tarfile.open(archive) as layout:
        stream = layout.extractfile("index.json")
        if stream is None:
            raise KeyError(f"{archive}: index.json is no file")
        manifests = json.load(stream)["manifests"]
    annotations = [manifest.get("annotations", {}) for manifest in manifests]
    return [found for one in annotations if (found := one.get(_NAME) or one.get(_REFERENCE))]


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
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _descriptor("config.v1+json", config),
        "layers": [_descriptor("layer.v1.tar", layer)],
    }
    _write(target, reference, manifest, (layer, config))


def _write(target: Path, reference: str, manifest: Mapping[str, object], blobs: Sequence[bytes]) -> None:
    """Write an archive: what the manifest names, the manifest, and an index of it alone."""
    written = _document(manifest)
    platform = {"architecture": "amd64", "os": "linux"}
    described = {**_descriptor("manifest.v1+json", written), "annotations": _names(reference), "platform": platform}
    index = {"schemaVersion": 2, "mediaType": f"{_MEDIA}.index.v1+json", "manifests": [described]}
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", _document({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _document(index))
        for blob in (*blobs, written):
            _add(archive, f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}", blob)


def pack(layout: Path, target: Path, reference: str) -> None:
    """Write an image that an engine left as a layout of files as one tar file, named as Pods call it.

    Args:
        layout: A folder with `oci-layout`, `index.json` of one image, and `blobs`.
        target: The tar file; the same image gives the same bytes.
        reference: `NAME:TAG`.
    """
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"][0]["annotations"] = _names(reference)
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", (layout / "oci-layout").read_bytes())
        _add(archive, "index.json", _document(index))
        for blob in sorted((layout / "blobs" / "sha256").iterdir()):
            _add(archive, f"blobs/sha256/{blob.name}", blob.read_bytes())


def amend(archive: Path, target: Path, reference: str, files: Mapping[str, bytes]) -> None:
    """Write an image that is another one with more files, or with other files in their place.

    Args:
        archive: The other image's.
        target: The tar file.
        reference: `NAME:TAG`.
        files: Executable files by their absolute path in the image.
    """
    lower = list(layers(archive))
    layer = _layer(ImageContent((), files))
    with tarfile.open(archive) as opened:
        manifest = _read_json(opened, _blob(_read_json(opened, "index.json")["manifests"][0]["digest"]))
        whole = _read_json(opened, _blob(manifest["config"]["digest"]))
    whole["rootfs"]["diff_ids"].append(_digest(layer))
    whole["history"].append({"created_by": "berth"})
    config = _document(whole)
    manifest["config"] |= {"digest": _digest(config), "size": len(config)}
    manifest["layers"].append(_descriptor("layer.v1.tar", layer))
    _write(target, reference, manifest, (*lower, layer, config))


def digest(archive: Path) -> str:
    """The digest of the image in an archive, as registries and Pods know it."""
    with tarfile.open(archive) as opened:
        return str(_read_json(opened, "index.json")["manifests"][0]["digest"])


def layers(archive: Path) -> Iterator[bytes]:
    """The layers of an image, each a tar file as it is stored, the lowest first."""
    with tarfile.open(archive) as opened:
        manifest = _read_json(opened, _blob(_read_json(opened, "index.json")["manifests"][0]["digest"]))
        for layer in manifest["layers"]:
            yield _read(opened, _blob(layer["digest"]))


def configuration(archive: Path) -> dict[str, Any]:
    """How containers of an image are started, and its labels: `config` of the image-spec's configuration."""
    with tarfile.open(archive) as opened:
        manifest = _read_json(opened, _blob(_read_json(opened, "index.json")["manifests"][0]["digest"]))
        return dict(_read_json(opened, _blob(manifest["config"]["digest"]))["config"])


def read_file(archive: Path, path: str) -> bytes:
    """The content of a file in an image, by its path without the leading slash.

    Raises:
        KeyError: There is no such file.
    """
    for layer in reversed([*layers(archive)]):
        with tarfile.open(fileobj=io.BytesIO(layer)) as opened, suppress(KeyError):
            return _read(opened, path)
    raise KeyError(f"{archive} has no file {path}")


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _read_json(archive: tarfile.TarFile, name: str) -> Any:
    return json.loads(_read(archive, name))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(f"{name} is no file")
    return stream.read()


def _names(reference: str) -> dict[str, str]:
    return {
        _NAME: full_name(reference),
        _REFERENCE: reference.rpartition(":")[2],
    }


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
