"""Each test in namespaces of its own: network, mounts, processes.

A test function runs again in a child pytest under unshare(1), with its own `/run`, so nothing it does can touch the
machine, and nothing survives it. Inside, the fixture `node` also proves that the code under test left nothing.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.network import scripted
from tests.integration.network.guests import Guest
from tests.integration.network.nodes import Node

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


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A machine that is as empty after the test as before it, once its attachments were detached."""
    node = Node(tmp_path, (scripted.install(tmp_path), Path(os.environ.get(PLUGINS, "/nowhere"))))
    yield node
    if INSIDE not in os.environ:
        return
    agent = node.attacher()
    for states in (await agent.observe()).values():
        for state in states:
            await agent.detach(state.owner_uid, state.interface)
    async with asyncio.timeout(10):
        while any(remains := node.remains().values()):  # the kernel tears namespaces down by itself
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
