"""`berth-operator explain vm` as a process, beside the operator whose decisions it explains."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.api.apiserver import PROJECT
from tests.integration.operator.apiserver import RBAC
from tests.integration.operator.worlds import World, scheduled

from berth_api.client import NotFound
from berth_api.fields import SYSTEM_NAMESPACE
from berth_api.kinds import Kind
from berth_operator.installations import CONFIG_MAP, DEPLOYMENT

pytestmark = pytest.mark.integration
TOKEN = Kind("TokenRequest", "serviceaccounts/reader/token", namespaced=True, group="", version="v1")
PROGRAM = (sys.executable, "-m", "berth_operator")


@dataclass(frozen=True)
class Answer:
    """What the process said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def found(self) -> dict[str, Any]:
        return json.loads(self.out)  # type: ignore[no-any-return]


async def explain(world: World, name: str, *arguments: str, kubeconfig: Path | None = None) -> Answer:
    """Run the command; without a terminal, and with nothing in its environment but the path."""
    command = [*PROGRAM, "explain", "vm", name, "--kubeconfig", str(kubeconfig or world.server.kubeconfig)]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, *arguments],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


async def furnish(world: World) -> None:
    """Three nodes: one is too small, one is larger than the other."""
    await world.add_node("node-large", memory="8Gi", labels={"zone": "a"})
    await world.add_node("node-medium", memory="4Gi", labels={"zone": "b"})
    await world.add_node("node-small", memory="1Gi", labels={"zone": "c"})


