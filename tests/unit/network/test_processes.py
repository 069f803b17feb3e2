"""Child processes end, with all that they started, at their deadline or ours."""

import asyncio
import json
from pathlib import Path

import pytest

from berth_agent.network.errors import PluginFailed, PluginNotFound
from berth_agent.network.plugins import Call, ExecutedPlugins
from berth_agent.network.processes import run_process
from berth_agent.network.shields import uninterrupted

CALL = Call(plugin="p", command="ADD", container_id="c", netns="/run/netns/x", config={"name": "n"})


def plugin(folder: Path, script: str) -> None:
    path = folder / "p"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def executed(*folders: Path, attempts: int = 3, slept: list[float] | None = None) -> ExecutedPlugins:
    async def sleep(seconds: float) -> None:
        if slept is not None:
            slept.append(seconds)

    return ExecutedPlugins(folders, deadline=10, attempts=attempts, sleep=sleep)


def is_running(beacon: Path) -> bool:
    stat = Path("/proc", beacon.read_text().strip(), "stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"


async def test_a_deadline_kills_the_grandchildren_too(tmp_path: Path) -> None:
    beacon = tmp_path / "pid"
    with pytest.raises(TimeoutError):
        await run_process(["sh", "-c", f"sleep 1000 & echo $! > {beacon}; wait"], deadline=0.3)
    async with asyncio.timeout(5):
        while is_running(beacon):  # noqa: ASYNC110 - a process that is not ours tells nobody of its end
            await asyncio.sleep(0.01)


async def test_input_and_output_pass_through() -> None:
    done = await run_process(["sh", "-c", "cat; echo problem >&2; exit 3"], deadline=5, stdin=b"hello")
    assert (done.returncode, done.stdout, done.message) == (3, b"hello", "problem")


async def test_the_first_directory_that_has_the_plugin_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
        plugin(folder, f"echo '{json.dumps({'dir': folder.name})}'")
    assert await executed(tmp_path, first, second).run(CALL) == {"dir": "1"}


async def test_a_file_that_may_not_be_executed_is_no_plugin(tmp_path: Path) -> None:
    plugin(tmp_path, "true")
    (tmp_path / "p").chmod(0o644)
    with pytest.raises(PluginNotFound, match=str(tmp_path)):
        await executed(tmp_path).run(CALL)


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ('echo \'{"code": 100, "msg": "m", "details": "d"}\'; exit 1', 100, "m; d"),
        ("echo why >&2; exit 1", 0, "why"),
        ("echo nothing useful; exit 1", 0, "nothing useful"),
        ("exit 1", 0, "it said nothing"),
        ("echo '[]'", 0, "no JSON object"),
        ("echo '{'", 0, "no JSON"),
        ("kill -9 $$", 0, "it said nothing"),
    ],
)
async def test_whatever_a_plugin_says_becomes_an_error(tmp_path: Path, script: str, code: int, said: str) -> None:
    plugin(tmp_path, script)
    with pytest.raises(PluginFailed, match=said) as caught:
        await executed(tmp_path).run(CALL)
    assert caught.value.code == code


async def test_try_again_is_tried_again_with_growing_pauses_and_then_given_up(tmp_path: Path) -> None:
    plugin(tmp_path, f'echo x >> {tmp_path}/count; echo \'{{"code": 11, "msg": "busy"}}\'; exit 1')
    slept: list[float] = []
    with pytest.raises(PluginFailed) as caught:
        await executed(tmp_path, attempts=4, slept=slept).run(CALL)
    assert caught.value.retryable
    assert len((tmp_path / "count").read_text()) // 2 == 4
    assert slept == sorted(slept)
    assert len(slept) == 3


async def test_other_errors_are_not_tried_again(tmp_path: Path) -> None:
    plugin(tmp_path, f"echo x >> {tmp_path}/count; exit 1")
    with pytest.raises(PluginFailed):
        await executed(tmp_path).run(CALL)
    assert (tmp_path / "count").read_text() == "x\n"


async def test_a_script_for_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("#!/not/there\n")
    (tmp_path / "p").chmod(0o755)
    with pytest.raises(PluginFailed, match="could not be executed"):
        await executed(tmp_path).run(CALL)


async def test_plugins_see_only_the_environment_that_is_theirs(tmp_path: Path) -> None:
    plugin(tmp_path, f"env > {tmp_path}/env; echo '{{}}'")
    await executed(tmp_path).run(CALL)
    names = {line.split("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert {name for name in names if not name.startswith("CNI_")} <= {"PATH", "PWD", "SHLVL", "_", "OLDPWD"}


async def test_clean_up_runs_to_its_end_before_the_cancellation_goes_on() -> None:
    entered, release, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def clean_up() -> None:
        entered.set()
        await release.wait()
        ended.set()

    task = asyncio.create_task(uninterrupted(clean_up()))
    await entered.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_an_error_of_the_clean_up_is_raised() -> None:
    async def clean_up() -> None:
        raise PluginNotFound("p", [])

    with pytest.raises(PluginNotFound):
        await uninterrupted(clean_up())
