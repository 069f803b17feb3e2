"""From a VM as its user wrote it to what is asked of the nodes."""

from typing import Any

import pytest
from tests.unit.operator.scheduling.clusters import GIB

from berth_api.hardware import CPU, Memory
from berth_api.overhead import memory_overhead
from berth_api.virtualmachines import VirtualMachine
from berth_operator.scheduling.groups import Group, Member, Spread, Term, Weighted
from berth_operator.scheduling.requests import Claimant, Request, Requirements, Tolerance, request_of
from berth_operator.scheduling.selectors import NodeTerm, Requirement, Selector

HOST = "kubernetes.io/hostname"
WEB = {"matchLabels": {"app": "web"}}
OF_WEB = Selector((Requirement("app", "In", ("web",)),))


def vm(name: str = "a", labels: dict[str, str] | None = None, **spec: Any) -> VirtualMachine:
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "labels": labels or {}}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return VirtualMachine.from_api({"metadata": metadata, "spec": {"disks": [], "networks": [], **spec}})


def asked(one: VirtualMachine, **more: Any) -> Request:
    return request_of(one, CPU(cores=2), Memory(size="1Gi"), **more)


def affinity(kind: str, *terms: dict[str, Any], **preferred: int) -> dict[str, Any]:
    wish: dict[str, Any] = {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}
    if preferred:
        weighted = [{"weight": weight, "vmAffinityTerm": term} for term in terms for weight in preferred.values()]
        wish = {"preferredDuringSchedulingIgnoredDuringExecution": weighted}
    return {"affinity": {kind: wish}}


def test_cpu_and_memory_are_in_the_units_of_the_columns() -> None:
    request = asked(vm(), priority=7)
    assert request.cpu == 2000
    assert request.memory_kvm == GIB + memory_overhead(2, GIB, "kvm")
    assert request.memory_tcg == GIB + memory_overhead(2, GIB, "tcg")
    assert request.claimant == Claimant("uid-a", ("ns", "a"), 7, 1767225600.0)
    assert (request.requirements, request.member) == (Requirements(cpu_model=CPU(cores=2).model or ""), Member("ns"))


def test_what_new_disks_need_is_summed_by_pool() -> None:
    disks = [
        {"name": "root", "size": "10Gi"},
        {"name": "scratch", "size": "1Gi"},
        {"name": "fast", "size": "2Gi", "storagePoolName": "nvme"},
        {"name": "data", "volumeName": "data-1"},
    ]
    request = asked(vm(disks=disks))
    assert request.pools == (("default", 11 * GIB), ("nvme", 2 * GIB))
    assert request.storage == 13 * GIB


def test_equal_wishes_are_one_shape_whoever_has_them() -> None:
    spec: dict[str, Any] = {"nodeSelector": {"b": "2", "a": "1"}, **affinity("vmAntiAffinity", {"topologyKey": HOST})}
    one, other = asked(vm("a", **spec)), asked(vm("b", **spec), priority=5)
    assert one == other
    assert hash(one) == hash(other)
    assert one.claimant != other.claimant
    assert asked(vm("a", {"app": "x"}, **spec)) != one
    assert asked(vm("a", **spec), excluded=frozenset({"n"})) != one


def test_wishes_about_nodes() -> None:
    term = {
        "matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}],
        "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}],
    }
    spec: dict[str, Any] = {
        "nodeName": "m",
        "nodeSelector": {"zone": "a"},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term, {}]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 3, "preference": term}],
            }
        },
        "tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}, {"operator": "Exists"}],
        "networks": [{"name": "x", "networkName": "lan"}, {"name": "y", "networkName": "wan"}],
        "machineType": "q35",
        "firmware": {"type": "EFI", "secureBoot": True},
    }
    compiled = NodeTerm((Requirement("disk", "In", ("ssd", "nvme")),), (Requirement("metadata.name", "NotIn", ("n",)),))
    cpu = CPU(cores=1, model="host-passthrough", features=("avx",))
    request = request_of(vm(**spec), cpu, Memory(size="1Gi"), images=frozenset({"d"}), excluded=frozenset({"o"}))
    assert request.excluded == {"o"}
    assert request.requirements == Requirements(
        node_name="m",
        node_selector=(("zone", "a"),),
        node_affinity=(compiled, NodeTerm()),
        preferred_nodes=((3, compiled),),
        tolerations=(Tolerance("gpu", "Equal", "yes", "NoSchedule"), Tolerance("", "Exists")),
        networks=frozenset({"lan", "wan"}),
        cpu_model="host-passthrough",
        cpu_features=frozenset({"avx"}),
        machine_type="q35",
        firmware=frozenset({"EFI", "SecureBoot"}),
        images=frozenset({"d"}),
    )


