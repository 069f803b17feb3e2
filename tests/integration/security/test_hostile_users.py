"""Whatever a user puts into a manifest is refused, or makes a guest and nothing else."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.api import FakeApi
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import on_newest
from tests.integration.api.specimens import REMOVED, specimen, spoiled
from tests.integration.security.calls import APPLY, Answer, Request, merge, patch, send
from tests.integration.security.conftest import Fingerprint
from tests.integration.security.manifests import HARMLESS, MACHINES, Harmless, Refused
from tests.integration.security.manifests_of_images import FORBIDDEN_ADDRESSES, IMAGES
from tests.integration.security.renderings import rendering
from tests.integration.security.roles import TENANT, TENANT_VMS, USER_ATTEMPTS
from tests.integration.security.rules import GROUP, Attempt

from berth_agent.settings import AgentSettings
from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.errors import DestinationForbidden, FileOutsideDirectory, ImageNotFound
from berth_agent.storage.files import components, open_beneath
from berth_api import kinds
from berth_api.allocatable import Amounts
from berth_api.hardware import CPU, Memory
from berth_api.virtualmachines import VirtualMachine
from berth_operator.controllers.references import Unbindable
from berth_operator.controllers.secrets import read_user_data
from berth_operator.scheduling.nodes import NodeFacts
from berth_operator.scheduling.place import Rejection, place
from berth_operator.scheduling.requests import request_of
from berth_operator.scheduling.snapshot import Snapshot

pytestmark = pytest.mark.integration
VM = kinds.VIRTUAL_MACHINE


class Editor:
    """A user who may edit one namespace."""

    def __init__(self, server: ApiServer, token: str) -> None:
        self._server, self._token = server, token

    def send(self, request: Request) -> Answer:
        return send(self._server, self._token, request)

    def create(self, kind: kinds.Kind, changes: Mapping[str, Any], query: str = "") -> Answer:
        """A good object with changes."""
        body = spoiled(specimen(kind, "hostile", TENANT), dict(changes))
        return self.send(Request("POST", f"{GROUP}/namespaces/{TENANT}/{kind.plural}{query}", body))

    def remove(self, name: str) -> None:
        """Delete a VM as its owner may: the finalizer by hand, once it is being deleted."""
        self.send(Request("DELETE", f"{TENANT_VMS}/{name}"))
        self.send(merge(f"{TENANT_VMS}/{name}", {"metadata": {"finalizers": None}}))


@pytest.fixture
def editor(server: ApiServer, users: Mapping[str, str]) -> Editor:
    return Editor(server, users["edit"])


@pytest.fixture
def vm(editor: Editor) -> Iterator[dict[str, Any]]:
    """A VM of the user's."""
    created = editor.create(VM, {})
    assert created.status == 201, created.message
    yield dict(created.body)
    editor.remove("hostile")


@pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in (*MACHINES, *IMAGES)])
def test_a_manifest_is_refused(case: Refused, editor: Editor) -> None:
    answer = editor.create(case.kind, case.changes)
    assert (answer.status, case.phrase in answer.message) == (case.status, True), answer.message[:2000]


@pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in HARMLESS])
def test_a_manifest_makes_nothing_but_a_guest(case: Harmless, editor: Editor) -> None:
    name = str(case.changes.get("metadata.name", "hostile"))
    twin = editor.create(VM, case.plain, "?dryRun=All")
    answer = editor.create(VM, case.changes)
    try:
        assert (twin.status, answer.status) == (201, 201), answer.message
        stored: dict[str, Any] = dict(answer.body)
        made, plain = rendering(stored), rendering(dict(twin.body))
        assert made.shape == plain.shape
        assert "status" not in stored
        assert made.domain.findtext("name") == f"{TENANT}_{name}"
        assert made.meta_data["local-hostname"] == name
        spec = stored["spec"]
        assert made.user_data == spec["cloudInit"].get("userData", "#cloud-config\n").encode()
        assert set(made.network_config["ethernets"]) == {nic["name"] for nic in spec["networks"]}
        kernel = spec.get("firmware", {}).get("kernel", {})
        assert made.domain.findtext("os/cmdline") == kernel.get("commandLine")
        if "dropped" in case.why:
            assert spec == twin.body["spec"]
    finally:
        editor.remove(name)


@pytest.mark.parametrize("attempt", [pytest.param(each, id=each.name) for each in USER_ATTEMPTS])
def test_a_user_does_not(attempt: Attempt, server: ApiServer, users: Mapping[str, str], world: Fingerprint) -> None:
    before = world()
    answer = send(server, users[attempt.token], attempt.request)
    assert (answer.status, attempt.rule.phrase in answer.message) == (attempt.rule.status, True), answer.message
    assert world() == before


