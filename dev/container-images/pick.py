"""Collect what an image holds of Debian: files, the libraries they load, and the records of the packages they are from.

An image without a package tool is still asked what is in it, by scanners and by lawyers. So each package that a file is
from leaves its entry in /var/lib/dpkg/status.d, where scanners of images without dpkg look, and its copyright.
"""  # noqa: INP001 - a program of the images' build, of no package

import argparse
import fnmatch
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_DPKG = Path("/var/lib/dpkg")
_MERGED = ("bin", "sbin", "lib", "lib64")
_LDD_TIMEOUT = 60.0
_ELF = b"\x7fELF"
_RUNTIME_LIBRARIES = ("libgcc_s.so.1",)
"""glibc loads it when a thread is cancelled; no file says that it is needed."""


def main() -> None:
    """Read the command line, collect, and fail where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder that becomes the image's root")
    parser.add_argument("paths", type=Path, nargs="+", help="what to take, folders with all that is in them")
    parser.add_argument("--needed-by", type=Path, action="append", default=[], help="take the libraries of these, too")
    parser.add_argument("--without", action="append", default=[], help="a pattern of paths that are left out")
    given = parser.parse_args()
    chosen = [path for path in walk(given.paths) if not any(fnmatch.fnmatch(str(path), each) for each in given.without)]
    wanted = {*chosen, *libraries([*chosen, *walk(given.needed_by)])}
    copied = {copy(path, given.out) for path in sorted(wanted)}
    for name in _MERGED:
        if (given.out / "usr" / name).is_dir():
            (given.out / name).symlink_to(f"usr/{name}")
    record(copied, given.out)


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """The files of folders, the links among them, and what links lead to; compiled Python is made anew."""
    for path in paths:
        if path.is_symlink():
            yield path
            yield from walk([path.parent / path.readlink()])
        elif path.is_dir():
            yield from walk(each for each in sorted(path.iterdir()) if each.name != "__pycache__")
        elif path.is_file():
            yield path
        else:
            sys.exit(f"{path} is not there: its package is not installed")


def libraries(files: Iterable[Path]) -> set[Path]:
    """The shared libraries of the system that programs and libraries load, with the links by which they find them."""
    found: set[Path] = set()
    wanted = [path for path in files if not path.is_symlink() and _is_elf(path)]
    for number in range(0, len(wanted), 50):
        asked = subprocess.run(
            ["ldd", *wanted[number : number + 50]], capture_output=True, text=True, check=False, timeout=_LDD_TIMEOUT
        )
        for line in asked.stdout.splitlines():
            if "not found" in line:
                sys.exit(f"a library is missing: {line.strip()}")
            path = line.partition("=>")[2].split() or line.split()
            if path and path[0].startswith(("/lib", "/usr/lib")) and not path[0].endswith(":"):
                found.add(Path(path[0]))
    return {each for name in _with_runtime(found) for each in walk([name])}


def _with_runtime(found: set[Path]) -> set[Path]:
    folders = {path.parent for path in found if path.name == "libc.so.6"}
    return found | {folder / name for folder in folders for name in _RUNTIME_LIBRARIES}


def _is_elf(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_ELF)) == _ELF


def real(path: Path) -> Path:
    """Where a path is once /lib and the like are followed into /usr; its own last part is not followed."""
    return path.parent.resolve() / path.name


def copy(path: Path, out: Path) -> Path:
    """Copy a file or a link to its place; returns where that is, seen from the image."""
    source = real(path)
    target = out / source.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(target):
        shutil.copy2(source, target, follow_symlinks=False)
    return source


def record(files: set[Path], out: Path) -> None:
    """Leave the entry and the copyright of each package that a file is from.

    A file of no package was made on the machine: fonts' caches, alternatives. Only links of that kind are accepted.
    """
    owners: dict[Path, str] = {}
    for listing in sorted((_DPKG / "info").glob("*.list")):
        package = listing.stem.partition(":")[0]
        owners |= {real(Path(line)): package for line in listing.read_text(encoding="utf-8").splitlines()}
    strangers = sorted(str(path) for path in files if path not in owners and not path.is_symlink())
    if strangers:
        sys.exit(f"of no package: {', '.join(strangers)}")
    packages = {owners[path] for path in files if path in owners}
    entries = out / "var/lib/dpkg/status.d"
    entries.mkdir(parents=True)
    for entry in (_DPKG / "status").read_text(encoding="utf-8").split("\n\n"):
        name = entry.partition("\n")[0].removeprefix("Package: ")
        if name in packages:
            (entries / name).write_text(f"{entry.strip()}\n", encoding="utf-8")
    for package in sorted(packages):
        copyright_file = Path("/usr/share/doc", package, "copyright").resolve()
        if copyright_file.is_file():
            target = out / "usr/share/doc" / package / "copyright"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copyright_file, target)


if __name__ == "__main__":
    main()
