"""Images are written as the OCI layout has them, the same each time."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from berth_dev.archives import (
    ImageContent,
    amend,
    configuration,
    full_name,
    layers,
    names_in,
    read_file,
    write_archive,
)

_CONTENT = ImageContent(("/bin/tool", "--now"), {"/bin/tool": b"program"}, {"/bin/alias": "tool"}, user="65535:65535")


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream.read()


def _blob(archive: tarfile.TarFile, descriptor: dict[str, Any]) -> bytes:
    algorithm, _, digest = descriptor["digest"].partition(":")
    data = _read(archive, f"blobs/{algorithm}/{digest}")
    assert (len(data), hashlib.sha256(data).hexdigest()) == (descriptor["size"], digest)
    return data


def test_an_archive_leads_from_its_name_to_its_files(tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    write_archive(target, "tool:1", _CONTENT)
    with tarfile.open(target) as archive:
        assert json.loads(_read(archive, "oci-layout")) == {"imageLayoutVersion": "1.0.0"}
        described = json.loads(_read(archive, "index.json"))["manifests"][0]
        manifest = json.loads(_blob(archive, described))
        config = json.loads(_blob(archive, manifest["config"]))
        data = _blob(archive, manifest["layers"][0])
    assert described["annotations"]["io.containerd.image.name"] == "docker.io/library/tool:1"
    assert config["config"]["Entrypoint"] == ["/bin/tool", "--now"]
    assert config["config"]["User"] == "65535:65535"
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    with tarfile.open(fileobj=io.BytesIO(data)) as layer:
        assert layer.getnames() == ["bin", "bin/tool", "bin/alias"]
        assert _read(layer, "bin/tool") == b"program"
        assert layer.getmember("bin/tool").mode == 0o755
        assert layer.getmember("bin/alias").linkname == "tool"


def test_the_same_content_is_the_same_image(tmp_path: Path) -> None:
    one, other = tmp_path / "one.tar", tmp_path / "other.tar"
    write_archive(one, "tool:1", _CONTENT)
    write_archive(other, "tool:1", _CONTENT)
    with tarfile.open(one) as first, tarfile.open(other) as second:
        assert _read(first, "index.json") == _read(second, "index.json")


def test_a_name_with_a_registry_is_whole() -> None:
    assert full_name("tool:1") == "docker.io/library/tool:1"
    assert full_name("registry.example.com/tool:1") == "registry.example.com/tool:1"


def test_an_archive_tells_what_its_image_is_called(tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    write_archive(target, "tool:1", _CONTENT)
    assert names_in(target) == ["docker.io/library/tool:1"]


def test_an_image_with_other_files_is_the_same_but_for_these(tmp_path: Path) -> None:
    write_archive(tmp_path / "image.tar", "tool:1", _CONTENT)
    amend(tmp_path / "image.tar", tmp_path / "other.tar", "tool:2", {"/bin/tool": b"newer", "/bin/more": b"more"})
    other = tmp_path / "other.tar"
    assert names_in(other) == ["docker.io/library/tool:2"]
    assert (read_file(other, "bin/tool"), read_file(other, "bin/more")) == (b"newer", b"more")
    assert configuration(other) == configuration(tmp_path / "image.tar")
    assert [next(layers(other))] == list(layers(tmp_path / "image.tar"))
    with tarfile.open(other) as archive:
        manifest = json.loads(_blob(archive, json.loads(_read(archive, "index.json"))["manifests"][0]))
        config = json.loads(_blob(archive, manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
