"""The copies of images on a node: laid out whole or not at all, verified, and removed when nothing runs from them.

A copy is written beside its place and renamed, so that whoever finds it finds all of it. It is read again whenever a
Pod starts: a disk may have lost what was written just before a power cut. One that is not what the image holds is moved
aside, since guests may still run from it, and laid out anew.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from berth_libvirt.contents import Entry, load, read
from berth_libvirt.errors import BrokenImage

STATE = "state"
"""The folder beside the trees that keeps what libvirt keeps, whichever tree it runs from."""

_PART = ".part"
_ASIDE = ".broken"
_NAME = re.compile(r"[0-9a-f]{16}(\.part|\.broken-[0-9]+)?")
"""What this module makes; whatever else is in the folder is somebody else's."""

_BLOCK = 1 << 20


def lay_out(image: Path, folder: Path) -> Path:
    """Copy an image's content to the node, unless it is there already.

    Args:
        image: The image's root.
        folder: Where trees are.

    Returns:
        The tree.

    Raises:
        BrokenImage: The image is not what its own list says.
        OSError: The node's disk is full, or cannot be written to.
    """
    name, entries = load(image)
    tree = folder / name
    if tree.is_dir():
        if is_whole(tree, entries):
            return tree
        tree.rename(_free(folder, f"{name}{_ASIDE}"))
    part = folder / f"{name}{_PART}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o755, parents=True)
    try:
        for entry in entries:
            _copy(image, part, entry)
        _set_modes(part, entries)
        part.rename(tree)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return tree


def is_whole(tree: Path, entries: Sequence[Entry]) -> bool:
    """Whether a tree holds all that it should; mount points that were added are no difference."""
    try:
        return all(read(tree, entry.path) == entry for entry in entries)
    except (OSError, BrokenImage):
        return False


def trees(folder: Path) -> Iterator[Path]:
    """Every tree of a node, whole or not, known by its name: the folder may hold what is not Berth's."""
    for path in sorted(folder.iterdir()):
        if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def remove_unused(
    folder: Path,
    keep: Collection[str],
    failed: Callable[[str, OSError], None],
    remove: Callable[[Path], None] = shutil.rmtree,
) -> list[str]:
    """Remove the trees that nobody needs.

    Args:
        folder: Where trees are.
        keep: The names of those that something runs from, or will.
        failed: Is told the name of one that cannot be removed, and why; the others are, all the same.
        remove: Removes a folder with all that is in it.

    Returns:
        The names of those that were removed.
    """
    removed = []
    for tree in trees(folder):
        if tree.name in keep:
            continue
        try:
            remove(tree)
        except OSError as error:
            failed(tree.name, error)
        else:
            removed.append(tree.name)
    return removed


def _copy(image: Path, tree: Path, entry: Entry) -> None:
    source, target = image / entry.path, tree / entry.path
    if entry.kind == "d":
        target.mkdir(exist_ok=True)
    elif entry.kind == "l":
        target.symlink_to(entry.content)
    elif _copy_file(source, target) != entry.content:
        raise BrokenImage(f"{source} is not what the image's list says: pull libvirt.managed.image again")


def _copy_file(source: Path, target: Path) -> str:
    """Copy a file, and return the digest of what was copied."""
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reading, target.open("xb") as writing:
            while block := reading.read(_BLOCK):
                digest.update(block)
                writing.write(block)
    except FileNotFoundError as error:
        raise BrokenImage(f"{source} is missing: pull libvirt.managed.image again") from error
    return digest.hexdigest()


def _set_modes(tree: Path, entries: Sequence[Entry]) -> None:
    """After all is there: a folder that may not be written to could not be filled."""
    for entry in entries:
        if entry.kind != "l":
            (tree / entry.path).chmod(entry.mode)


def _free(folder: Path, stem: str) -> Path:
    number = 1
    while os.path.lexists(path := folder / f"{stem}-{number}"):
        number += 1
    return path
