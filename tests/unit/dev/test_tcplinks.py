"""A link passes on what it is given, until it is told to break."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from berth_dev.errors import DevError
from berth_dev.linkserver import obey
from berth_dev.tcplinks import Link

ANSWER = bytes(range(256)) * 64


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """A server that answers every line with `ANSWER`; gives its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline():
                writer.write(ANSWER)
        except OSError:
            """It was cut."""
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(port: int, patience: float = 5.0) -> bytes:
    """What an answer brings until it is whole, or ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(patience):
            writer.write(b"?\n")
            return await reader.readexactly(len(ANSWER))
    except asyncio.IncompleteReadError as cut:
        return cut.partial
    finally:
        writer.transport.abort()


async def test_it_passes_on() -> None:
    async with echoing() as port, Link(port) as link:
        assert await ask(link.port) == ANSWER


async def test_what_is_cut_is_reset_and_comes_back_when_it_heals() -> None:
    async with echoing() as port, Link(port) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"?\n")
        assert await reader.readexactly(len(ANSWER))
        await obey(link, port, "drop", 0)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await ask(link.port)
        await obey(link, port, "heal", 0)
        assert await ask(link.port) == ANSWER


async def test_a_black_hole_swallows_until_it_heals() -> None:
    async with echoing() as port, Link(port) as link:
        await obey(link, port, "blackhole", 0)
        waiting = asyncio.create_task(ask(link.port))
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        await obey(link, port, "heal", 0)
        assert await waiting == ANSWER


async def test_what_is_delayed_arrives_later() -> None:
    async with echoing() as port, Link(port) as link:
        await obey(link, port, "delay", 0.15)
        begun = asyncio.get_running_loop().time()
        assert await ask(link.port) == ANSWER
        assert asyncio.get_running_loop().time() - begun >= 0.3, "there and back"


async def test_an_answer_is_cut_in_the_middle() -> None:
    async with echoing() as port, Link(port) as link:
        await obey(link, port, "truncate", 100)
        try:
            assert len(await ask(link.port)) <= 100
        except ConnectionResetError:
            """The reset overtook what had come through."""
        await obey(link, port, "heal", 0)
        assert await ask(link.port) == ANSWER


async def test_it_leads_elsewhere_until_it_heals() -> None:
    async with echoing() as port, Link(1) as link:
        await obey(link, 1, "lead_to", port)
        assert await ask(link.port) == ANSWER


async def test_an_unknown_verb_is_refused() -> None:
    async with Link(1) as link:
        with pytest.raises(DevError, match="explode"):
            await obey(link, 1, "explode", 0)
