"""A way to the API server that a test can break: TCP that is cut, held, delayed, or ends in the middle of an answer.

What is inside a connection is not looked at: clients speak TLS with the server itself. Nothing here drops single
packets: to the two ends, a lossy network is one that delays, and then one that breaks.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE = 65536
_PIECES_UNDER_WAY = 64
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing resets the connection instead of ending it politely."""


class Link:
    """Passes connections on to a server, as long as it is whole: `async with Link(port) as link`.

    Attributes:
        port: Where clients connect to.
        held: Pieces that are being held.
    """

    def __init__(self, target: int, *, host: str = "127.0.0.1", listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.port = self.held = 0
        self._target, self._host, self._listen = target, host, listen
        self._whole, self._delay = True, 0.0
        self._rest: int | None = None
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self._requests.set()
        self._answers.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, *self._listen)
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
        await self._break_all()

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

    def delay(self, seconds: float) -> None:
        """Have everything arrive this much later, both ways, from now on."""
        self._delay = seconds

    def truncate(self, size: int | None) -> None:
        """Break each connection once this many more bytes of answers have come through it; None: no more."""
        self._rest = size

    async def lead_to(self, target: int) -> None:
        """Connect to another port of the server's machine from now on; what is connected to the former one breaks."""
        if target != self._target:
            self._target = target
            await self._break_all()

    async def _break_all(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not self._whole:
            _reset(writer)
            return
        self._connections.add(task)
        try:
            await self._pass_on(reader, writer)
        except asyncio.CancelledError:
            """It was cut, and nobody waits for this task but who did so."""
        finally:
            self._connections.discard(task)
            _reset(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._requests.wait()
        try:
            there, back = await asyncio.open_connection(self._host, self._target)
        except OSError:
            return
        try:
            ways = (self._copy(reader, back, self._requests), self._copy(there, writer, self._answers, answers=True))
            tasks = [asyncio.create_task(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            back.transport.abort()

    async def _copy(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        flows: asyncio.Event,
        *,
        answers: bool = False,
    ) -> None:
        """Copy until one side is gone."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_UNDER_WAY)
        reading = asyncio.create_task(self._read(source, under_way))
        passed = 0
        try:
            with suppress(OSError):
                while (item := await under_way.get())[1]:
                    due, piece = item
                    await asyncio.sleep(due - asyncio.get_running_loop().time())
                    self.held += 1
                    try:
                        await flows.wait()
                    finally:
                        self.held -= 1
                    rest = self._rest if answers else None
                    passed = 0 if rest is None else passed + len(piece)
                    target.write(piece if rest is None or passed <= rest else piece[: rest - passed])
                    await target.drain()
                    if rest is not None and passed >= rest:
                        return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, source: asyncio.StreamReader, under_way: "asyncio.Queue[tuple[float, bytes]]") -> None:
        """Note of every piece when it may arrive; the end of the stream is an empty one."""
        piece = b"at first"
        while piece:
            try:
                piece = await source.read(_PIECE)
            except OSError:
                piece = b""
            await under_way.put((asyncio.get_running_loop().time() + self._delay, piece))


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