@pytest.mark.parametrize(
    ("firmware", "wanted"), [({}, frozenset()), ({"type": "BIOS"}, frozenset()), ({"type": "EFI"}, frozenset({"EFI"}))]
)
def test_bios_is_everywhere_and_secure_boot_only_where_it_is_asked_for(
    firmware: dict[str, Any], wanted: frozenset[str]
) -> None:
    assert asked(vm(firmware=firmware)).requirements.firmware == wanted


def test_user_data_from_a_secret_has_to_be_sealed() -> None:
    secret: dict[str, Any] = {"cloudInit": {"userDataSecretRef": {"name": "s", "key": "k"}}}
    assert asked(vm(**secret)).requirements.sealed
    assert not asked(vm(cloudInit={"userData": "x"})).requirements.sealed


@pytest.mark.parametrize(
    ("term", "group"),
    [
        ({}, Group(None, frozenset({"ns"}))),
        ({"labelSelector": {}}, Group(Selector(), frozenset({"ns"}))),
        ({"labelSelector": WEB}, Group(OF_WEB, frozenset({"ns"}))),
        ({"labelSelector": WEB, "namespaces": ["b", "c"]}, Group(OF_WEB, frozenset({"b", "c"}))),
        ({"labelSelector": WEB, "namespaceSelector": {}}, Group(OF_WEB, frozenset(), Selector())),
        (
            {"labelSelector": WEB, "namespaces": ["b"], "namespaceSelector": WEB},
            Group(OF_WEB, frozenset({"b"}), OF_WEB),
        ),
    ],
)
def test_a_term_names_vms_by_labels_and_namespaces(term: dict[str, Any], group: Group) -> None:
    spec = affinity("vmAntiAffinity", {"topologyKey": HOST, **term})
    assert asked(vm(**spec)).member == Member("ns", anti_affinity=(Term(group, HOST),))


def test_preferences_against_count_negatively() -> None:
    term = {"topologyKey": HOST, "labelSelector": WEB}
    compiled = Term(Group(OF_WEB, frozenset({"ns"})), HOST)
    near = asked(vm(**affinity("vmAffinity", term, weight=5))).member
    away = asked(vm(**affinity("vmAntiAffinity", term, weight=5))).member
    assert (near.preferred, away.preferred) == ((Weighted(5, compiled),), (Weighted(-5, compiled),))
    required = asked(vm(**affinity("vmAffinity", term))).member
    assert required.affinity == (compiled,)
    assert required.attractions == (Weighted(1, compiled),)


def test_spread_is_hard_or_soft_and_of_the_own_namespace() -> None:
    hard = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3}
    soft = {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": WEB}
    request = asked(vm(topologySpreadConstraints=[hard, soft]))
    assert request.spread == (Spread(Group(None, frozenset({"ns"})), "zone", 1, 3),)
    assert request.soft_spread == (Spread(Group(OF_WEB, frozenset({"ns"})), "rack", 2, 1),)


def test_selectors_compile_to_one_form_however_they_are_written() -> None:
    pairs = {"topologyKey": HOST, "labelSelector": {"matchLabels": {"a": "1", "b": "2"}}}
    listed = [
        {"key": "b", "operator": "In", "values": ["2"]},
        {"key": "a", "operator": "In", "values": ["1"]},
    ]
    spelt = {"topologyKey": HOST, "labelSelector": {"matchExpressions": listed}}
    one, other = (asked(vm(**affinity("vmAntiAffinity", term))) for term in (pairs, spelt))
    assert one == other
    assert str(one.member.anti_affinity[0].group) == "a=1,b=2"


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (Requirement("a", "In", ("1",)), "a=1"),
        (Requirement("a", "In", ("1", "2")), "a in (1, 2)"),
        (Requirement("a", "NotIn", ("1",)), "a notin (1)"),
        (Requirement("a", "Exists"), "a"),
        (Requirement("a", "DoesNotExist"), "!a"),
        (Requirement("a", "Gt", ("1",)), "a > 1"),
        (Requirement("a", "Lt", ("1",)), "a < 1"),
    ],
)
def test_a_requirement_reads_as_users_write_it(requirement: Requirement, text: str) -> None:
    assert str(requirement) == text


def test_a_profile_is_named_or_the_default() -> None:
    assert asked(vm()).profile == "default"
    assert asked(vm(schedulerProfile="pack")).profile == "pack"
