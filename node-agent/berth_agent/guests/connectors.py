"""Ask a guest over its tap whether it accepts a TCP connection.

The node mostly has no route to its guests, or, worse, one to somebody else of the same address: networks may overlap.
So the question is put into the guest's own tap, and the answer is read there, whatever the network behind it is.
"""

import asyncio
import errno
import secrets
import socket
from contextlib import suppress
from ipaddress import ip_address, ip_interface
from typing import Final, Protocol

from berth_agent.guests.filters import answers_of, attach
from berth_agent.guests.handshakes import Handshake, Reply, choose_source
from berth_agent.guests.links import GuestLink

_ALL_FRAMES: Final = 0x0003
"""ETH_P_ALL: what is bound to one protocol comes after the redirects that lead a guest's frames away."""
_FIRST_PORT, _PORTS = 61_000, 4_536
"""Above the ports that Linux gives to its own connections: the gateway may have some to the guest."""
_RESEND = 1.0
"""Seconds between SYNs: the kernel's first retransmission."""
_GRACE = 0.2
"""Seconds that whoever has the source address gets to tell its MAC, before the connector does."""
_MAX_FRAMES = 128
"""Frames that are read in one attempt: a guest that sends more is playing."""
_LOST = (errno.EAGAIN, errno.ENOBUFS)
"""The guest does not empty its queue: a frame more is lost, as on a wire."""


class ConnectFailed(Exception):
    """The guest does not accept the connection."""


class CannotAsk(Exception):
    """The question could not be put, which says nothing of the guest."""


class Connector(Protocol):
    """Finds out whether a guest accepts TCP connections."""

    async def connect(self, link: GuestLink, address: str, port: int, deadline: float) -> None:
        """Return when the guest has accepted.

        Args:
            link: where the guest is.
            address: which one of the link's addresses, with prefix length.
            port: TCP port.
            deadline: seconds for the guest's answer.

        Raises:
            ConnectFailed: it refused, or did not answer in time.
            CannotAsk: the link is not there, or cannot be asked over.
        """
        ...


class TapConnector:
    """Connects over taps of the agent's network namespace; implements `Connector`.

    Args:
        concurrency: attempts, and so sockets, at once; the deadline of one that waits for its turn has not begun.
    """

    def __init__(self, concurrency: int = 16) -> None:
        self._places = asyncio.Semaphore(concurrency)

    async def connect(self, link: GuestLink, address: str, port: int, deadline: float) -> None:
        """Return when the guest has accepted."""
        try:
            handshake = prepare(link, address, port)
        except ValueError as error:
            raise CannotAsk(f"the link {link.device} cannot be asked over: {error}") from error
        async with self._places:
            try:
                tap = open_tap(link.device, handshake)
                try:
                    await _Attempt(tap, handshake).run(deadline)
                finally:
                    # Milliseconds, in which the kernel waits until no processor has the socket in hand any more.
                    asyncio.get_running_loop().run_in_executor(None, tap.close)
            except TimeoutError:
                raise ConnectFailed(f"no answer from port {port} of {handshake.target} within {deadline:g} s") from None
            except OSError as error:
                raise CannotAsk(f"the link {link.device} cannot be used: {error.strerror or error}") from error


class _Attempt:
    """One attempt, over a socket that passes only its answers."""

    def __init__(self, tap: socket.socket, handshake: Handshake) -> None:
        self._tap = tap
        self._handshake = handshake
        self._loop = asyncio.get_running_loop()
        self._resend_at = self._answer_at = float("inf")

    async def run(self, deadline: float) -> None:
        """Return when the guest has accepted.

        Raises:
            ConnectFailed: it refused.
            TimeoutError: it did not answer in time.
            OSError: the link is not there any more.
        """
        async with asyncio.timeout(deadline):
            self._ask()
            for _ in range(_MAX_FRAMES):
                match self._handshake.read(await self._next_frame()):
                    case Reply.ACCEPTED:
                        self._send(self._handshake.reset())
                        return
                    case Reply.REFUSED:
                        raise ConnectFailed(f"port {self._handshake.port} of {self._handshake.target} refused")
                    case Reply.WHO_HAS:
                        self._answer_at = min(self._answer_at, self._loop.time() + _GRACE)
        raise ConnectFailed(f"{self._handshake.target} answers with more frames than are read")

    async def _next_frame(self) -> bytes:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(self._resend_at, self._answer_at)):
                    return await self._loop.sock_recv(self._tap, 256)
            now = self._loop.time()
            if now >= self._answer_at:
                self._answer_at = float("inf")
                self._send(self._handshake.neighbour())
            if now >= self._resend_at:
                self._ask()

    def _ask(self) -> None:
        self._send(self._handshake.syn())
        self._resend_at = self._loop.time() + _RESEND

    def _send(self, frame: bytes) -> None:
        try:
            self._tap.send(frame)
        except OSError as error:
            if error.errno not in _LOST:
                raise


def prepare(link: GuestLink, address: str, port: int) -> Handshake:
    """A handshake that no earlier one can be taken for.

    Raises:
        CannotAsk: the guest has no route to anybody over the link.
    """
    guest = ip_interface(address)
    source = choose_source(guest, ip_address(link.gateway) if link.gateway else None)
    if source is None:
        raise CannotAsk(f"{address} has neither a gateway nor a subnet that it could be asked from")
    return Handshake(
        guest_mac=bytes.fromhex(link.mac_address.replace(":", "")),
        source=source,
        target=guest.ip,
        source_port=_FIRST_PORT + secrets.randbelow(_PORTS),
        port=port,
        sequence=secrets.randbits(32),
    )


def open_tap(device: str, handshake: Handshake) -> socket.socket:
    """A socket on a link that receives the answers of a handshake and nothing else.

    Raises:
        OSError: there is no such link, or the kernel refuses the socket.
    """
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        tap.setblocking(False)
        attach(tap, answers_of(handshake))
        tap.bind((device, _ALL_FRAMES))
    except BaseException:
        tap.close()
        raise
    return tap
