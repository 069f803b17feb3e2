"""A stand-in for QEMU and a guest: real programs behind a tap.

A process opens the tap exactly as QEMU does and copies its frames to and from a second tap in a namespace of its own:
the guest's NIC. Real DHCP clients, pings and web servers run there, on the kernel's own network stack.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PUMP = Path(__file__).with_name("pump.py")
DHCP_SCRIPT = """#!/bin/sh
echo "$1 ip=$ip/$mask router=$router dns=$dns mtu=$mtu hostname=$hostname lease=$lease routes=$staticroutes"
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr replace "$ip/$mask" dev "$interface"
set -- $staticroutes
while [ $# -ge 2 ]; do
    [ "$2" = 0.0.0.0 ] && ip route replace "$1" dev "$interface" || ip route replace "$1" via "$2"
    shift 2
done
[ -z "$staticroutes" ] && [ -n "$router" ] && ip route replace default via "$router"
exit 0
"""


async def run(*argv: str, check: bool = True, deadline: float = 20) -> str:
    """Run a program and return all it wrote."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(deadline):
        output, _ = await process.communicate()
    assert process.returncode == 0 or not check, f"{argv} ended with {process.returncode}: {output.decode()}"
    return output.decode()


@dataclass
class Guest:
    """A running guest."""

    name: str
    pump: asyncio.subprocess.Process

    @classmethod
    async def boot(cls, name: str, tap: str, mac: str, *, offloads: bool) -> "Guest":
        """Start a guest whose NIC `eth0` is up and has no address yet."""
        await run("ip", "netns", "add", name)
        pump = await asyncio.create_subprocess_exec(
            *(sys.executable, str(PUMP), tap, f"/run/netns/{name}", "offloads" if offloads else "plain"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert pump.stdout is not None
        assert await pump.stdout.readline() == b"ready\n"
        await run("ip", "-n", name, "link", "set", "eth0", "address", mac, "up")
        await run("ip", "-n", name, "link", "set", "lo", "up")
        return cls(name, pump)

    async def run(self, *argv: str, check: bool = True) -> str:
        """Run a program in the guest."""
        return await run(*self.command(*argv), check=check)

    def command(self, *argv: str) -> Sequence[str]:
        """Return the command line that runs a program in the guest."""
        return ("ip", "netns", "exec", self.name, *argv)

    async def start(self, *argv: str) -> asyncio.subprocess.Process:
        """Start a program in the guest; whoever does ends it."""
        return await asyncio.create_subprocess_exec(
            *self.command(*argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def get_address(self, script: Path) -> dict[str, str]:
        """Run a DHCP client until it has a lease, and return what the lease says."""
        output = await self.run(*self.dhcp_client(script), "-n", "-q")
        bound = next(line for line in output.splitlines() if line.startswith("bound "))
        return dict(word.split("=", 1) for word in bound.replace("routes=", "routes=|").split("|")[0].split()[1:]) | {
            "routes": bound.partition("routes=")[2]
        }

    @staticmethod
    def dhcp_client(script: Path) -> Sequence[str]:
        """Return the client's command line; it configures the NIC as it is told."""
        script.write_text(DHCP_SCRIPT)
        script.chmod(0o755)
        options = [f"-O{option}" for option in ("staticroutes", "mtu", "hostname")]
        return ("busybox", "udhcpc", "-i", "eth0", "-f", "-t", "5", "-T", "1", *options, "-s", str(script))

    async def pings(self, address: str) -> bool:
        """Whether an address answers the guest."""
        return ", 0% packet loss" in await self.run("busybox", "ping", "-c", "2", "-W", "2", address, check=False)

    async def stop(self) -> None:
        """Take the guest away from its tap."""
        if self.pump.returncode is None:
            self.pump.terminate()
            await self.pump.wait()
        await run("ip", "netns", "delete", self.name)
