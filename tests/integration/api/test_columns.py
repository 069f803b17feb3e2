"""What kubectl shows."""

from typing import Any

import pytest
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import removed
from tests.integration.api.specimens import specimen

from berth_api import kinds
from berth_api.client import ApiClient, Invalid
from berth_api.kinds import Kind

pytestmark = pytest.mark.integration

SHORT_NAMES = {
    "vm": kinds.VIRTUAL_MACHINE,
    "vmclass": kinds.VIRTUAL_MACHINE_CLASS,
    "vmimage": kinds.VIRTUAL_MACHINE_IMAGE,
    "cvmimage": kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE,
    "vnet": kinds.VIRTUAL_NETWORK,
    "spool": kinds.STORAGE_POOL,
    "hv": kinds.HYPERVISOR,
}
CONDITION = {"status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
STATUS: dict[str, Any] = {
    "nodeName": "node-7",
    "phase": "Running",
    "claim": {"id": "1", "epoch": 0, "cpu": "2", "memory": "2300Mi", "storage": "10Gi"},
    "interfaces": [{"name": "default", "ipAddresses": ["10.1.1.5", "fd00::5"]}],
    "conditions": [{**CONDITION, "type": "Scheduled"}, {**CONDITION, "type": "Ready"}],
}


async def running_machine(api: ApiClient, name: str) -> None:
    kind = kinds.VIRTUAL_MACHINE
    await api.create(kind, specimen(kind, name), "default")
    await api.apply(kind, name, "default", {"status": STATUS}, field_manager="t", subresource="status")


async def test_a_vm_shows_where_it_is_and_how_it_is_reached(server: ApiServer, api: ApiClient) -> None:
    async with removed(api, kinds.VIRTUAL_MACHINE, "shown"):
        await running_machine(api, "shown")
        narrow = server.kubectl("get", "vm", "shown").splitlines()
        assert narrow[0].split() == ["NAME", "STATUS", "READY", "NODE", "IP", "AGE"]
        assert narrow[1].split()[:5] == ["shown", "Running", "True", "node-7", "10.1.1.5"]
        wide = server.kubectl("get", "vm", "shown", "-o", "wide").splitlines()
        assert wide[0].split() == ["NAME", "STATUS", "READY", "NODE", "IP", "CPU", "MEMORY", "AGE"]
        assert wide[1].split()[5:7] == ["2", "2300Mi"]


async def test_one_can_wait_for_a_vm_and_select_it(server: ApiServer, api: ApiClient) -> None:
    async with removed(api, kinds.VIRTUAL_MACHINE, "waited"):
        await running_machine(api, "waited")
        server.kubectl("wait", "--for=condition=Ready", "vm/waited", "--timeout=10s")
        for selector, count in (("status.nodeName=node-7", 1), ("status.phase=Running", 1), ("status.nodeName=x", 0)):
            found = server.kubectl("get", "vm", "--field-selector", selector, "-o", "name").split()
            assert len(found) == count


async def test_a_vm_without_status_has_empty_columns(server: ApiServer, api: ApiClient) -> None:
    async with removed(api, kinds.VIRTUAL_MACHINE, "fresh"):
        await api.create(kinds.VIRTUAL_MACHINE, specimen(kinds.VIRTUAL_MACHINE, "fresh"), "default")
        assert server.kubectl("get", "vm", "fresh", "--no-headers").split()[0] == "fresh"


@pytest.mark.parametrize(("short", "kind"), SHORT_NAMES.items())
async def test_each_kind_has_a_short_name_and_the_category(
    server: ApiServer, api: ApiClient, short: str, kind: Kind
) -> None:
    async with removed(api, kind, "named"):
        await api.create(kind, specimen(kind, "named"), "default" if kind.namespaced else "")
        assert server.kubectl("get", short, "named", "-o", "name").strip() == f"{kind.kind.lower()}.berth.dev/named"
        assert f"{kind.kind.lower()}.berth.dev/named" in server.kubectl("get", "berth", "-o", "name").split()


def test_explain_knows_what_the_fields_mean(server: ApiServer) -> None:
    told = server.kubectl("explain", "vm.spec.nodeName")
    assert "The user's pin, as in a Pod" in told


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"phase": "Sleeping"}, "Unsupported value"),
        ({"conditions": [{**CONDITION, "type": "Ready", "status": "Yes"}]}, '"True", "False", "Unknown"'),
        ({"conditions": [{**CONDITION, "type": "Ready", "reason": "no CamelCase"}]}, "reason in body should match"),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, "lastTransitionTime: Required value"),
        ({"claim": {"id": "1"}}, "claim.cpu: Required value"),
    ],
    ids=["phase", "condition status", "condition reason", "condition time", "half a claim"],
)
async def test_a_bad_status_is_refused(api: ApiClient, status: dict[str, Any], message: str) -> None:
    kind = kinds.VIRTUAL_MACHINE
    async with removed(api, kind, "bad"):
        await api.create(kind, specimen(kind, "bad"), "default")
        with pytest.raises(Invalid) as refusal:
            await api.apply(kind, "bad", "default", {"status": status}, field_manager="t", subresource="status")
        assert message in refusal.value.message
