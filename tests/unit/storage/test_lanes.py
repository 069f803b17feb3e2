"""A file system that does not answer: its own work fails soon, and nobody else notices."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Collection
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PosixPath

import pytest

from berth_agent.reconcile.plan.steps import DeleteDisks
from berth_agent.storage.disks import Disks
from berth_agent.storage.errors import PoolUnavailable, StorageHangs
from berth_agent.storage.lanes import PATIENCE as REAL_PATIENCE
from berth_agent.storage.lanes import Lane, Lanes
from berth_agent.storage.pools import PoolDirectories

UID = "0b9b1f3c-5a8e-4f30-8a52-5a3f1d7c0001"
PATIENCE = 0.2


class Server:
    """A file server that answers once it is there."""

    def __init__(self) -> None:
        self.is_there, self.asked, self.done = threading.Event(), threading.Event(), threading.Event()

    def ask(self) -> str:
        self.asked.set()
        self.is_there.wait(20)
        self.done.set()
        return "answer"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    yield made
    made.is_there.set()


async def test_what_is_asked_is_answered_and_errors_arrive() -> None:
    lane = Lane("here")
    assert await lane.look(divmod, 7, 2) == await lane.change(divmod, 7, 2) == (3, 1)
    for run in (lane.look, lane.change):
        with pytest.raises(ZeroDivisionError):
            await run(lambda: 1 / 0)


async def test_a_look_that_hangs_is_left_behind_and_others_there_fail_at_once(server: Server) -> None:
    lane, loop = Lane("the storage pool far", patience=PATIENCE), asyncio.get_running_loop()
    with pytest.raises(StorageHangs, match="the storage pool far does not answer"):
        await lane.look(server.ask)
    begun = loop.time()
    for run in (lane.look, lane.change):
        with pytest.raises(StorageHangs):
            await run(server.ask)
    assert loop.time() - begun < PATIENCE
    server.is_there.set()
    async with asyncio.timeout(20):
        while True:
            try:
                assert await lane.look(server.ask) == "answer"
                break
            except StorageHangs:
                await asyncio.to_thread(server.done.wait)


@pytest.mark.parametrize("changing", [False, True])
async def test_what_ended_while_the_loop_stood_still_is_not_overdue(server: Server, changing: bool) -> None:
    within = 0.5
    lane = Lane("here", patience=within / 6 if changing else within)
    waiting = asyncio.create_task((lane.change if changing else lane.look)(server.ask))
    await asyncio.to_thread(server.asked.wait, 20)
    server.is_there.set()
    assert server.done.wait(20)
    time.sleep(within)  # noqa: ASYNC251 - the loop is to stand still
    assert await lane.change(divmod, 7, 2) == (3, 1)
    assert await waiting == "answer"


async def test_a_change_is_waited_for_however_often_its_caller_is_cancelled(server: Server) -> None:
    waiting = asyncio.create_task(Lane("here").change(server.ask))
    await asyncio.to_thread(server.asked.wait, 20)
    for _ in range(3):
        waiting.cancel()
        await asyncio.wait({waiting}, timeout=0.01)
    assert not waiting.done()
    server.is_there.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert server.done.is_set()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_change_that_is_overdue_is_left_behind_and_nothing_else_is_done_there(
    server: Server, cancelled: bool
) -> None:
    """Rounds without an end would have the agent started anew, which mends no file system."""
    lane = Lane("here", patience=PATIENCE / 6)
    waiting = asyncio.create_task(lane.change(server.ask))
    await asyncio.to_thread(server.asked.wait, 20)
    if cancelled:
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else StorageHangs):
        await waiting
    assert not server.done.is_set()
    with pytest.raises(StorageHangs):
        await lane.change(divmod, 7, 2)


async def test_who_finds_no_thread_in_time_fails_and_takes_none(server: Server) -> None:
    lane = Lane("here", patience=PATIENCE, threads=1)
    busy = asyncio.create_task(lane.change(server.ask))
    await asyncio.to_thread(server.asked.wait, 20)
    with pytest.raises(StorageHangs):
        await lane.change(divmod, 7, 2)
    server.is_there.set()
    assert await busy == "answer"
    assert await lane.change(divmod, 7, 2) == (3, 1)


async def test_a_pool_that_hangs_holds_up_only_its_own_disks(server: Server, tmp_path: Path) -> None:
    lanes = Lanes(patience=PATIENCE)
    disks = Disks(PoolDirectories({name: tmp_path / name for name in ("far", "near")}), lanes=lanes)
    for name in ("far", "near"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{UID}-root.qcow2").touch()
    with pytest.raises(StorageHangs):
        await lanes.of("far").look(server.ask)
    with pytest.raises(StorageHangs):
        await disks.disk(vm_uid=UID, disk_name="root", pool_name="far")
    assert await disks.disk(vm_uid=UID, disk_name="other", pool_name="near") is None
    assert await disks.observe() == {UID: frozenset({"root"})}
    with pytest.raises(StorageHangs):
        await disks.backing_digests()
    with pytest.raises(StorageHangs):
        await disks.delete_disks(UID, known=("far", "near"))
    assert not list((tmp_path / "near").iterdir()), "the others are deleted all the same"
    assert await disks.delete_disks(UID, known=("near",)) == 0, "an audit finds what might be left in a pool unknown"


class HangingPath(PosixPath):
    """A directory that cannot be read before its server is there."""

    server: Server

    def __fspath__(self) -> str:
        self.server.ask()
        return str(self)


@dataclass(frozen=True)
class Shelf(PoolDirectories):
    """Pools of which some hang, from their first look on, and some are not ready."""

    server: Server
    away: frozenset[str] = frozenset()

    def directory_of(self, pool_name: str) -> Path:
        directory = super().directory_of(pool_name)
        if not pool_name.startswith("far"):
            return directory
        path = HangingPath(directory)
        path.server = self.server
        return path

    def unready(self) -> Collection[str]:
        return self.away


def put_disk(pool: Path) -> None:
    pool.mkdir()
    (pool / f"{UID}-root.qcow2").touch()


@pytest.mark.parametrize("known", [("near",), ("far-0", "near")])
async def test_pools_that_begin_to_hang_keep_nobody_from_deleting_in_time(
    server: Server, tmp_path: Path, known: tuple[str, ...]
) -> None:
    pools = {name: tmp_path / name for name in ("far-0", "far-1", "far-2", "far-3", "near")}
    put_disk(pools["near"])
    disks = Disks(Shelf(pools, server), lanes=Lanes(patience=PATIENCE))
    hangs = pytest.raises(StorageHangs) if "far-0" in known else nullcontext()
    async with asyncio.timeout(PATIENCE * DeleteDisks.deadline / REAL_PATIENCE):
        with hangs:
            assert await disks.delete_disks(UID, known=known) == 1
    assert not list(pools["near"].iterdir())


async def test_a_pool_that_is_not_ready_is_not_taken_for_an_empty_one(server: Server, tmp_path: Path) -> None:
    put_disk(tmp_path / "near")
    disks = Disks(Shelf({"near": tmp_path / "near"}, server, frozenset({"away"})))
    with pytest.raises(PoolUnavailable, match="away"):
        await disks.backing_digests()
    with pytest.raises(PoolUnavailable, match="away"):
        await disks.delete_disks(UID, known=("away", "near"))
    assert not list((tmp_path / "near").iterdir()), "the others are deleted all the same"
    assert await disks.delete_disks(UID, known=("near", "gone")) == 0, "a pool without an object is not waited for"
    assert await disks.delete_disks(UID) == 0, "where nobody can tell, an audit looks again once it is ready"
    assert await disks.delete_disks(UID, known=("away",), leave_out=("away",)) == 0


async def test_a_pool_that_must_not_be_read_matters_only_to_its_own_vms(tmp_path: Path, server: Server) -> None:
    put_disk(tmp_path / "near")
    pools = {"long": tmp_path / ("x" * 300), "near": tmp_path / "near"}
    disks = Disks(Shelf(pools, server))
    assert await disks.delete_disks(UID, known=("near",)) == 1
    with pytest.raises(OSError, match="too long"):
        await disks.delete_disks(UID, known=("long",))


async def test_a_pool_that_is_not_there_is_passed_over_where_nothing_depends_on_it(tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / f"{UID}-root.qcow2").touch()
    disks = Disks(PoolDirectories({"far": tmp_path / "far", "near": tmp_path / "near"}))
    assert await disks.observe() == {UID: frozenset({"root"})}
    with pytest.raises(PoolUnavailable):
        await disks.delete_disks(UID)
    assert not list((tmp_path / "near").iterdir())
