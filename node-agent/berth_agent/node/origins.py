"""Of which cluster the VMs are that have anything on this node, by UID, on disk.

That a VM is not in the API server's list means that it is gone only if it was in this cluster. A domain says of itself
which one it is in; disks, seeds and attachments that are left without a domain cannot, so it is noted here before any
of them is made. What nothing is noted of was made by an older agent and counts as this cluster's, as it always has.

Only this agent writes here, so what was read is kept. A note that cannot be read is taken for another cluster's: what
it is about stays.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from berth_agent.storage.disk_names import check_uid, is_uid
from berth_agent.storage.durable_files import sync_directory, write_atomically
from berth_agent.storage.threads import run_in_thread

log = structlog.get_logger()
_SUFFIX = ".json"
_PRIVATE = 0o700


@dataclass(frozen=True)
class Origin:
    """What is noted of a VM.

    Attributes:
        cluster: its identity, the UID of the namespace kube-system.
        former: UID under which the VM's guest was known here before it was adopted; empty: it was not.
        namespace: of the VM; empty: an older agent has noted it.
        name: of the VM.
        pools: storage pools that it has, or had, disks in, whatever its spec says by now.
    """

    cluster: str
    former: str = ""
    namespace: str = ""
    name: str = ""
    pools: tuple[str, ...] = ()


_UNREADABLE = Origin("unreadable")


class Origins:
    """The notes of one node.

    Args:
        directory: a file a VM; made when first needed.
        cluster: identity of the cluster that the agent works for; empty where it has none, and everything is its own.
    """

    def __init__(self, directory: Path, cluster: str) -> None:
        self._directory = directory
        self._known: dict[str, Origin | None] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # as long as anybody holds or waits
        self.cluster = cluster

    def is_foreign(self, cluster: str) -> bool:
        """Whether something that carries this identity is another cluster's. Without an identity it is ours."""
        return bool(self.cluster) and cluster not in ("", self.cluster)

    async def of(self, uid: str) -> Origin | None:
        """What is noted of a VM, or None.

        Raises:
            OSError: the note is there, perhaps, and the disk does not answer.
        """
        if uid not in self._known:
            self._known[uid] = await run_in_thread(_read, self._path(uid))
        return self._known[uid]

    async def note(
        self, uid: str, former: str = "", *, namespace: str = "", name: str = "", pools: Iterable[str] = ()
    ) -> None:
        """Note, before anything of it is made, that a VM is in this cluster. What is noted already is not written.

        Args:
            uid: the VM's.
            former: UID under which its guest was known here before; empty: what was noted of that stands.
            namespace: the VM's.
            name: the VM's.
            pools: what it has disks in, beside what was noted of that.

        Raises:
            OSError: it could not be written, so nothing must be made.
        """
        async with self._lock_of(uid):
            before = await self.of(uid)
            kept = before if before is not None and before.cluster == self.cluster else Origin(self.cluster)
            every = tuple(sorted({*kept.pools, *pools}))
            origin = Origin(self.cluster, former or kept.former, namespace, name, every)
            if origin == before:
                return
            self._known.pop(uid, None)
            await run_in_thread(_write, self._path(uid), origin)
            self._known[uid] = origin

    async def forget(self, uid: str, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Nothing is left of the VM.

        Args:
            uid: the VM's.
            unless: whether it is needed after all, asked while nobody can note anything of it.

        Raises:
            OSError: the note could not be removed.
        """
        async with self._lock_of(uid):
            if unless():
                return
            if await self.of(uid) is not None:
                await run_in_thread(_remove, self._path(uid))
            self._known.pop(uid, None)

    async def own(self) -> frozenset[str]:
        """UIDs of this cluster's VMs of which anything is noted.

        Raises:
            OSError: the notes cannot be listed.
        """
        return frozenset(uid for uid, origin in await self._all() if origin.cluster == self.cluster)

    async def foreign(self) -> frozenset[str]:
        """UIDs of other clusters' VMs.

        Raises:
            OSError: the notes cannot be listed.
        """
        return frozenset(uid for uid, origin in await self._all() if self.is_foreign(origin.cluster))

    async def _all(self) -> list[tuple[str, Origin]]:
        found = await run_in_thread(_scan, self._directory)
        origins = [(uid, await self.of(uid)) for uid in found]
        return [(uid, origin) for uid, origin in origins if origin is not None]

    def _lock_of(self, uid: str) -> asyncio.Lock:
        """One at a time per VM: what is forgotten is not what has just been noted."""
        return self._locks.setdefault(uid, asyncio.Lock())

    def _path(self, uid: str) -> Path:
        return self._directory / f"{check_uid(uid)}{_SUFFIX}"


def _read(path: Path) -> Origin | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        said = json.loads(text)
        return Origin(
            cluster=str(said["cluster"]),
            former=str(said.get("former", "")),
            namespace=str(said.get("namespace", "")),
            name=str(said.get("name", "")),
            pools=tuple(str(pool) for pool in said.get("pools", [])),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("a note of a VM's cluster cannot be read, what it is about stays", path=str(path), error=str(error))
        return _UNREADABLE


def _write(path: Path, origin: Origin) -> None:
    path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(origin)).encode())


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def _scan(directory: Path) -> list[str]:
    try:
        names = [path.name.removesuffix(_SUFFIX) for path in directory.iterdir() if path.name.endswith(_SUFFIX)]
    except FileNotFoundError:
        return []
    return sorted(filter(is_uid, names))
