"""An image's list names all that it holds, and a tree is laid out whole, verified, or not at all."""

import errno
from pathlib import Path

import pytest

from berth_libvirt import contents, trees
from berth_libvirt.contents import Entry
from berth_libvirt.errors import BrokenImage


def an_image(root: Path, **files: str) -> Path:
    """An image of a program, a link to it, and what is given."""
    for name, text in {"usr/sbin/libvirtd": "program", **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if text == "program" else 0o644)
    (root / "sbin").symlink_to("usr/sbin")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    written = root / contents.LIST
    written.parent.mkdir(parents=True)
    written.write_bytes(contents.dump(contents.scan([root])))
    return root


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return an_image(tmp_path / "image", etc__hosts="root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "node"


def test_a_list_names_everything_but_itself(image: Path) -> None:
    _, entries = contents.load(image)
    found = {entry.path: entry for entry in entries}
    assert found["usr/sbin/libvirtd"].mode == 0o755
    assert found["sbin"] == Entry("sbin", "l", 0, "usr/sbin")
    assert found["tmp"] == Entry("tmp", "d", 0o1777)
    assert [entry.path for entry in contents.scan([image])].count(contents.LIST) == 0


def test_of_a_path_in_two_folders_the_last_counts(tmp_path: Path) -> None:
    for name, text in (("one", "former"), ("two", "newer")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text, encoding="utf-8")
    (entry,) = contents.scan([tmp_path / "one", tmp_path / "two"])
    assert entry.content == contents.digest(tmp_path / "two/file")


def test_the_same_content_is_the_same_tree_and_other_content_another(image: Path, tmp_path: Path) -> None:
    name, _ = contents.load(image)
    assert contents.load(an_image(tmp_path / "again", etc__hosts="root"))[0] == name
    assert contents.load(an_image(tmp_path / "other", etc__hosts="toor"))[0] != name


@pytest.mark.parametrize("path", ["/etc/passwd", "../etc/passwd", "usr/../../etc"])
def test_a_list_that_leads_out_of_the_image_is_refused(image: Path, path: str) -> None:
    (image / contents.LIST).write_bytes(contents.dump([Entry(path, "f", 0o644, "0" * 64)]))
    with pytest.raises(BrokenImage, match="no path of an image"):
        contents.load(image)


@pytest.mark.parametrize("text", ["", "[1]", "{}", "not json"])
def test_an_image_without_a_list_says_which_value_names_it(image: Path, text: str) -> None:
    path = image / contents.LIST
    path.write_text(text, encoding="utf-8")
    if not text:
        path.unlink()
    with pytest.raises(BrokenImage, match=r"libvirt\.managed\.image"):
        contents.load(image)


def test_a_tree_is_what_the_image_is_and_is_laid_out_once(image: Path, folder: Path) -> None:
    tree = trees.lay_out(image, folder)
    assert contents.dump(contents.scan([tree])) == (image / contents.LIST).read_bytes()
    before = tree.stat().st_ino, (tree / "usr/sbin/libvirtd").stat().st_ino
    assert trees.lay_out(image, folder) == tree
    assert (tree.stat().st_ino, (tree / "usr/sbin/libvirtd").stat().st_ino) == before


def test_mount_points_that_were_added_are_no_difference(image: Path, folder: Path) -> None:
    tree = trees.lay_out(image, folder)
    (tree / "srv/pool").mkdir(parents=True)
    trees.lay_out(image, folder)
    assert [path.name for path in folder.iterdir()] == [tree.name]


@pytest.mark.parametrize("damage", ["content", "mode", "missing"])
def test_a_damaged_tree_is_kept_aside_for_whoever_runs_from_it_and_laid_out_anew(
    image: Path, folder: Path, damage: str
) -> None:
    tree = trees.lay_out(image, folder)
    inode, program = tree.stat().st_ino, tree / "usr/sbin/libvirtd"
    if damage == "content":
        program.write_text("tampered", encoding="utf-8")
    elif damage == "mode":
        program.chmod(0o777)
    else:
        program.unlink()
    again = trees.lay_out(image, folder)
    assert again == tree
    assert (again / "usr/sbin/libvirtd").read_text(encoding="utf-8") == "program"
    assert (folder / f"{tree.name}.broken-1").stat().st_ino == inode


def test_an_image_that_is_not_what_its_list_says_leaves_no_tree(image: Path, folder: Path) -> None:
    (image / "usr/sbin/libvirtd").write_text("other", encoding="utf-8")
    with pytest.raises(BrokenImage, match=r"pull libvirt\.managed\.image again"):
        trees.lay_out(image, folder)
    assert list(folder.iterdir()) == []


def test_what_a_crash_left_half_laid_out_is_laid_out_from_the_start(image: Path, folder: Path) -> None:
    name, _ = contents.load(image)
    (folder / f"{name}.part/usr/sbin").mkdir(parents=True)
    (folder / f"{name}.part/usr/sbin/libvirtd").write_text("half", encoding="utf-8")
    tree = trees.lay_out(image, folder)
    assert (tree / "usr/sbin/libvirtd").read_text(encoding="utf-8") == "program"
    assert [path.name for path in folder.iterdir()] == [tree.name]


def test_trees_that_nothing_needs_go_and_what_is_not_berths_stays(image: Path, folder: Path) -> None:
    tree = trees.lay_out(image, folder)
    former, older = "0" * 16, "1" * 16
    gone = {former, f"{former}.part", f"{former}.broken-12"}
    foreign = {trees.STATE, "mysql", "0" * 15, "0" * 17, f"{former}.broken-", f"{former}.old", "F" * 16}
    for name in (*gone, *foreign, older):
        (folder / name).mkdir()
    (folder / ("2" * 16)).symlink_to(folder / "mysql")
    (folder / ("3" * 16)).write_text("no folder", encoding="ascii")
    assert set(trees.remove_unused(folder, {tree.name, older}, refuse)) == gone
    left = {tree.name, older, *foreign, "2" * 16, "3" * 16}
    assert {path.name for path in folder.iterdir()} == left


def test_a_tree_that_cannot_be_removed_is_told_and_keeps_no_other_one(image: Path, folder: Path) -> None:
    tree = trees.lay_out(image, folder)
    for name in ("0" * 16, "1" * 16):
        (folder / name).mkdir()
    told: list[str] = []

    def remove(path: Path) -> None:
        if path.name == "0" * 16:
            raise OSError(errno.EBUSY, "busy")
        path.rmdir()

    assert trees.remove_unused(folder, {tree.name}, lambda name, _: told.append(name), remove) == ["1" * 16]
    assert told == ["0" * 16]


def refuse(name: str, error: OSError) -> None:
    raise AssertionError(name) from error