def near(zone: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
    preferred = [{"weight": 10, "preference": term}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


async def test_the_operator_does_what_was_explained(world: World) -> None:
    await furnish(world)
    await world.create_vm("web", memory={"size": "2Gi"}, affinity=near("b"))
    before = await explain(world, "web", "-o", "json")
    assert (before.code, before.err) == (0, "")
    assert before.found["chosen"] == "node-medium"
    nodes = {node["name"]: node for node in before.found["nodes"]}
    assert [name for name, node in nodes.items() if node["feasible"]] == ["node-medium", "node-large"]
    assert nodes["node-small"]["filters"]["Memory"]["reason"] == "lacks memory"
    assert nodes["node-medium"]["scores"]["NodeAffinity"] == {"rate": 1.0, "weight": 2.0}

    async with world.operator():
        vm = await world.bound("web")
    assert vm["status"]["nodeName"] == "node-medium"
    for name in nodes:  # nobody else does, and a slow machine has been at it for a while
        await world.beat(name)
    after = await explain(world, "web", "-o", "json")
    assert (after.code, after.found["chosen"], after.found["boundTo"]) == (0, "node-medium", "node-medium")
    for node in after.found["nodes"]:
        assert (node["feasible"], node["total"]) == (nodes[node["name"]]["feasible"], nodes[node["name"]]["total"])


async def test_the_operator_says_what_was_explained(world: World) -> None:
    await furnish(world)
    await world.create_vm("huge", memory={"size": "100Gi"})
    await world.create_vm("lost", className="gone", cpu=None, memory=None)
    async with world.operator():
        huge = await world.reason("huge", "Unschedulable")
        lost = await world.reason("lost", "ClassNotFound")
        for vm in (huge, lost):
            told = await explain(world, vm["metadata"]["name"], "-o", "json")
            assert told.code == 1
            condition = scheduled(vm)
            assert (told.found["reason"], told.found["message"]) == (condition["reason"], condition["message"])


async def test_without_a_terminal_the_table_is_plain(world: World) -> None:
    await furnish(world)
    await world.create_vm("web", memory={"size": "2Gi"}, nodeSelector={"zone": "a"})
    told = await explain(world, "web", "-n", "default")
    assert told.code == 0
    assert "\x1b" not in told.out
    rows = [re.split(r" {2,}", line) for line in told.out.splitlines()]
    mark, cross = "\N{CHECK MARK}", "\N{BALLOT X} does not match nodeSelector or nodeAffinity"
    assert ["NODE", "Selected", "Memory"] in rows
    assert ["node-large *", mark, mark] in rows
    assert ["node-medium", cross, mark] in rows
    assert "1/3 nodes would take it: node-large has the highest score" in told.out.splitlines()


async def test_a_vm_that_is_not_there_is_an_error_of_one_line(world: World) -> None:
    told = await explain(world, "none")
    assert (told.code, told.out) == (2, "")
    assert told.err == "error: VirtualMachine default/none does not exist\n"


async def reader(world: World) -> Path:
    """A kubeconfig of somebody with just the rights that the page about scheduling names."""
    account = RBAC["ServiceAccount"]
    await world.api.apply(account, "reader", "default", {}, field_manager="test")
    page = (PROJECT / "docs" / "scheduling.md").read_text()
    text = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "kind: ClusterRole" in block)
    for role in yaml.safe_load_all(text):
        metadata, kind = role["metadata"], role["kind"]
        namespace = metadata.get("namespace", "")
        await world.api.apply(RBAC[kind], metadata["name"], namespace, role, field_manager="test")
        binding = {
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}],
        }
        await world.api.apply(RBAC[f"{kind}Binding"], metadata["name"], namespace, binding, field_manager="test")
    request = {"apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {}}
    answer = await world.api.create(TOKEN, request, "default")
    path = world.folder / "reader.kubeconfig"
    world.server.write_kubeconfig(path, answer["status"]["token"])
    return path


async def test_the_rights_that_the_page_names_are_enough_and_needed(world: World) -> None:
    await furnish(world)
    await world.create_vm("web")
    kubeconfig = await reader(world)
    assert (await explain(world, "web", kubeconfig=kubeconfig)).code == 0
    await world.api.delete(RBAC["Role"], "berth-explain", "berth-system")
    told = await explain(world, "web", kubeconfig=kubeconfig)
    assert told.code == 2
    assert 'cannot list resource "leases"' in told.err


@asynccontextmanager
async def deployed(world: World) -> AsyncIterator[None]:
    """An operator's Deployment, as the chart makes it, with profiles of its own."""
    labels = {"app.kubernetes.io/name": "berth", "app.kubernetes.io/component": "operator"}
    env = [{"name": "BERTH_OPERATOR_SCHEDULER_CONFIG", "value": "/etc/berth/scheduler.yaml"}]
    container = {"name": "operator", "image": "berth-operator", "env": env}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    await world.api.create(
        DEPLOYMENT, {"metadata": {"name": "berth-operator", "labels": labels}, "spec": spec}, SYSTEM_NAMESPACE
    )
    data = {"scheduler.yaml": "profiles: [{name: dense, scores: {MostAllocated: 1}}]"}
    try:
        await world.api.create(CONFIG_MAP, {"metadata": {"name": "berth-scheduler"}, "data": data}, SYSTEM_NAMESPACE)
        yield
    finally:
        await world.api.delete(DEPLOYMENT, "berth-operator", SYSTEM_NAMESPACE)
        with suppress(NotFound):
            await world.api.delete(CONFIG_MAP, "berth-scheduler", SYSTEM_NAMESPACE)


async def test_those_rights_are_enough_to_find_the_operator_and_its_profiles(world: World) -> None:
    await furnish(world)
    await world.create_vm("web", schedulerProfile="dense")
    kubeconfig = await reader(world)
    lost = await explain(world, "web", "-o", "json", kubeconfig=kubeconfig)
    assert lost.code == 1
    assert any("there is no Deployment berth-operator" in note for note in lost.found["notes"])
    async with deployed(world):
        told = await explain(world, "web", "-o", "json", kubeconfig=kubeconfig)
    assert told.code == 0, told
    assert not any("could not be read" in note or "is not known" in note for note in told.found["notes"])
