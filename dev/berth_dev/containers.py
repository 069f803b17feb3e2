"""The container images that a cluster of kubelets runs, each as an OCI archive in the cache.

No registry takes part: what is not Berth's own is built here, and nodes import the archives. Berth's own images are
built from the Dockerfile; others may edit the sources meanwhile, so it is a copy of them that is built and named after.
"""

import hashlib
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from berth_dev import buildah, commands
from berth_dev.archives import ImageContent, pack, read_file, write_archive
from berth_dev.caches import cached, key_of
from berth_dev.progress import Say

PAUSE_REFERENCE = "berth-pause:1"
PAUSE_USER = "65535:65535"
SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "crds/berth_api",
    "operator/berth_operator",
    "node-agent/berth_agent",
    "node-agent/berth_libvirt",
    "dev/container-images",
    "dev/pause",
)
"""What the images are built from, below the project's root: what .dockerignore lets in."""
_COMPILE_TIMEOUT = 120.0
_BASE_TIMEOUT = 900.0
_PUSH_TIMEOUT = 300.0


def pause_image(cache: Path, project: Path, say: Say) -> Path:
    """Return the archive of the image that sandboxes and anchors run: a static program that waits.

    It is what the Dockerfile's target `pause` makes, but without an engine, a base, and minutes.

    Args:
        cache: The cache's root.
        project: The project's root.
        say: Takes progress lines.

    Raises:
        CommandError: The C compiler is missing, or it failed.
    """
    sources = project / "dev" / "pause"

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            program = Path(scratch) / "pause"
            commands.run(["sh", str(sources / "build.sh"), str(program)], timeout=_COMPILE_TIMEOUT)
            content = ImageContent(("/pause",), {"/pause": program.read_bytes()}, user=PAUSE_USER)
        write_archive(folder / "pause.tar", PAUSE_REFERENCE, content)

    key = key_of(PAUSE_REFERENCE, files=[sources / "build.sh", sources / "pause.c"])
    return cached(cache / "pause", key, "building the pause image", build, say) / "pause.tar"


def operator_image(cache: Path, project: Path, say: Say) -> Path:
    """Return the archive of the operator's image, beside it its bill of materials `berth-operator.cdx.json`.

    Args:
        cache: The cache's root.
        project: The project's root.
        say: Takes progress lines.

    Raises:
        CommandError: buildah, mmdebstrap or Go is missing, or a step of the Dockerfile failed.
    """
    return _berth_image("operator", cache, project, say)


def agent_image(cache: Path, project: Path, say: Say) -> Path:
    """Return the archive of the agent's image, beside it its bill of materials `berth-agent.cdx.json`.

    Args and errors are those of `operator_image`.
    """
    return _berth_image("agent", cache, project, say)


def libvirt_image(cache: Path, project: Path, say: Say) -> Path:
    """Return the archive of the image that brings libvirt to nodes, beside it its bill of materials.

    Args and errors are those of `operator_image`.
    """
    return _berth_image("libvirt", cache, project, say)


def targets(project: Path) -> Sequence[str]:
    """The images that a release of the project has, by the targets of its Dockerfile: a former one may have fewer."""
    stages = {
        line.split()[-1]
        for line in (project / "Dockerfile").read_text("utf-8").splitlines()
        if line.startswith("FROM scratch AS ")
    }
    return sorted(stages)


def reference(target: str, project: Path) -> str:
    """What Pods call the image of a target of the Dockerfile."""
    return f"berth-{target}:{_version(project)}"


def build_archive(target: str, cache: Path, project: Path, folder: Path, say: Say, *, anew: bool = False) -> Path:
    """Build an image from the Dockerfile and write its archive and its bill of materials into a folder.

    Args:
        target: The Dockerfile's target.
        cache: The cache's root, for the base and the layers.
        project: The project's root, or a copy of its sources.
        folder: An empty folder.
        say: Takes progress lines.
        anew: Run every step, whatever layers there are from before.

    Raises:
        CommandError: As `operator_image`.
    """
    name = reference(target, project)
    archive, bill = folder / f"berth-{target}.tar", f"berth-{target}.cdx.json"
    base = _base(cache, project, say)
    with tempfile.TemporaryDirectory() as scratch, buildah.opened(cache / "container-store", base) as store:
        image, layout = f"localhost/{name}", Path(scratch) / "layout"
        arguments = {"VERSION": _version(project)}
        buildah.build(store, project, target, image, arguments=arguments, scratch=Path(scratch), anew=anew)
        store.run("push", "--quiet", image, f"oci:{layout}:{name}", timeout=_PUSH_TIMEOUT)
        pack(layout, archive, name)
    (folder / bill).write_bytes(read_file(archive, f"usr/share/sbom/{bill}"))
    return archive


def _berth_image(target: str, cache: Path, project: Path, say: Say) -> Path:
    def build(folder: Path) -> None:
        build_archive(target, cache, sources, folder, say)

    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch) / "sources"
        digest = copy_sources(project, sources)
        folder = cached(
            cache / f"container-{target}",
            key_of(target, digest, buildah.go_version()),
            f"building the image berth-{target} (minutes when neither layers nor a base are there)",
            build,
            say,
        )
    return folder / f"berth-{target}.tar"


def copy_sources(project: Path, target: Path) -> str:
    """Copy what the images are built from, and return a digest of it: of paths, content, and nothing else."""
    digest = hashlib.sha256()
    for top in SOURCES:
        found = project / top
        for path in sorted(found.rglob("*")) if found.is_dir() else [found]:
            if path.is_file() and "__pycache__" not in path.parts:
                copy = target / path.relative_to(project)
                copy.parent.mkdir(parents=True, exist_ok=True)
                data = path.read_bytes()
                copy.write_bytes(data)
                for part in (str(path.relative_to(project)).encode(), data):
                    digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def _base(cache: Path, project: Path, say: Say) -> Path:
    script = project / "dev" / "container-images" / "base.sh"

    def build(folder: Path) -> None:
        commands.run(["sh", str(script), str(folder / "base.tar")], timeout=_BASE_TIMEOUT)

    key = key_of(files=[script])
    return cached(cache / "container-base", key, "building the images' base (about a minute)", build, say) / "base.tar"


def _version(project: Path) -> str:
    return str(tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
