"""The way from an operator to the API server: TCP that can be cut, and held, so that what is on its way stays there."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE = 65536


class Link:
    """Passes connections on to a port of this machine, as long as it is whole: `async with Link(port) as link`.

    What is inside a connection is not looked at: clients speak TLS with the server itself.

    Attributes:
        port: Where clients connect to.
        held: Connections on which something is being held.
    """

    def __init__(self, target: int) -> None:
        self.port = self.held = 0
        self._target, self._whole = target, True
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self._requests.set()
        self._answers.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Break every connection, and each new one as soon as it is made."""
        self._whole = False
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def mend(self) -> None:
        """Let connections be made again."""
        self._whole = True

    def hold_requests(self) -> None:
        """Keep what clients send, until `release`: it is on its way."""
        self._requests.clear()

    def hold_answers(self) -> None:
        """Keep what the server sends, until `release`."""
        self._answers.clear()

    def release(self) -> None:
        """Deliver what was held, and hold no more."""
        self._requests.set()
        self._answers.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self._whole:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._pass_on(reader, writer)
        except asyncio.CancelledError:
            """It was cut, and nobody waits for this task but who did so."""
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return
        try:
            ways = (self._copy(reader, back, self._requests), self._copy(there, writer, self._answers))
            tasks = [asyncio.create_task(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            back.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        """Copy until one side is gone."""
        with suppress(OSError):
            while piece := await source.read(_PIECE):
                self.held += 1
                try:
                    await flows.wait()
                finally:
                    self.held -= 1
                target.write(piece)
                await target.drain()
