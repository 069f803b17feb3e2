"""Chains run forward on ADD and CHECK and backward on DEL, each plugin with what the specification gives it."""

from pathlib import Path
from typing import Any

import pytest
from tests.unit.network.samples import chain, entry, request

from berth_agent.network.chains import Json
from berth_agent.network.errors import PluginFailed
from berth_agent.network.plugins import Call
from berth_agent.network.runtimes import ChainRuntime
from berth_agent.network.sandboxes import Sandboxes


class RecordingPlugins:
    """Answers ADD with the plugin's own type as an address, and fails where told to."""

    def __init__(self, **failing: str) -> None:
        self.calls: list[Call] = []
        self._failing = failing

    async def run(self, call: Call) -> Json | None:
        self.calls.append(call)
        if self._failing.get(call.plugin) == call.command:
            raise PluginFailed(call.plugin, call.command, 100, "told to")
        return {"from": call.plugin} if call.command == "ADD" else None

    def seen(self) -> list[tuple[str, str, Any]]:
        return [(call.command, call.plugin, call.config.get("prevResult")) for call in self.calls]


def three(version: str = "1.0.0", **more: Any) -> Any:
    return request(chain=chain({"type": "a"}, {"type": "b"}, {"type": "c"}, version=version, **more))


def runtime(plugins: RecordingPlugins) -> ChainRuntime:
    return ChainRuntime(plugins, Sandboxes(Path("/run/netns")))


async def test_each_result_is_the_next_ones_previous() -> None:
    plugins = RecordingPlugins()
    assert await runtime(plugins).add(entry(request=three())) == {"from": "c"}
    assert plugins.seen() == [("ADD", "a", None), ("ADD", "b", {"from": "a"}), ("ADD", "c", {"from": "b"})]


async def test_add_stops_at_the_first_failure() -> None:
    plugins = RecordingPlugins(b="ADD")
    with pytest.raises(PluginFailed):
        await runtime(plugins).add(entry(request=three()))
    assert [call.plugin for call in plugins.calls] == ["a", "b"]


async def test_del_runs_backward_with_the_final_result() -> None:
    plugins = RecordingPlugins()
    await runtime(plugins).delete(entry(request=three(), result={"from": "c"}))
    assert plugins.seen() == [("DEL", name, {"from": "c"}) for name in "cba"]


async def test_del_before_0_4_and_after_a_failed_add_has_no_result() -> None:
    for before in (entry(request=three("0.3.1"), result={"from": "c"}), entry(request=three())):
        plugins = RecordingPlugins()
        await runtime(plugins).delete(before)
        assert plugins.seen() == [("DEL", name, None) for name in "cba"]


async def test_check_runs_forward_with_the_final_result() -> None:
    plugins = RecordingPlugins()
    await runtime(plugins).check(entry(request=three(), result={"from": "c"}))
    assert plugins.seen() == [("CHECK", name, {"from": "c"}) for name in "abc"]


@pytest.mark.parametrize("asked", [three("0.3.1"), three("1.1.0", disableCheck=True)])
async def test_check_is_not_sent_to_chains_that_do_not_want_it(asked: Any) -> None:
    plugins = RecordingPlugins()
    await runtime(plugins).check(entry(request=asked, result={}))
    assert plugins.calls == []


async def test_a_plugin_without_a_result_ends_add() -> None:
    class Silent(RecordingPlugins):
        async def run(self, call: Call) -> Json | None:
            self.calls.append(call)

    with pytest.raises(PluginFailed, match="without a result"):
        await runtime(Silent()).add(entry(request=three()))
