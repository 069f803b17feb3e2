"""The command line: what runs the operator, and what `explain vm` makes of its arguments."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import click.testing
import pytest
from aiohttp import web
from tests.fakes.api import FakeApi
from tests.unit.api.servers import kubeconfig_text
from typer.testing import CliRunner

from berth_api import kinds
from berth_api.client import ApiError, Forbidden
from berth_api.kinds import Kind
from berth_operator.cli import new_app
from berth_operator.cluster import Cluster
from berth_operator.installations import CONFIG_MAP, DEPLOYMENT
from berth_operator.kubeconfigs import locate, namespace_of

KINDS = [*(each.kind for each in Cluster("berth-system").collections), DEPLOYMENT]


@dataclass
class Bench:
    """An API server on loopback, and the program's command line."""

    kubeconfig: Path
    api: FakeApi = field(default_factory=FakeApi)
    operated: int = 0
    place: str = "berth-system"
    """Berth's namespace."""

    def operate(self) -> None:
        self.operated += 1

    async def run(self, *arguments: str, **environment: str) -> click.testing.Result:
        """Run a command as if it were a process."""
        return await asyncio.to_thread(
            CliRunner().invoke, new_app(self.operate), arguments, env={"COLUMNS": "200", **environment}
        )

    async def explain(self, *arguments: str, **environment: str) -> click.testing.Result:
        return await self.run("explain", "vm", "web", "--kubeconfig", str(self.kubeconfig), *arguments, **environment)

    async def answer(self, request: web.Request) -> web.Response:
        try:
            if request.path == CONFIG_MAP.path("berth-scheduler", self.place):
                return web.json_response(await self.api.get(CONFIG_MAP, "berth-scheduler", self.place))
            kind, namespace = asked(request.path, self.place)
            field, label = (request.query.get(f"{each}Selector", "") for each in ("field", "label"))
            listed = await self.api.list(kind, namespace, field_selector=field, label_selector=label)
        except ApiError as error:
            return web.json_response({"message": error.message, "reason": error.reason}, status=error.status)
        return web.json_response({"metadata": {"resourceVersion": listed.resource_version}, "items": [*listed.items]})

    def node(self, name: str, memory: str = "8Gi") -> None:
        renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease = {"metadata": {"name": name, "namespace": self.place}, "spec": {"renewTime": renewed}}
        self.api.add(kinds.LEASE, lease)
        status = {"capacity": {"cpu": "4", "memory": memory}, "accelerator": "tcg"}
        self.api.add(kinds.HYPERVISOR, {"metadata": {"name": name}, "spec": {}, "status": status})

    def deploy(self, **environment: str) -> None:
        """An operator as the chart makes it, told this."""
        labels = {"app.kubernetes.io/name": "berth", "app.kubernetes.io/component": "operator"}
        env = [{"name": name, "value": value} for name, value in environment.items()]
        spec = {"template": {"spec": {"containers": [{"name": "operator", "env": env}]}}}
        metadata = {"name": "berth-operator", "namespace": self.place, "labels": labels}
        self.api.add(DEPLOYMENT, {"metadata": metadata, "spec": spec})

    def vm(self, namespace: str = "default") -> None:
        spec = {"cpu": {"cores": 1}, "memory": {"size": "2Gi"}, "networks": [], "disks": []}
        self.api.add(kinds.VIRTUAL_MACHINE, {"metadata": {"name": "web", "namespace": namespace}, "spec": spec})


def asked(path: str, place: str) -> tuple[Kind, str]:
    for kind in KINDS:
        for namespace in ("", place):
            if path == kind.path(namespace=namespace):
                return kind, namespace
    raise web.HTTPNotFound


@asynccontextmanager
async def serving(bench: Bench) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/{path:.*}", bench.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        bench.kubeconfig.write_text(kubeconfig_text(site.name, "token"))
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    one = Bench(tmp_path / "kubeconfig")
    async with serving(one):
        yield one


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


async def test_alone_it_runs_the_operator(bench: Bench) -> None:
    result = await bench.run()
    assert (result.exit_code, bench.operated) == (0, 1)


async def test_a_command_does_not_run_the_operator(bench: Bench) -> None:
    for arguments in (("explain", "vm", "--help"), ("--help",), ("explain",), ("nonsense",)):
        await bench.run(*arguments)
    assert bench.operated == 0


async def test_what_ends_the_operator_ends_the_program(bench: Bench) -> None:
    def refuse() -> None:
        raise SystemExit("cannot start: no credentials")

    result = await asyncio.to_thread(CliRunner().invoke, new_app(refuse), [])
    assert result.exit_code == 1


async def test_a_vm_that_fits_ends_with_0_and_tells_its_node(bench: Bench) -> None:
    bench.node("node-1")
    bench.node("node-2", "1Gi")
    bench.vm()
    result = await bench.explain()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "1/2 nodes would take it: node-1 has the highest score" in result.stdout


