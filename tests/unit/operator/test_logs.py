"""Log lines: whoever looks for a VM finds every line about it by one field, whichever module wrote it."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.unit.operator.worlds import World

from berth_api import kinds, logs
from berth_api.client import Conflict, Invalid, Unavailable

pytestmark = pytest.mark.looptime


@contextmanager
def lines() -> Iterator[list[dict[str, Any]]]:
    """Lines that are logged meanwhile, as they are found once it is over."""
    stream, found = io.StringIO(), list[dict[str, Any]]()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    handler.setFormatter(logs.formatter("json", {"process": "test"}))
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        found.extend(json.loads(line) for line in stream.getvalue().splitlines())


async def test_every_line_about_a_vm_names_it_and_its_node_whatever_went_wrong() -> None:
    world = World()
    world.furnish()
    world.add_node("node-1")
    with lines() as found:
        async with world.leading():
            world.add_vm("web", priorityClassName="")
            for error in (Unavailable(503, "", "away"), Conflict(409, "", "changed"), Invalid(422, "", "no")):
                world.api.fail(error, verb="apply", kind=kinds.VIRTUAL_MACHINE)
            world.api.fail(Unavailable(503, "", "away"), verb="create", kind=kinds.EVENT, times=2)
            await world.settle(20)
            world.add_vm("db")
            claim = world.vm("web").status.claim
            assert claim is not None
            await world.agent("web", refusedClaim=claim.id)
            await world.settle(5)
            world.add_vm("huge", memory={"size": "64Gi"})
            world.api.fail(Unavailable(503, "", "away"), verb="apply", kind=kinds.VIRTUAL_MACHINE, name="huge")
            await world.settle(90)
    about = [line for line in found if "default/web" in line["event"] or "default/huge" in line["event"]]
    assert len({line["logger"] for line in about}) >= 3
    for line in about:
        name = "web" if "default/web" in line["event"] else "huge"
        assert line["vm"] == f"default/{name}", line
        assert line["uid"] == world.vm(name).metadata.uid, line
    said = {line["event"] for line in found}
    assert any(line.get("node") == "node-1" for line in about if "refused" in line["event"])
    assert all(line["node"] == "node-1" for line in found if line["event"].startswith("node node-1 is"))
    assert any(text.startswith("node node-1 is") for text in said)
    events = [line for line in found if line["event"].startswith("an event could not be sent")]
    assert {line["vm"] for line in events} == {"default/web"}


async def test_every_line_about_a_node_or_its_anchor_names_the_node() -> None:
    world = World(anchor=True, anchor_image="pause")
    world.furnish()
    with lines() as found:
        async with world.leading():
            for error in (Unavailable(503, "", "away"), Invalid(422, "", "limits")):
                world.api.fail(error, verb="create", kind=kinds.POD)
            world.api.fail(Unavailable(503, "", "away"), verb="apply", kind=kinds.NODE)
            world.add_node("node-1")
            await world.settle(30)
    about = [line for line in found if "node-1" in line["event"]]
    for text in ("pods/node-1: the API server", "nodes/node-1: the API server", "node node-1: made its anchor"):
        assert any(line["event"].startswith(text) for line in about), text
    assert all(line["node"] == "node-1" for line in about), about


async def test_one_vms_lines_do_not_carry_anothers_name() -> None:
    world = World()
    world.furnish()
    world.add_node("node-1")
    with lines() as found:
        async with world.leading():
            for number in range(10):
                world.add_vm(f"vm-{number}")
            world.api.fail(Unavailable(503, "", "away"), verb="apply", kind=kinds.VIRTUAL_MACHINE, times=10)
            await world.settle(10)
    named = [line for line in found if "default/vm-" in line["event"]]
    assert len(named) >= 10
    assert all(line["vm"] in line["event"] for line in named)
    unnamed = [line for line in found if line["event"].startswith("took over")]
    assert all("vm" not in line for line in unnamed)


async def test_lines_of_both_sorts_carry_what_belongs_to_all_of_them() -> None:
    with lines() as found:
        logs.tag(vm="default/web")
        logging.getLogger("library").warning("from a thread's library")
        await asyncio.to_thread(logging.getLogger("library").warning, "from another thread")
    assert [(line["vm"], line["process"]) for line in found] == [("default/web", "test")] * 2
