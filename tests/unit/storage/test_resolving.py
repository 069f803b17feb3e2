"""Host names that take their time: they hold up nobody but those who asked for them."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from berth_agent.storage.resolvers import BoundedResolver

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]


class HangingNames:
    """getaddrinfo that hangs for names that begin with ``hang`` until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host.startswith("hang"):
            self.release.wait(20)
        return FOUND


async def test_addresses_are_returned() -> None:
    (found,) = await BoundedResolver(1, getaddrinfo=HangingNames()).resolve("a", 80, socket.AF_UNSPEC)
    assert (found["host"], found["port"], found["family"]) == ("192.0.2.1", 80, socket.AF_INET)


async def test_a_zone_is_kept() -> None:
    def link_local(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 7))]

    (found,) = await BoundedResolver(1, getaddrinfo=link_local).resolve("a", 80)
    assert found["host"] == "fe80::1%7"


async def test_names_that_hang_occupy_no_more_than_their_own_threads() -> None:
    names = HangingNames()
    resolver = BoundedResolver(2, getaddrinfo=names)
    for number in range(4):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(resolver.resolve(f"hang-{number}"), 0.02)
    assert names.asked == ["hang-0", "hang-1"]
    assert await asyncio.to_thread(lambda: 1) == 1
    waiting = asyncio.create_task(resolver.resolve("quick"))
    names.release.set()
    assert len(await waiting) == 1


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
async def test_what_a_look_up_raises_is_an_os_error_and_frees_its_thread(error: Exception) -> None:
    def failing(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise error

    resolver = BoundedResolver(1, getaddrinfo=failing)
    for _ in range(2):
        with pytest.raises(OSError, match=r"unknown|label too long"):
            await resolver.resolve("a")