async def test_a_vm_that_fits_nowhere_ends_with_1_and_says_why(bench: Bench) -> None:
    bench.node("node-2", "1Gi")
    bench.vm()
    result = await bench.explain()
    assert result.exit_code == 1
    assert "Unschedulable: 0/1 nodes: 1 lacks memory (closest: node-2, short of " in result.stdout


async def test_json_is_an_object_and_nothing_else(bench: Bench) -> None:
    bench.node("node-1")
    bench.vm()
    result = await bench.explain("-o", "json")
    assert json.loads(result.stdout)["chosen"] == "node-1"


async def test_nodes_are_narrowed_by_name_and_by_failure(bench: Bench) -> None:
    for name in ("rack1-a", "rack1-b", "rack2-a"):
        bench.node(name, "8Gi" if name.endswith("a") else "1Gi")
    bench.vm()

    async def shown(*arguments: str) -> list[str]:
        found = json.loads((await bench.explain("-o", "json", *arguments)).stdout)
        return [node["name"] for node in found["nodes"]]

    assert await shown() == ["rack1-a", "rack2-a", "rack1-b"]
    assert await shown("--nodes", "rack1-*") == ["rack1-a", "rack1-b"]
    assert await shown("--nodes", "rack1-b,rack2-a") == ["rack2-a", "rack1-b"]
    assert await shown("--nodes", "rack1-b", "--nodes", "rack1-a") == ["rack1-a", "rack1-b"]
    assert await shown("--failed") == ["rack1-b"]
    nothing = await bench.explain("--nodes", "rack3-*")
    assert nothing.stderr == "no node matches --nodes and --failed: none is shown\n"
    assert nothing.exit_code == 0


def crowd(bench: Bench) -> None:
    """A VM that fits a node only as long as what its Pods request may be overcommitted: where it has no anchor."""
    bench.node("node-1")
    node = bench.api.peek(kinds.HYPERVISOR, "node-1") or {}
    bench.api.remove(kinds.HYPERVISOR, "node-1")
    told = {"podRequests": {"cpu": "3", "memory": "1Gi"}}
    bench.api.add(kinds.HYPERVISOR, node | {"spec": {"overcommit": {"cpu": 2}}, "status": node["status"] | told})
    has = {"cpu": "4", "memory": "8Gi"}
    bench.api.add(kinds.NODE, {"metadata": {"name": "node-1"}, "status": {"allocatable": has}})
    spec = {"cpu": {"cores": 3}, "memory": {"size": "2Gi"}, "networks": [], "disks": []}
    bench.api.add(kinds.VIRTUAL_MACHINE, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})


async def test_it_counts_as_the_leader_does_where_nodes_have_anchors_and_lists_no_pod(bench: Bench) -> None:
    crowd(bench)
    without = await bench.explain()
    assert without.exit_code == 0
    assert "--anchor" in without.stdout
    result = await bench.explain("--anchor")
    assert result.exit_code == 1
    assert "1 lacks cpu" in result.stdout.lower()
    environment = {"BERTH_OPERATOR_ANCHOR": "true", "BERTH_OPERATOR_ANCHOR_IMAGE": "pause"}
    assert (await bench.explain(**environment)).exit_code == 1
    assert (await bench.explain("--no-anchor", **environment)).exit_code == 0


async def test_away_from_the_operator_its_namespace_and_rules_are_its_deployments(bench: Bench) -> None:
    bench.place = "elsewhere"
    bench.deploy(BERTH_OPERATOR_ANCHOR="true", BERTH_OPERATOR_ANCHOR_IMAGE="pause", BERTH_OPERATOR_NEW="unknown here")
    crowd(bench)
    result = await bench.explain()
    assert result.exit_code == 1
    assert "1 lacks cpu" in result.stdout.lower()
    assert "is not known" not in result.stdout
    assert (await bench.explain("--no-anchor")).exit_code == 0
    assert (await bench.explain("--berth-namespace", "elsewhere")).exit_code == 1


async def test_what_is_given_wins_over_the_environment_and_that_over_the_deployment(bench: Bench) -> None:
    bench.deploy(BERTH_OPERATOR_HEARTBEAT_TIMEOUT="0.000001")
    bench.node("node-1")
    bench.vm()
    assert (await bench.explain()).exit_code == 1
    assert (await bench.explain(BERTH_OPERATOR_HEARTBEAT_TIMEOUT="40")).exit_code == 0
    elsewhere = await bench.explain(BERTH_OPERATOR_NAMESPACE="berth-system")
    assert elsewhere.exit_code == 0, "in the operator's own Pod nobody else is asked"


