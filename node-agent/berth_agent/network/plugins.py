"""Execute CNI plugins (SPEC 1.1, section 2): environment and stdin in, a result or an error out.

Plugins are strangers' programs: they hang, print no JSON, or ask to be tried again.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from berth_agent.network.chains import Json
from berth_agent.network.errors import CNI_TRY_AGAIN, PluginFailed, PluginNotFound, PluginTimedOut
from berth_agent.network.processes import run_process

Command = Literal["ADD", "DEL", "CHECK"]

CNI_ARGS = "IgnoreUnknown=1"
"""No K8S_POD_* keys: there is no Pod, and a plugin that got one's name would look it up."""

IFNAME = "eth0"


@dataclass(frozen=True, slots=True)
class Call:
    """One execution of one plugin."""

    plugin: str
    command: Command
    container_id: str
    netns: str
    config: Json


class PluginRunner(Protocol):
    """Runs plugins.

    Raises PluginNotFound, PluginFailed, PluginTimedOut.
    """

    async def run(self, call: Call) -> Json | None:
        """Run one plugin and return its result, if it printed any."""
        ...


class ExecutedPlugins:
    """Runs plugins as the executables they are.

    Args:
        directories: searched in order, and handed on as CNI_PATH.
        deadline: seconds for one execution.
        attempts: executions of a plugin that answers "try again later".
        sleep: awaited between attempts, with seconds.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        deadline: float,
        attempts: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._directories = tuple(directories)
        self._deadline = deadline
        self._attempts = attempts
        self._sleep = sleep

    def find(self, plugin: str) -> Path:
        """Return the executable of a plugin type; its name was validated with the chain."""
        for directory in self._directories:
            candidate = directory / plugin
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return candidate
        raise PluginNotFound(plugin, self._directories)

    async def run(self, call: Call) -> Json | None:
        """Run a plugin, and again with growing pauses while it answers code 11."""
        executable = self.find(call.plugin)
        for attempt in range(1, self._attempts):
            try:
                return await self._run_once(executable, call)
            except PluginFailed as error:
                if error.code != CNI_TRY_AGAIN:
                    raise
                await self._sleep(0.25 * 2**attempt)
        return await self._run_once(executable, call)

    async def _run_once(self, executable: Path, call: Call) -> Json | None:
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "CNI_COMMAND": call.command,
            "CNI_CONTAINERID": call.container_id,
            "CNI_NETNS": call.netns,
            "CNI_IFNAME": IFNAME,
            "CNI_ARGS": CNI_ARGS,
            "CNI_PATH": os.pathsep.join(map(str, self._directories)),
        }
        try:
            done = await run_process(
                [str(executable)], deadline=self._deadline, stdin=json.dumps(call.config).encode(), env=env
            )
        except TimeoutError as error:
            raise PluginTimedOut(call.plugin, call.command, self._deadline) from error
        except OSError as error:
            raise PluginFailed(call.plugin, call.command, 0, f"it could not be executed: {error}") from error
        if done.returncode:
            raise _decode_error(call, done.stdout, done.stderr)
        return _decode_result(call, done.stdout)


def _decode_error(call: Call, stdout: bytes, stderr: bytes) -> PluginFailed:
    try:
        document = json.loads(stdout)
        code, parts = int(document["code"]), (document["msg"], document.get("details"))
    except (ValueError, KeyError, TypeError):
        said = (stderr.strip() or stdout.strip()).decode(errors="replace")[:2000]
        return PluginFailed(call.plugin, call.command, 0, said or "it said nothing")
    return PluginFailed(call.plugin, call.command, code, "; ".join(str(part)[:2000] for part in parts if part))


def _decode_result(call: Call, stdout: bytes) -> Json | None:
    if not stdout.strip():
        return None
    try:
        result = json.loads(stdout)
    except ValueError as error:
        raise PluginFailed(call.plugin, call.command, 0, f"its result is no JSON: {error}") from error
    if not isinstance(result, dict):
        raise PluginFailed(call.plugin, call.command, 0, "its result is no JSON object")
    return result
