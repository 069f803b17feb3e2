"""The picture of the cluster: only the newer replaces, and what is gone stays gone."""

from typing import Any

import pytest

from berth_agent.cluster_view import ClusterView, ReferenceMissing
from berth_api.kinds import VIRTUAL_MACHINE, VIRTUAL_NETWORK
from berth_api.virtualmachines import ImageReference, VirtualMachine


def vm(uid: str = "one", version: int = 10, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": uid, "resourceVersion": str(version)},
        "spec": {"className": "small", **spec},
    }


@pytest.mark.parametrize("version", [9, 10])
def test_what_is_not_newer_changes_nothing(version: int) -> None:
    view = ClusterView()
    view.put(VIRTUAL_MACHINE, vm(version=10, paused=True))
    assert view.put(VIRTUAL_MACHINE, vm(version=version)) is None
    known = view.vm("one")
    assert known is not None
    assert known.spec.paused


def test_resource_versions_are_numbers_not_texts() -> None:
    view = ClusterView()
    view.put(VIRTUAL_MACHINE, vm(version=9))
    assert view.put(VIRTUAL_MACHINE, vm(version=10)) is not None


def test_another_object_of_the_same_name_takes_the_place_of_the_first() -> None:
    view = ClusterView()
    view.put(VIRTUAL_MACHINE, vm("one", 10))
    assert view.put(VIRTUAL_MACHINE, vm("two", 11)) is not None
    assert view.vm("one") is None
    assert view.vm("two") is not None


def test_a_late_word_of_the_first_does_not_bring_it_back() -> None:
    view = ClusterView()
    view.put(VIRTUAL_MACHINE, vm("two", 11))
    assert view.put(VIRTUAL_MACHINE, vm("one", 10)) is None
    assert view.vm("two") is not None


def test_a_late_delete_of_the_first_leaves_the_second_there() -> None:
    view = ClusterView()
    view.put(VIRTUAL_MACHINE, vm("two", 11))
    view.forget(VIRTUAL_MACHINE, vm("one", 12))
    assert view.vm("two") is not None


def test_what_was_forgotten_does_not_come_back_by_an_older_list() -> None:
    view = ClusterView()
    view.put(VIRTUAL_MACHINE, vm(version=10))
    view.forget(VIRTUAL_MACHINE, vm(version=12))
    assert view.put(VIRTUAL_MACHINE, vm(version=11)) is None
    assert view.vm("one") is None


def test_what_was_bound_here_again_comes_back() -> None:
    view = ClusterView()
    view.forget(VIRTUAL_MACHINE, vm(version=12))
    assert view.put(VIRTUAL_MACHINE, vm(version=13)) is not None
    assert view.vm("one") is not None


def test_a_complete_list_tells_what_is_missing_but_not_of_what_is_newer_than_it() -> None:
    view = ClusterView()
    view.put(VIRTUAL_MACHINE, vm(version=10))
    assert [gone.metadata.uid for gone in view.missing_from(VIRTUAL_MACHINE, set(), as_of="10")] == ["one"]
    assert view.missing_from(VIRTUAL_MACHINE, set(), as_of="9") == ()
    assert view.missing_from(VIRTUAL_MACHINE, {("default", "web")}, as_of="10") == ()


def test_an_object_that_cannot_be_read_leaves_the_known_one_and_the_log_shows_no_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = ClusterView()
    view.put(VIRTUAL_MACHINE, vm(version=10))
    assert view.put(VIRTUAL_MACHINE, vm(version=11, cloudInit={"userData": ["password"]})) is None
    assert view.vm("one") is not None
    told = capsys.readouterr().out
    assert "userData" in told
    assert "password" not in told


def test_what_a_vm_refers_to_and_is_not_there_is_named() -> None:
    view = ClusterView()
    with pytest.raises(ReferenceMissing, match="VirtualNetwork lan") as no_network:
        view.network("lan")
    with pytest.raises(ReferenceMissing, match="StoragePool fast"):
        view.pool("fast")
    with pytest.raises(ReferenceMissing, match="ClusterVirtualMachineImage debian"):
        view.image(ImageReference(kind="ClusterVirtualMachineImage", name="debian"), "default")
    with pytest.raises(ReferenceMissing, match="VirtualMachineClass small"):
        view.size(VirtualMachine.from_api(vm()))
    assert no_network.value.reason == "NetworkNotFound"
    view.put(VIRTUAL_NETWORK, {"metadata": {"name": "lan", "uid": "n", "resourceVersion": "1"}, "spec": {}})
    assert view.network("lan").metadata.name == "lan"
