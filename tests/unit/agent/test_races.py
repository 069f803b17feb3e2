"""What happens between a look and a write: nothing that somebody else changed meanwhile is lost or overwritten."""

from random import Random
from typing import Any

import pytest
from tests.unit.agent.conftest import AgentWorld

from berth_agent.handlers.intake import Intake
from berth_agent.reconcile.rounds import Owner
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.workqueues import Backoff, WorkQueue


def changed(node: AgentWorld, **spec: Any) -> None:
    """The user changes the VM, and the watch has not told yet."""
    body = node.vm
    assert body is not None
    body["spec"].update(spec)
    body["metadata"]["generation"] += 1
    node.api.add(VIRTUAL_MACHINE, body)


def deleted(node: AgentWorld) -> None:
    """The user deletes the VM, and the watch has not told yet."""
    body = node.vm
    assert body is not None
    body["metadata"]["deletionTimestamp"] = node.now.isoformat()
    node.api.add(VIRTUAL_MACHINE, body)


def intake_of(node: AgentWorld) -> tuple[Intake, WorkQueue[Owner]]:
    vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
    return Intake(node.tools.view, node.reconciler, vms, WorkQueue(Backoff(), Random(1))), vms


@pytest.mark.parametrize("change", [deleted, lambda node: changed(node, paused=True)], ids=["delete", "pause"])
async def test_a_change_that_the_agents_own_write_brings_back_first_is_still_told_by_the_watch(
    node: AgentWorld, change: Any
) -> None:
    await node.load()
    change(node)
    await node.reconciler.reconcile(node.owner)
    assert node.api.writes, "the round wrote a status, and got the changed object back"
    intake, vms = intake_of(node)
    intake.take(VIRTUAL_MACHINE, "MODIFIED", node.vm or {})
    assert len(vms) == 1


async def test_an_answer_that_comes_after_the_object_is_gone_does_not_bring_it_back(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.crash(node.uid)
    body = node.vm or {}
    real = node.api.apply

    async def overtaken(*args: Any, **kwargs: Any) -> dict[str, Any]:
        answer = await real(*args, **kwargs)
        node.tools.view.forget(VIRTUAL_MACHINE, body)
        return answer

    node.api.apply = overtaken  # type: ignore[method-assign]  # the fake's, to come between
    await node.reconciler.reconcile(node.owner)
    assert node.tools.view.vm(node.uid) is None
