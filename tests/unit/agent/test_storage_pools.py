"""A storage pool that is not ready is not one that is not there: what lies in it is kept, and waited for."""

import asyncio
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from tests.fakes.hypervisor import HANG, FakeHypervisor
from tests.unit.agent.conftest import AgentWorld

from berth_agent.audits import Audit
from berth_agent.handlers.intake import Intake
from berth_agent.hypervisor.errors import DeadlineExceeded, HypervisorError, PoolConflict
from berth_agent.node.storage_pools import NodePools
from berth_agent.reconcile.rounds import Owner
from berth_agent.storage.cache_entries import CacheEntries
from berth_agent.storage.errors import PoolUnavailable
from berth_agent.storage.sources import Digest, ImageFormat
from berth_api.kinds import STORAGE_POOL, VIRTUAL_MACHINE
from berth_api.storagepools import StoragePool
from berth_api.workqueues import Backoff, WorkQueue

DIGEST = Digest.parse("sha256:" + "5" * 64)


def pool(name: str, path: Path, *, shared: bool = False) -> StoragePool:
    return StoragePool.from_api({"metadata": {"name": name}, "spec": {"path": str(path), "shared": shared}})


async def restart_while_its_pool_is_away(node: AgentWorld, looks: int) -> None:
    """Start another agent; so often the pool is looked for in vain, the first time at the start."""
    node.hypervisor.fail("ensure_pool", *[DeadlineExceeded("the file system does not answer")] * looks)
    node.pools = NodePools(node.hypervisor)
    await node.restart()


@pytest.mark.parametrize("error", [DeadlineExceeded("too late"), PoolConflict("another one has the name")])
async def test_a_pool_that_was_never_ready_is_unready_until_its_object_goes(
    tmp_path: Path, error: HypervisorError
) -> None:
    hypervisor = FakeHypervisor()
    pools = NodePools(hypervisor)
    both = pool("default", tmp_path / "default"), pool("nfs", tmp_path / "nfs", shared=True)
    hypervisor.fail("ensure_pool", None, error)
    await pools.refresh(both)
    assert (set(pools.names()), set(pools.unready())) == ({"default"}, {"nfs"})
    assert pools.shared == {"nfs"}
    with pytest.raises(PoolUnavailable, match=str(error)):
        pools.directory_of("nfs")
    await pools.refresh(both)
    assert (set(pools.names()), set(pools.unready())) == ({"default", "nfs"}, set())
    hypervisor.fail("ensure_pool", None, error)
    await pools.refresh(both)
    assert set(pools.unready()) == (set() if error.retryable else {"nfs"}), "one that was ready is looked into itself"
    await pools.refresh(both[:1])
    assert (set(pools.names()), set(pools.unready())) == ({"default"}, set())


async def test_pools_are_unready_before_anybody_has_looked_at_them(tmp_path: Path) -> None:
    hypervisor = FakeHypervisor()
    pools = NodePools(hypervisor)
    hypervisor.fail("ensure_pool", HANG)
    refreshing = asyncio.create_task(pools.refresh((pool("a", tmp_path / "a"), pool("b", tmp_path / "b"))))
    await asyncio.sleep(0)
    assert len(hypervisor.calls) == 1
    assert set(pools.unready()) == {"a", "b"}
    refreshing.cancel()


@pytest.mark.parametrize("left_the_spec", [False, True])
@pytest.mark.parametrize("shared", [False, True])
async def test_a_delete_waits_for_the_pool_that_the_disks_are_in(
    node: AgentWorld, tmp_path: Path, shared: bool, left_the_spec: bool
) -> None:
    spec = {"path": str(tmp_path / "pool"), "shared": shared}
    node.add(STORAGE_POOL, {"metadata": {"name": "default"}, "spec": spec})
    await node.reconcile()
    assert list((tmp_path / "pool").iterdir())
    body = node.vm or {}
    if left_the_spec:
        body["spec"]["disks"], body["status"]["claim"]["pools"] = [], []
    body["metadata"]["deletionTimestamp"] = (node.now - timedelta(hours=1)).isoformat()
    node.add(VIRTUAL_MACHINE, body)
    await restart_while_its_pool_is_away(node, looks=2)
    await node.reconcile()
    assert "releasedClaim" not in node.status
    ready = next(each for each in node.status["conditions"] if each["type"] == "Ready")
    assert "default is not ready on this node: the file system does not answer" in ready["message"]
    node.now += timedelta(minutes=2)
    await node.settle()
    assert node.status["releasedClaim"] == "claim-1"
    assert not list((tmp_path / "pool").iterdir())


async def test_no_image_is_dropped_while_a_pool_is_away(node: AgentWorld) -> None:
    await node.tools.images.start()
    entries = CacheEntries(node.directory / "images")
    entries.begin(DIGEST).write_bytes(b"an image")
    entries.complete(DIGEST, image_format=ImageFormat.RAW, virtual_size=8, used_at=0)
    await restart_while_its_pool_is_away(node, looks=1)
    vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
    reports: WorkQueue[str] = WorkQueue(Backoff(), Random(1))
    intake = Intake(node.tools.view, node.reconciler, vms, reports)
    pauses: list[float] = []

    async def look_again(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            assert entries.find(DIGEST) is not None
            await node.load()
        if len(pauses) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Audit(node.tools, intake, vms, interval=180, image_keep=0, sleep=look_again).run()
    assert entries.find(DIGEST) is None
