"""Each test in namespaces of its own: network, mounts, processes.

A test function runs again in a child pytest under unshare(1), with its own `/run`, so nothing it does can touch the
machine, and nothing survives it. Inside, the fixture `node` also proves that the code under test left nothing.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.integration.network.guests import Guest

from berth_agent.network.attacher import Attacher
from berth_agent.network.settings import NetworkLimits
from berth_dev.caches import cache_root
from berth_dev.progress import silent
from berth_dev.startup import project_root
from berth_dev.tools import build_tools

INSIDE = "BERTH_TEST_INSIDE"
PLUGINS = "BERTH_CNI_BIN_DIR"
DEADLINE = 90


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test inside, and fail with what it said."""
    if INSIDE in os.environ:
        return None
    script = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"'
    argv = [
        *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"),
        *(sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "--basetemp=/run/pytest"),
        pyfuncitem.nodeid,
    ]
    env = {**os.environ, INSIDE: "1", PLUGINS: str(plugin_directory())}
    done = subprocess.run(
        argv, cwd=pyfuncitem.config.rootpath, env=env, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    if done.returncode:
        pytest.fail(f"inside:\n{done.stdout}{done.stderr}", pytrace=False)
    return True


def plugin_directory() -> Path:
    """Where the real plugins are: given, or built once into the cache."""
    given = os.environ.get(PLUGINS)
    return Path(given) if given else build_tools(cache_root(), project_root(), silent)[1]


@dataclass
class Node:
    """The machine, as the code under test sees it."""

    root: Path
    cni_bin_dirs: tuple[Path, ...]
    attached: list[tuple[str, str]] = field(default_factory=list)

    @property
    def state_dir(self) -> Path:
        return self.root / "state"

    @property
    def netns_dir(self) -> Path:
        return Path("/run/netns")

    def attacher(self, **limits: float) -> Attacher:
        """Return an attacher that shares nothing with others but the disk and the kernel, like a restarted agent's."""
        return Attacher(self, NetworkLimits(**limits))  # type: ignore[arg-type] # every limit used here is a number

    def remains(self) -> dict[str, list[str]]:
        """Everything that an attachment could have left."""
        return {
            "links": sorted(name for _, name in socket.if_nameindex() if not name.startswith(("lo", "br-", "up"))),
            "namespaces": sorted(path.name for path in self.netns_dir.glob("berth-*")),
            "records": sorted(str(path) for path in self.state_dir.rglob("*") if path.is_file()),
            "reservations": sorted(path.name for path in (self.root / "ipam").rglob("1*")),
            "processes": sorted(name for name in running() if name == "dnsmasq"),
        }


def running() -> list[str]:
    """The names of all processes here that still run; this pytest is process 1 and reaps no orphans."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if text.rpartition(")")[2].split()[0] != "Z":
            found.append(text.partition("(")[2].rpartition(")")[0])
    return found


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A machine that is as empty after the test as before it, once its attachments were detached."""
    node = Node(tmp_path, (Path(os.environ.get(PLUGINS, "/nowhere")),))
    yield node
    if INSIDE not in os.environ:
        return
    agent = node.attacher()
    for states in (await agent.observe()).values():
        for state in states:
            await agent.detach(state.owner_uid, state.interface)
    async with asyncio.timeout(10):
        while any(remains := node.remains().values()):  # noqa: ASYNC110 - the kernel tears namespaces down by itself
            await asyncio.sleep(0.02)
            assert not node.remains()["records"]
    assert not any(remains)


@pytest.fixture
async def guests() -> AsyncIterator["Guests"]:
    """Boots guests, and stops them after the test."""
    guests = Guests()
    yield guests
    for guest in guests.booted:
        await guest.stop()


class Guests:
    """The guests of a test."""

    def __init__(self) -> None:
        self.booted: list[Guest] = []

    async def boot(self, tap: str, mac: str, *, offloads: bool = True) -> Guest:
        """Plug a guest into a tap, as QEMU does."""
        guest = await Guest.boot(f"guest{len(self.booted)}", tap, mac, offloads=offloads)
        self.booted.append(guest)
        return guest
