"""Run a whole chain, as libcni does (SPEC 1.1, section 3): ADD and CHECK forward, DEL in reverse."""

from __future__ import annotations

from berth_agent.network.cache import CacheEntry
from berth_agent.network.chains import Json, plugin_config
from berth_agent.network.errors import PluginFailed
from berth_agent.network.plugins import Call, Command, PluginRunner
from berth_agent.network.sandboxes import Sandboxes


class ChainRuntime:
    """Runs the chain of a cache entry: what is in the entry is what ran, whatever the network says today."""

    def __init__(self, plugins: PluginRunner, sandboxes: Sandboxes) -> None:
        self._plugins = plugins
        self._sandboxes = sandboxes

    async def add(self, entry: CacheEntry) -> Json:
        """Run ADD of each plugin on the result of the one before, and return the last one's.

        Raises:
            PluginNotFound, PluginFailed, PluginTimedOut: DEL has to be run.
        """
        result: Json | None = None
        for plugin in entry.request.chain.plugins:
            result = await self._plugins.run(self._call(entry, "ADD", plugin, result))
            if result is None:
                raise PluginFailed(plugin["type"], "ADD", 0, "it ended well without a result")
        return result or {}

    async def check(self, entry: CacheEntry) -> None:
        """Run CHECK of each plugin, where the chain has it.

        Raises:
            PluginNotFound, PluginFailed, PluginTimedOut: the network is not as ADD left it.
        """
        if entry.request.chain.has_check:
            for plugin in entry.request.chain.plugins:
                await self._plugins.run(self._call(entry, "CHECK", plugin, entry.result))

    async def delete(self, entry: CacheEntry) -> None:
        """Run DEL of each plugin, last one first. Repeats are harmless, as the specification demands of plugins.

        Raises:
            PluginNotFound, PluginFailed, PluginTimedOut: it has to be repeated.
        """
        result = entry.result if entry.request.chain.del_takes_result else None
        for plugin in reversed(entry.request.chain.plugins):
            await self._plugins.run(self._call(entry, "DEL", plugin, result))

    def _call(self, entry: CacheEntry, command: Command, plugin: Json, result: Json | None) -> Call:
        return Call(
            plugin=plugin["type"],
            command=command,
            container_id=entry.container_id,
            netns=str(self._sandboxes.path(entry.sandbox)),
            config=plugin_config(entry.request.chain, plugin, entry.capability_args, result),
        )
