"""The links through which Berth's parts reach the API server, in a process of their own, told what to do over TCP.

`python -m berth_dev.linkserver ADDRESS TARGET_PORT CONTROL_ADDRESS CONTROL_PORT NAME=PORT ...`: a link for each name,
on its port of the API server's own address, so that the server's certificate is good for it. It outlives the command
that made the cluster, as every part does, and who commands it may change.

A command is a line of JSON, `{"link": NAME, "verb": VERB, "value": NUMBER}`; so is its answer. See `LinkHandle`.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

from berth_dev.errors import DevError
from berth_dev.tcplinks import Link

CONTROL_PORT = 7400
OPERATOR_PORT = 7300
_TIMEOUT = 5.0


@dataclass(frozen=True)
class LinkHandle:
    """One part's link, to be broken and mended from another process.

    Attributes:
        name: The part's name.
        control: Where the link server is told what to do.
    """

    name: str
    control: IPv4Address

    def heal(self) -> None:
        """Pass everything on again, to the API server; what was held arrives now."""
        self._command("heal")

    def drop(self) -> None:
        """Reset what is connected, and every new connection."""
        self._command("drop")

    def blackhole(self) -> None:
        """Accept, and forward nothing, until `heal`."""
        self._command("blackhole")

    def delay(self, seconds: float) -> None:
        """Have everything arrive this much later, both ways."""
        self._command("delay", seconds)

    def truncate(self, size: int) -> None:
        """Reset each connection in the middle of an answer, once it has brought `size` more bytes."""
        self._command("truncate", size)

    def lead_to(self, port: int) -> None:
        """Lead to another port of the API server's address, until `heal`."""
        self._command("lead_to", port)

    def _command(self, verb: str, value: float = 0) -> None:
        line = json.dumps({"link": self.name, "verb": verb, "value": value}) + "\n"
        try:
            with socket.create_connection((str(self.control), CONTROL_PORT), _TIMEOUT) as connection:
                connection.sendall(line.encode())
                answer = connection.makefile("r", encoding="utf-8").readline()
        except OSError as error:
            raise DevError(f"the link server gives no answer: {error}") from error
        if answer != "ok\n":
            raise DevError(f"the link {self.name} does not {verb}: {answer.strip()}")


def is_listening(control: IPv4Address) -> bool:
    """Whether the link server takes commands."""
    try:
        socket.create_connection((str(control), CONTROL_PORT), _TIMEOUT).close()
    except OSError:
        return False
    return True


async def obey(link: Link, target: int, verb: str, value: float) -> None:
    """Do to a link what a command says.

    Args:
        link: The link.
        target: The port that it leads to when it is whole.
        verb: A method of `LinkHandle`.
        value: Its argument, if it has one.

    Raises:
        DevError: There is no such verb.
    """
    match verb:
        case "heal":
            link.delay(0)
            link.truncate(None)
            link.mend()
            link.release()
            await link.lead_to(target)
        case "drop":
            await link.cut()
        case "blackhole":
            link.hold_requests()
            link.hold_answers()
        case "delay":
            link.delay(value)
        case "truncate":
            link.truncate(int(value))
        case "lead_to":
            await link.lead_to(int(value))
        case _:
            raise DevError(f"there is no verb {verb!r}")


async def _answer(
    links: Mapping[str, Link], target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        line = await reader.readline()
        if not line:
            return
        try:
            command = json.loads(line)
            await obey(links[command["link"]], target, command["verb"], float(command["value"]))
            writer.write(b"ok\n")
        except (ValueError, KeyError, TypeError, DevError) as error:
            writer.write(f"{type(error).__name__}: {error}\n".encode())
        await writer.drain()
    except OSError:
        """Whoever commanded has gone, and is not told."""
    finally:
        writer.close()


async def serve(address: str, target: int, control: tuple[str, int], ports: Mapping[str, int]) -> None:
    """Serve until killed."""
    async with AsyncExitStack() as stack:
        links = {
            name: await stack.enter_async_context(Link(target, host=address, listen=(address, port)))
            for name, port in ports.items()
        }
        server = await asyncio.start_server(partial(_answer, links, target), *control)
        await server.serve_forever()


def main(address: str, target: str, control_address: str, control_port: str, *links: str) -> None:
    """Serve the links that the command line names."""
    ports = {name: int(port) for name, _, port in (link.partition("=") for link in links)}
    asyncio.run(serve(address, int(target), (control_address, int(control_port)), ports))


if __name__ == "__main__":
    main(*sys.argv[1:])
