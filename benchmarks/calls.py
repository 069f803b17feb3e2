"""What a call costs the process that makes it: the official client's HTTP session beside our own.

Both send the server-side apply that binds a VM, sixteen at a time, to the same stand-in of the API server, over TLS,
and read the object that answers. Each run is a process of its own; what counts is all the CPU that it uses, threads
included, divided by the number of calls.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import uvloop
from kubernetes.aio.client.rest import RESTClientObject

from benchmarks.figures import Target, conclude, table
from benchmarks.localapi import machine, serving
from berth_api.client import ApiClient
from berth_api.client.credentials import load
from berth_api.kinds import VIRTUAL_MACHINE

CALLS = 3200
AT_A_TIME = 16
RUNS = 5
PATIENCE = 120.0
RATIO_LIMIT = 0.5
CLIENTS = ("official", "own")
LOOPS = ("asyncio", "uvloop")
STATUS = {name: machine(1, 1)["status"][name] for name in ("nodeName", "phase", "claim", "conditions")}
APPLY = "application/apply-patch+yaml"
Call = Callable[[str], Awaitable[object]]


def main() -> None:
    """Measure, print, and say whether our own calls are as cheap as they have to be."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    series: dict[str, list[float]] = {f"{client}, {loop}": [] for client in CLIENTS for loop in LOOPS}
    with serving(objects=1, modifications=0) as kubeconfig:
        for _ in range(runs):
            for name, samples in series.items():
                samples.append(in_another_process(name, kubeconfig))
    table(f"CPU per call, {AT_A_TIME} at a time", series, "ms")
    medians = {name: median(samples) for name, samples in series.items()}
    conclude("calls", [Target("ratio", medians["own, uvloop"] / medians["official, uvloop"], RATIO_LIMIT)])


def in_another_process(name: str, kubeconfig: Path) -> float:
    """CPU milliseconds per call of one run."""
    argv = [sys.executable, "-m", "benchmarks.calls", name, str(kubeconfig)]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    return float(done.stdout)


async def with_own(kubeconfig: Path) -> None:
    """Apply as the operator does."""
    async with await ApiClient.connect(kubeconfig, user_agent="bench/1") as client:

        async def apply(name: str) -> object:
            return await client.apply(
                VIRTUAL_MACHINE, name, "default", {"status": STATUS}, field_manager="bench", subresource="status"
            )

        await measured(apply)


async def with_official(kubeconfig: Path) -> None:
    """Apply over the official client's session, without its models."""
    configuration = await load(kubeconfig)
    rest = RESTClientObject(configuration)
    head = {"apiVersion": VIRTUAL_MACHINE.api_version, "kind": VIRTUAL_MACHINE.kind}
    headers = {"Content-Type": APPLY, "Authorization": await configuration.get_api_key_with_prefix("BearerToken")}

    async def apply(name: str) -> object:
        url = configuration.host + VIRTUAL_MACHINE.path(name, "default", "status") + "?fieldManager=bench&force=true"
        body = {**head, "metadata": {"name": name}, "status": STATUS}
        answer = await rest.request(  # type: ignore[no-untyped-call]  # upstream has no annotations
            "PATCH", url, headers=headers, body=body, _request_timeout=aiohttp.ClientTimeout(total=10)
        )
        return json.loads(await answer.read())

    try:
        await measured(apply)
    finally:
        await rest.close()


async def measured(call: Call) -> None:
    """Make the calls, and print what they cost, without the first ones, which connect."""

    async def make(lane: int, calls: int) -> None:
        for number in range(calls):
            await call(f"vm-{lane}-{number}")

    async def load_with(calls: int) -> None:
        await asyncio.gather(*(make(lane, calls // AT_A_TIME) for lane in range(AT_A_TIME)))

    await load_with(10 * AT_A_TIME)
    begun = time.process_time()
    await load_with(CALLS)
    print(1000 * (time.process_time() - begun) / CALLS)


def run_one(name: str, kubeconfig: Path) -> None:
    """One run, in this process."""
    client, loop = name.split(", ")
    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run if loop == "uvloop" else asyncio.run
    run(with_own(kubeconfig) if client == "own" else with_official(kubeconfig))


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 - a run's name and its kubeconfig
        run_one(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
