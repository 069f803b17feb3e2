"""What the operator and users may do."""

import pytest
from tests.integration.api.apiserver import ApiServer

from berth_api.client import ApiClient
from berth_api.kinds import Kind

pytestmark = pytest.mark.integration

REVIEW = Kind(
    "SubjectAccessReview", "subjectaccessreviews", namespaced=False, group="authorization.k8s.io", version="v1"
)
OPERATOR = "system:serviceaccount:berth-system:berth-operator"
OPERATOR_MAY = (
    "list virtualmachines.berth.dev",
    "watch hypervisors.berth.dev",
    "patch virtualmachines.berth.dev",
    "patch virtualmachines.berth.dev/status",
    "patch virtualnetworks.berth.dev/status",
    "patch storagepools.berth.dev/status",
    "patch virtualmachineimages.berth.dev/status",
    "patch clustervirtualmachineimages.berth.dev/status",
    "get secrets",
    "patch nodes",
    "watch nodes",
    "list namespaces",
    "watch namespaces",
    "list priorityclasses.scheduling.k8s.io",
    "watch priorityclasses.scheduling.k8s.io",
    "watch leases.coordination.k8s.io",
    "create leases.coordination.k8s.io in berth-system",
    "update leases.coordination.k8s.io in berth-system named berth-operator",
    "create events.events.k8s.io",
    "get network-attachment-definitions.k8s.cni.cncf.io",
    "watch customresourcedefinitions.apiextensions.k8s.io",
)
OPERATOR_MAY_NOT = (
    "list secrets",
    "update virtualmachines.berth.dev",
    "delete virtualmachines.berth.dev",
    "create virtualmachines.berth.dev",
    "patch hypervisors.berth.dev",
    "patch virtualmachineclasses.berth.dev",
    "create leases.coordination.k8s.io in default",
    "update leases.coordination.k8s.io in berth-system named node-1",
    "delete nodes",
    "create pods",
    "list pods",
    "patch namespaces",
    "create priorityclasses.scheduling.k8s.io",
    "impersonate users",
)


async def may(api: ApiClient, who: str, what: str, *groups: str) -> bool:
    """Whether the API server would let `who` do `verb resource[.group][/subresource] [in NAMESPACE] [named NAME]`."""
    verb, resource, *rest = what.split()
    resource, _, subresource = resource.partition("/")
    plural, _, group = resource.partition(".")
    place = dict(zip(rest[::2], rest[1::2], strict=True))
    attributes = {
        "verb": verb,
        "resource": plural,
        "group": group,
        "subresource": subresource,
        "namespace": place.get("in", ""),
        "name": place.get("named", ""),
    }
    review = {"metadata": {}, "spec": {"user": who, "groups": [*groups], "resourceAttributes": attributes}}
    return bool((await api.create(REVIEW, review))["status"]["allowed"])


@pytest.mark.parametrize("what", OPERATOR_MAY)
async def test_the_operator_may(api: ApiClient, what: str) -> None:
    assert await may(api, OPERATOR, what)


@pytest.mark.parametrize("what", OPERATOR_MAY_NOT)
async def test_the_operator_may_not(api: ApiClient, what: str) -> None:
    assert not await may(api, OPERATOR, what)


def test_users_get_their_rights_by_aggregation(server: ApiServer) -> None:
    labels = {
        role: server.kubectl("get", "clusterrole", role, "-o", "jsonpath={.metadata.labels}")
        for role in ("berth-view", "berth-edit")
    }
    assert "aggregate-to-view" in labels["berth-view"]
    assert "aggregate-to-view" not in labels["berth-edit"]
    assert "aggregate-to-edit" in labels["berth-edit"]


async def test_an_editor_writes_vms_and_no_status(server: ApiServer, api: ApiClient) -> None:
    server.kubectl("create", "rolebinding", "editors", "--clusterrole=berth-edit", "--user=ada", "-n", "default")
    assert await may(api, "ada", "create virtualmachines.berth.dev in default")
    assert not await may(api, "ada", "create virtualmachines.berth.dev in kube-system")
    assert not await may(api, "ada", "patch virtualmachines.berth.dev/status in default")
    assert not await may(api, "ada", "create virtualnetworks.berth.dev")
    assert await may(api, "ada", "list virtualmachineclasses.berth.dev", "system:authenticated")
