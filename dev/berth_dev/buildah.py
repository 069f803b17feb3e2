"""Building images from the Dockerfile where there is no Docker engine: buildah, in a store of the cache's own.

Nothing of it is known to the machine: images, layers and working containers are below the store's folder. Steps run in
a changed root without namespaces, so they reach what the machine reaches; what they need for that (certificates, where
pip and Go fetch from) is mounted while they run and becomes part of no layer.
"""

import configparser
import shutil
import ssl
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from berth_dev import commands
from berth_dev.caches import key_of
from berth_dev.errors import DevError
from berth_dev.states import locked

EPOCH = 1_700_000_000
"""What everything in the images is dated, in seconds since 1970: builds of the same are then the same."""
BASE, GO_BASE = "localhost/berth-base:latest", "localhost/berth-go-base:latest"
_CERTIFICATES = "/etc/pki/tls/certs/ca-bundle.crt"
"""Where Go looks for certificates, too, and where Debian has none that a package would replace during the build."""
_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BUILD_TIMEOUT = 1800.0
_STORE_TIMEOUT = 3600.0
_MOST_IMAGES = 500
"""A store with more images and layers than this is emptied: each change of a source leaves some."""


@dataclass(frozen=True)
class Store:
    """Where buildah keeps layers, held by one process at a time.

    Attributes:
        folder: Its folder.
        driver: How it stacks layers: `overlay`, or `vfs` where the kernel does not let us.
    """

    folder: Path
    driver: str

    def run(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run one of buildah's commands here and return what it printed.

        Raises:
            CommandError: It failed.
        """
        return commands.run([*self._program(), *arguments], timeout=timeout).stdout.strip()

    def has(self, image: str) -> bool:
        """Whether there is an image of this name."""
        argv = [*self._program(), "inspect", "--type", "image", image]
        return commands.run(argv, check=False).returncode == 0

    def _program(self) -> list[str]:
        return ["buildah", *_folders(self.folder), "--storage-driver", self.driver]


@contextmanager
def opened(folder: Path, base: Path) -> Iterator[Store]:
    """A store that has both bases; waits for whoever builds in it.

    Args:
        folder: The folder of stores, of which only that of the newest base is kept.
        base: The archive of Debian that images are built from.

    Raises:
        CommandError: buildah or Go is missing, or a base cannot be imported.
    """
    with locked(folder, timeout=_STORE_TIMEOUT):
        own = folder / key_of(str(base), go_version())
        for other in folder.iterdir():
            if other != own:
                _remove(other)
        store = Store(own, _driver(own))
        store.run("rm", "--all")
        if len(store.run("images", "--all", "--quiet").split()) > _MOST_IMAGES:
            _remove(own)
        if not store.has(BASE):
            _commit(store, "scratch", {str(base): "/"}, _PATH, BASE)
        if not store.has(GO_BASE):
            go = commands.run(["go", "env", "GOROOT"]).stdout.strip()
            _commit(store, BASE, {go: "/usr/local/go"}, f"/usr/local/go/bin:{_PATH}", GO_BASE)
        try:
            yield store
        finally:
            store.run("rm", "--all")


def go_version() -> str:
    """The version of the machine's Go."""
    return commands.run(["go", "env", "GOVERSION"]).stdout.strip()


def build(
    store: Store,
    context: Path,
    target: str,
    image: str,
    *,
    arguments: Mapping[str, str],
    scratch: Path,
    anew: bool = False,
) -> None:
    """Build one target of a Dockerfile.

    Args:
        store: Where layers are.
        context: The folder with the Dockerfile and all that it copies.
        target: The stage that becomes the image.
        image: What the image is called in the store.
        arguments: Values for the Dockerfile's ARGs beside its bases.
        scratch: An empty folder for what is mounted into the steps.
        anew: Run every step, whatever layers there are from before.

    Raises:
        CommandError: A step failed.
    """
    values = {**arguments, "BASE": BASE, "GO_BASE": GO_BASE, "SOURCE_DATE_EPOCH": str(EPOCH)}
    store.run(
        *("bud", "--isolation", "chroot", "--pull-never", "--timestamp", str(EPOCH), "--format", "oci"),
        *("--no-cache", "--layers") if anew else ("--layers",),
        *(f"--build-arg={name}={value}" for name, value in values.items()),
        *(f"--volume={volume}" for volume in _volumes(scratch)),
        *("--target", target, "--tag", image, str(context)),
        timeout=_BUILD_TIMEOUT,
    )


def _driver(folder: Path) -> str:
    usable = commands.run(["buildah", *_folders(folder / "probe"), "--storage-driver", "overlay", "info"], check=False)
    shutil.rmtree(folder / "probe", ignore_errors=True)
    return "overlay" if usable.returncode == 0 else "vfs"


def _folders(folder: Path) -> list[str]:
    return ["--root", str(folder / "root"), "--runroot", str(folder / "run")]


def _remove(folder: Path) -> None:
    """Remove a store, with whatever a killed build left mounted in it.

    Raises:
        DevError: Something is still mounted there.
    """
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    for path in sorted((path for path in mounted if Path(path).is_relative_to(folder)), reverse=True):
        commands.run(["umount", path])
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise DevError(f"{folder} cannot be removed: {error}") from error


def _commit(store: Store, start: str, content: Mapping[str, str], path: str, image: str) -> None:
    container = store.run("from", "--pull-never", start)
    for source, target in content.items():
        store.run("add", "--quiet", container, source, target, timeout=_BUILD_TIMEOUT)
    store.run("config", "--env", f"PATH={path}", container)
    store.run("commit", "--quiet", "--rm", "--timestamp", str(EPOCH), container, image, timeout=_BUILD_TIMEOUT)


def _volumes(scratch: Path) -> Sequence[str]:
    """What steps see of the machine: certificates, pip's configuration, Go's, and its caches."""
    said = commands.run([sys.executable, "-m", "pip", "config", "list"]).stdout
    volumes = [f"{pip_configuration(said, scratch)}:/etc/pip.conf:ro"]
    certificates = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    if Path(certificates).is_file():
        volumes.append(f"{certificates}:{_CERTIFICATES}:ro")
    modules, cache, settings = commands.run(["go", "env", "GOMODCACHE", "GOCACHE", "GOENV"]).stdout.split()
    for source, target in ((modules, "/root/go/pkg/mod"), (cache, "/root/.cache/go-build")):
        Path(source).mkdir(parents=True, exist_ok=True)
        volumes.append(f"{source}:{target}")
    if Path(settings).is_file():
        volumes.append(f"{settings}:/root/.config/go/env:ro")
    return volumes


def pip_configuration(said: str, folder: Path) -> Path:
    """Write a configuration file with where a machine's pip fetches from.

    Args:
        said: What `pip config list` printed there: `SECTION.OPTION='VALUE'` a line; `:env:` is a section, and wins.
        folder: Where to write `pip.conf`.
    """
    found: dict[str, str] = {}
    for line in sorted(said.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = value.strip("'\"")
    parser = configparser.RawConfigParser()
    parser["global"] = {name: found[name] for name in _PIP_OPTIONS if name in found} | {"cert": _CERTIFICATES}
    path = folder / "pip.conf"
    with path.open("w", encoding="utf-8") as stream:
        parser.write(stream)
    return path
