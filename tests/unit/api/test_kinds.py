"""Paths of the API, and the models' small answers."""

import pytest

from berth_api import kinds
from berth_api.customresources import CUSTOM_RESOURCES
from berth_api.kinds import Kind
from berth_api.overhead import MIB, memory_overhead, translation_cache_mib
from berth_api.virtualmachines import VirtualMachine


@pytest.mark.parametrize(
    ("kind", "parts", "path"),
    [
        (kinds.NODE, ("n1",), "/api/v1/nodes/n1"),
        (kinds.NAMESPACE, ("ns",), "/api/v1/namespaces/ns"),
        (kinds.POD, ("p", "ns"), "/api/v1/namespaces/ns/pods/p"),
        (kinds.PRIORITY_CLASS, ("high",), "/apis/scheduling.k8s.io/v1/priorityclasses/high"),
        (kinds.SECRET, ("s", "ns"), "/api/v1/namespaces/ns/secrets/s"),
        (kinds.VIRTUAL_MACHINE, (), "/apis/berth.dev/v1alpha1/virtualmachines"),
        (kinds.VIRTUAL_MACHINE, ("", "ns"), "/apis/berth.dev/v1alpha1/namespaces/ns/virtualmachines"),
        (kinds.HYPERVISOR, ("n1", "", "status"), "/apis/berth.dev/v1alpha1/hypervisors/n1/status"),
    ],
)
def test_a_kind_knows_its_paths(kind: Kind, parts: tuple[str, ...], path: str) -> None:
    assert kind.path(*parts) == path


def test_models_and_kinds_agree() -> None:
    assert [resource.model.model_fields["kind"].default for resource in CUSTOM_RESOURCES] == [
        resource.kind.kind for resource in CUSTOM_RESOURCES
    ]


def test_networks_left_out_are_the_default_one() -> None:
    def machine(**spec: object) -> VirtualMachine:
        return VirtualMachine.from_api({"metadata": {"name": "a"}, "spec": {"className": "small", **spec}})

    assert [nic.network_name for nic in machine().spec.interfaces] == ["default"]
    assert machine(networks=[]).spec.interfaces == ()


def test_a_newer_versions_fields_are_no_error() -> None:
    body = {"metadata": {"name": "a", "new": 1}, "spec": {"className": "small", "new": {}}, "status": {"new": []}}
    assert VirtualMachine.from_api(body).spec.class_name == "small"


def test_overhead_grows_with_the_guest_and_under_emulation() -> None:
    small, large = (memory_overhead(1, size * MIB, "kvm") for size in (256, 65536))
    assert 0 < small < large
    assert small % MIB == 0
    assert memory_overhead(1, 96 * MIB, "tcg") >= 78 * MIB, "what was measured"
    assert [translation_cache_mib(size * MIB) for size in (16, 512, 65536)] == [32, 128, 256]
