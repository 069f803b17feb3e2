"""The objects of hollow nodes: made, taken over, never mistaken for somebody else's, and gone in the end."""

import pytest
from tests.fakes.api import FakeApi

from berth_api.client import Forbidden, Unavailable
from berth_api.fields import AGENT
from berth_api.kinds import HYPERVISOR, LEASE, NODE, Kind
from berth_dev.errors import DevError
from berth_dev.hollow.objects import LABEL
from berth_dev.hollow.options import HollowOptions, Shape, Taint
from berth_dev.hollow.registration import Registration

pytestmark = pytest.mark.looptime
KINDS = ((NODE, ""), (HYPERVISOR, ""), (LEASE, "berth-system"))
GPU = Taint("gpu", "yes", "NoSchedule")
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class Tainting(FakeApi):
    """Taints new Nodes, as the API server's admission does until their kubelet is ready."""

    def _insert(self, kind: Kind, key: tuple[str, str, str], body: dict[str, object]) -> dict[str, object]:
        if kind is NODE:
            spec = body["spec"]
            assert isinstance(spec, dict)
            spec["taints"] = [*spec["taints"], NOT_READY]
        return super()._insert(kind, key, body)


async def names(api: FakeApi) -> list[list[str]]:
    return [[body["metadata"]["name"] for body in (await api.list(kind, where)).items] for kind, where in KINDS]


async def test_each_node_gets_all_its_objects() -> None:
    api, options = Tainting(), HollowOptions(count=5, zones=2, labels={"rack": "r1"}, taints=(GPU,))
    versions = await Registration(api, options).register()
    assert await names(api) == [list(options.names)] * 3
    node = api.peek(NODE, "hollow-0002")
    hypervisor = api.peek(HYPERVISOR, "hollow-0002")
    lease = api.peek(LEASE, "hollow-0002", "berth-system")
    assert node is not None
    assert hypervisor is not None
    assert lease is not None
    assert (
        node["metadata"]["labels"].items()
        >= {
            "kubernetes.io/hostname": "hollow-0002",
            "topology.kubernetes.io/zone": "zone-2",
            "rack": "r1",
            LABEL: "true",
        }.items()
    )
    assert node["spec"]["taints"] == [GPU.to_api()]
    assert node["status"]["conditions"][0]["type"] == "Ready"
    assert hypervisor["spec"] == {}
    assert hypervisor["status"]["capacity"] == {"cpu": "32", "memory": "128Gi"}
    assert hypervisor["status"]["storagePools"][0]["name"] == "default"
    assert api.managers(HYPERVISOR, "hollow-0002") == {AGENT}
    assert lease["spec"]["leaseDurationSeconds"] == 40
    assert versions["hollow-0002"] == lease["metadata"]["resourceVersion"]


async def test_what_an_earlier_run_left_is_taken_over() -> None:
    api = FakeApi()
    await Registration(api, HollowOptions(count=2)).register()
    first = api.peek(NODE, "hollow-0001")
    assert first is not None
    larger = HollowOptions(count=3, labels={"rack": "r2"}, shape=Shape(cpu="64"))
    await Registration(api, larger).register()
    node, hypervisor = api.peek(NODE, "hollow-0001"), api.peek(HYPERVISOR, "hollow-0001")
    assert node is not None
    assert hypervisor is not None
    assert node["metadata"]["uid"] == first["metadata"]["uid"]
    assert node["metadata"]["labels"]["rack"] == "r2"
    assert hypervisor["status"]["capacity"]["cpu"] == "64"
    assert await names(api) == [list(larger.names)] * 3


async def test_a_stranger_of_the_same_name_is_left_alone() -> None:
    api = FakeApi()
    api.add(NODE, {"metadata": {"name": "hollow-0002"}, "spec": {}})
    with pytest.raises(DevError, match="Node hollow-0002 that is no hollow node's: choose another prefix"):
        await Registration(api, HollowOptions(count=2)).register()
    await Registration(api, HollowOptions(count=2)).remove()
    assert api.writes == []


async def test_removal_finds_what_an_earlier_larger_run_left_and_nothing_else() -> None:
    api = FakeApi()
    await Registration(api, HollowOptions(count=4)).register()
    await Registration(api, HollowOptions(count=1, prefix="other")).register()
    api.add(NODE, {"metadata": {"name": "hollow-0009"}, "spec": {}})
    small = Registration(api, HollowOptions(count=2))
    await small.remove()
    assert await names(api) == [["hollow-0009", "other-0001"], ["other-0001"], ["other-0001"]]
    before = len(api.writes)
    await small.remove()
    assert len(api.writes) == before


async def test_an_api_server_that_is_away_is_waited_for() -> None:
    api = FakeApi()
    api.fail(Unavailable(503, "", "busy"), verb="create", times=3)
    api.fail(Unavailable(503, "", "busy"), verb="apply", after=True)
    await Registration(api, HollowOptions(count=2)).register()
    assert len((await names(api))[1]) == 2


async def test_an_api_server_that_refuses_is_not() -> None:
    api = FakeApi()
    api.fail(Forbidden(403, "Forbidden", "you may not"), kind=HYPERVISOR, verb="create")
    with pytest.raises(DevError, match="you may not"):
        await Registration(api, HollowOptions(count=8, workers=3)).register()


async def test_it_is_not_waited_for_without_end() -> None:
    api = FakeApi()
    api.fail(Unavailable(503, "", "down"), times=10_000)
    with pytest.raises(DevError, match="down"):
        await Registration(api, HollowOptions(count=1)).remove()