async def test_profiles_are_those_of_the_installation(bench: Bench, tmp_path: Path) -> None:
    bench.deploy(BERTH_OPERATOR_SCHEDULER_CONFIG="/etc/berth/scheduler.yaml")
    bench.node("node-1")
    bench.vm()
    body = bench.api.peek(kinds.VIRTUAL_MACHINE, "web", "default") or {}
    bench.api.remove(kinds.VIRTUAL_MACHINE, "web", "default")
    bench.api.add(kinds.VIRTUAL_MACHINE, body | {"spec": body["spec"] | {"schedulerProfile": "dense"}})
    unknown = await bench.explain()
    assert unknown.exit_code == 1
    assert "ConfigMap berth-system/berth-scheduler could not be read" in unknown.stdout
    metadata = {"name": "berth-scheduler", "namespace": "berth-system"}
    text = "profiles: [{name: dense, scores: {MostAllocated: 1}}]"
    bench.api.add(CONFIG_MAP, {"metadata": metadata, "data": {"scheduler.yaml": text}})
    assert (await bench.explain()).exit_code == 0
    path = tmp_path / "scheduler.yaml"
    path.write_text("profiles: []")
    assert (await bench.explain("--scheduler-config", str(path))).exit_code == 1


async def test_two_installations_are_told_apart_by_whoever_asks(bench: Bench) -> None:
    for place in ("one", "two"):
        bench.place = place
        bench.deploy()
    result = await bench.explain()
    assert result.exit_code == 2
    assert result.stderr == (
        "error: there is a Deployment berth-operator in one, two: say which with --berth-namespace\n"
    )
    bench.node("node-1")
    bench.vm()
    assert (await bench.explain("--berth-namespace", "two")).exit_code == 0


async def test_who_may_not_look_for_the_operator_is_told_what_was_taken_for_granted(bench: Bench) -> None:
    bench.node("node-1")
    bench.vm()
    bench.api.fail(Forbidden(403, "Forbidden", 'User "eve" cannot list deployments'), kind=DEPLOYMENT, times=2)
    result = await bench.explain()
    assert result.exit_code == 0
    assert "taken to be in berth-system" in result.stdout
    assert "--berth-namespace" in result.stdout


async def test_the_namespace_is_the_one_given_else_that_of_the_kubeconfig(bench: Bench) -> None:
    bench.node("node-1")
    bench.vm("shop")
    assert (await bench.explain()).exit_code == 2
    assert (await bench.explain("-n", "shop")).exit_code == 0
    content = json.loads(bench.kubeconfig.read_text())
    content["contexts"][0]["context"]["namespace"] = "shop"
    bench.kubeconfig.write_text(json.dumps(content))
    assert (await bench.explain()).exit_code == 0


async def test_a_vm_that_is_not_there_ends_with_2(bench: Bench) -> None:
    result = await bench.explain()
    assert result.exit_code == 2
    assert (result.stdout, result.stderr) == ("", "error: VirtualMachine default/web does not exist\n")


async def test_a_right_that_is_missing_ends_with_2_and_is_named(bench: Bench) -> None:
    bench.api.fail(Forbidden(403, "Forbidden", 'User "eve" cannot list hypervisors'), kind=kinds.HYPERVISOR)
    result = await bench.explain()
    assert result.exit_code == 2
    assert 'User "eve" cannot list hypervisors' in result.stderr
    assert "needs the right to list" in result.stderr


async def test_what_an_error_says_cannot_steer_the_terminal(bench: Bench) -> None:
    bench.api.fail(Forbidden(403, "Forbidden", "\x1b]0;owned\x07"), kind=kinds.HYPERVISOR)
    assert r"\x1b]0;owned\x07" in (await bench.explain()).stderr


async def test_a_kubeconfig_that_is_not_there_ends_with_2(bench: Bench, tmp_path: Path) -> None:
    result = await bench.run("explain", "vm", "web", "--kubeconfig", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert f"kubeconfig {tmp_path / 'none'} does not exist" in result.stderr


async def test_settings_that_are_not_valid_end_with_2(bench: Bench) -> None:
    result = await bench.explain(BERTH_OPERATOR_HEARTBEAT_TIMEOUT="-1")
    assert result.exit_code == 2
    assert "heartbeat_timeout" in result.stderr


async def test_a_scheduler_configuration_that_is_not_valid_ends_with_2(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "scheduler.yaml"
    path.write_text("profiles: [{name: pack, scores: {Foo: 1}}]")
    for result in (
        await bench.explain("--scheduler-config", str(path)),
        await bench.explain(BERTH_OPERATOR_SCHEDULER_CONFIG=str(path)),
    ):
        assert result.exit_code == 2
        assert "profile pack: there is no score Foo" in result.stderr


def test_a_kubeconfig_is_found_as_kubectl_finds_it(tmp_path: Path) -> None:
    assert locate(None, {}, tmp_path) is None
    usual = tmp_path / ".kube" / "config"
    usual.parent.mkdir()
    usual.touch()
    assert locate(None, {}, tmp_path) == usual
    assert locate(None, {"KUBECONFIG": ""}, tmp_path) == usual
    assert locate(None, {"KUBECONFIG": ":/a:/b"}, tmp_path) == Path("/a")
    assert locate(Path("/c"), {"KUBECONFIG": "/a"}, tmp_path) == Path("/c")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "current-context: x", "{current-context: x, contexts: [{name: x}]}"]
)
def test_a_kubeconfig_that_names_no_namespace_means_the_default_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    assert namespace_of(path) == "default"
    assert namespace_of(tmp_path / "none") == "default"
    assert namespace_of(None) == "default"