CHANGES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("shrink-disk", {"spec.disks.0.size": "1Gi"}, "a disk cannot shrink"),
    ("swap-image", {"spec.disks.0.imageRef.name": "other"}, "the image of an existing disk cannot change"),
    ("move-disk", {"spec.disks.0.storagePoolName": "other"}, "a disk stays in its storage pool"),
    ("volume-from-disk", {"spec.disks.2.size": REMOVED, "spec.disks.2.volumeName": "v"}, "cannot become a volume"),
)


@pytest.mark.parametrize(("changes", "phrase"), [pytest.param(*case[1:], id=case[0]) for case in CHANGES])
def test_what_never_changes_is_not_changed(
    changes: dict[str, Any], phrase: str, editor: Editor, vm: dict[str, Any]
) -> None:
    answer = editor.send(Request("PUT", f"{TENANT_VMS}/hostile", spoiled(vm, changes)))
    assert (answer.status, phrase in answer.message) == (422, True), answer.message


@on_newest
def test_the_finalizer_stays_while_the_vm_lives(editor: Editor, vm: dict[str, Any]) -> None:
    for request in (
        patch(f"{TENANT_VMS}/hostile", ("remove", "/metadata/finalizers")),
        merge(f"{TENANT_VMS}/hostile", {"metadata": {"finalizers": []}}),
        Request("PATCH", f"{TENANT_VMS}/hostile?fieldManager=x&force=true", {"metadata": {"finalizers": []}}, APPLY),
    ):
        assert editor.send(request).body["metadata"]["finalizers"] == ["berth.dev/vm"]


@on_newest
def test_whose_the_vm_is_may_let_it_go_once_it_is_being_deleted(editor: Editor, vm: dict[str, Any]) -> None:
    """The way out when a node is gone for good; a node that is not takes down what has no object any more."""
    assert editor.send(Request("DELETE", f"{TENANT_VMS}/hostile")).body["metadata"]["finalizers"] == ["berth.dev/vm"]
    editor.send(merge(f"{TENANT_VMS}/hostile", {"metadata": {"finalizers": None}}))
    assert editor.send(Request("GET", f"{TENANT_VMS}/hostile")).status == 404


async def test_user_data_comes_from_the_vms_own_namespace(editor: Editor) -> None:
    reference = {"name": "s", "key": "k", "namespace": "kube-system"}
    answer = editor.create(VM, {"spec.cloudInit": {"userDataSecretRef": reference}}, "?dryRun=All")
    api = FakeApi()
    await api.create(kinds.SECRET, {"metadata": {"name": "s"}, "data": {"k": "c2VjcmV0"}}, "kube-system")
    with pytest.raises(Unbindable, match=f"Secret s does not exist in namespace {TENANT}"):
        await read_user_data(api, VirtualMachine.from_api(answer.body))


def test_a_pin_and_tolerations_lead_to_no_node_without_a_hypervisor(editor: Editor) -> None:
    changes = {
        "spec.tolerations": [{"operator": "Exists"}],
        "spec.nodeName": "control-plane",
        "spec.disks": [{"name": "root", "size": "1Gi"}],
    }
    vm = VirtualMachine.from_api(editor.create(VM, changes, "?dryRun=All").body)
    snapshot = Snapshot()
    snapshot.upsert(NodeFacts("node-1", Amounts(64_000, 2**40, {"default": 2**40}), accelerator="kvm"))
    snapshot.set_ready("node-1", ready=True)
    assert isinstance(place(snapshot, request_of(vm, CPU(), Memory(size="1Gi"))), Rejection)


@pytest.mark.parametrize("address", [pytest.param(each[1], id=each[0]) for each in FORBIDDEN_ADDRESSES])
def test_no_name_and_no_redirect_leads_to(address: str) -> None:
    """Both come by here, for each address that is connected to: tests/integration/storage shows that."""
    policy = DestinationPolicy.of(denied_cidrs=AgentSettings(node_name="n").image_denied_cidrs)
    with pytest.raises(DestinationForbidden):
        policy.check(ip_address(address))


@pytest.mark.parametrize("path", ["%2e%2e/%2e%2e/etc/passwd", "%2Fetc%2Fpasswd", "link/passwd", "a/..%2f..%2fetc"])
def test_no_path_that_the_server_takes_leads_out_of_the_directory(path: str, editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    changes = {"spec.source": {"file": {"path": path}}}
    assert editor.create(kinds.VIRTUAL_MACHINE_IMAGE, changes, "?dryRun=All").status == 201
    with pytest.raises((ImageNotFound, FileOutsideDirectory)):
        open_beneath(tmp_path, components(path))
