"""Seeds on disk: what a guest finds on the CD, who may read it, and when it is written."""

from pathlib import Path

import pycdlib
import pytest

from berth_agent.storage.cloud_init import Seed, SeedInterface, documents
from berth_agent.storage.errors import InvalidName
from berth_agent.storage.seeds import Seeds, digest_in

pytestmark = pytest.mark.integration

UID = "0b9b1f3c-5a8e-4f30-8a52-5a3f1d7c0001"
SEED = Seed(
    vm_uid=UID,
    vm_name="web-1",
    interfaces=(SeedInterface(name="default", mac_address="52:54:00:12:34:56", addresses=("10.1.0.5/24",)),),
    user_data=b"#!/bin/sh\necho hello\n" + bytes(range(256)) * 300,
)


@pytest.fixture
def seeds(tmp_path: Path) -> Seeds:
    return Seeds(tmp_path / "seeds")


def read(path: Path, kind: str) -> dict[str, bytes]:
    iso = pycdlib.PyCdlib()
    iso.open(str(path))
    try:
        found = {}
        for name in ("meta-data", "user-data", "network-config"):
            with iso.open_file_from_iso(**{kind: f"/{name}"}) as file:
                found[name] = file.read()
        return found
    finally:
        iso.close()


@pytest.mark.parametrize("kind", ["rr_path", "joliet_path"])
async def test_the_guest_finds_the_documents_under_their_names(seeds: Seeds, kind: str) -> None:
    path = await seeds.ensure_seed(SEED)
    assert read(path, kind) == documents(SEED)


async def test_the_volume_is_labelled_as_cloud_init_looks_for_it(seeds: Seeds) -> None:
    path = await seeds.ensure_seed(SEED)
    assert path.read_bytes()[32808:32840].rstrip() == b"CIDATA"


async def test_a_seed_is_for_root_alone(seeds: Seeds) -> None:
    path = await seeds.ensure_seed(SEED)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o711


async def test_a_seed_is_rewritten_only_when_it_says_something_else(seeds: Seeds) -> None:
    path = await seeds.ensure_seed(SEED)
    before = path.stat()
    assert (await seeds.ensure_seed(SEED)).stat().st_ino == before.st_ino
    other = Seed(vm_uid=UID, vm_name="web-1", interfaces=SEED.interfaces, user_data=b"#cloud-config\nother: true\n")
    await seeds.ensure_seed(other)
    assert path.stat().st_ino != before.st_ino
    assert read(path, "rr_path")["user-data"] == other.user_data
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_a_damaged_seed_is_written_anew(seeds: Seeds) -> None:
    path = await seeds.ensure_seed(SEED)
    path.write_bytes(b"")
    assert digest_in(path) == ""
    await seeds.ensure_seed(SEED)
    assert read(path, "rr_path") == documents(SEED)


async def test_a_deleted_seed_is_gone_with_what_a_crash_left(seeds: Seeds) -> None:
    path = await seeds.ensure_seed(SEED)
    (path.parent / f".{path.name}.abc123.new").write_bytes(b"half")
    (path.parent / "foreign.iso").write_bytes(b"foreign")
    assert await seeds.seeds() == {UID}
    assert await seeds.delete_seed(UID)
    assert not await seeds.delete_seed(UID)
    assert await seeds.seeds() == frozenset()
    assert [entry.name for entry in path.parent.iterdir()] == ["foreign.iso"]


async def test_a_node_without_seeds_has_none(seeds: Seeds) -> None:
    assert await seeds.seeds() == frozenset()
    assert not await seeds.delete_seed(UID)


@pytest.mark.parametrize("uid", ["../../etc/cron.d/x", "", "0b9b1f3c", UID.upper(), f"{UID}\n"])
async def test_a_uid_that_is_none_is_refused(seeds: Seeds, uid: str) -> None:
    with pytest.raises(InvalidName):
        await seeds.ensure_seed(Seed(vm_uid=uid, vm_name="web-1"))
    with pytest.raises(InvalidName):
        await seeds.delete_seed(uid)
