"""A VM that runs and whose spec changes claims what is more at once, and gives back what is less when it is free."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.gates import SECRET, add_secret
from tests.unit.operator.lives import Lives
from tests.unit.operator.worlds import vm_body

from berth_api.client import Conflict
from berth_api.hardware import CPU, Memory
from berth_api.kinds import HYPERVISOR, VIRTUAL_MACHINE
from berth_api.virtualmachines import Claim, VirtualMachine
from berth_operator.controllers.needs import Amounts, claimed, differs, is_as_asked, kept, needed

RESTART = {
    "type": "RestartRequired",
    "status": "True",
    "reason": "SpecChanged",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
READY = {"type": "Ready", "status": "True", "reason": "GuestRunning", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@pytest.mark.looptime
async def test_more_is_claimed_at_once() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web", cpu={"cores": 1})
        before = world.claim("web")
        await world.set_spec("web", cpu={"cores": 3})
        await world.settle()
        after = world.claim("web")
        assert (after.cpu, after.interfaces) == ("3", before.interfaces)
        assert after.id != before.id
        assert world.vm("web").status.phase == "Running"


@pytest.mark.looptime
async def test_less_is_given_back_once_the_agent_says_that_the_guest_has_it() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web", cpu={"cores": 3})
        await world.set_spec("web", cpu={"cores": 1})
        await world.settle()
        assert world.claim("web").cpu == "3"
        await world.runs("web", conditions=[READY, RESTART])
        await world.settle()
        assert world.claim("web").cpu == "3"
        await world.runs("web", observedGeneration=1)
        await world.settle()
        assert world.claim("web").cpu == "3"
        await world.runs("web")
        await world.settle()
        assert world.claim("web").cpu == "1"


@pytest.mark.looptime
async def test_what_there_is_no_room_for_waits_and_says_so() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web")
        await world.launch("db", memory={"size": "2600Mi"})
        claim = world.claim("web").id
        await world.set_spec("web", memory={"size": "2Gi"})
        await world.settle()
        reason, message = world.why("web")
        assert (reason, message.partition(" (")[0]) == ("ResizePending", "0/1 nodes: 1 lacks memory")
        assert world.claim("web").id == claim
        before = world.writes_about("web")
        await world.settle(100)
        assert world.writes_about("web") == before
        await world.set_strategy("db", "Halted")
        await world.stops("db")
        await world.settle()
        assert world.claim("web").id != claim
        assert world.why("web")[0] == "Bound"


@pytest.mark.looptime
async def test_a_nic_that_is_asked_for_no_longer_keeps_its_address_while_the_guest_may_use_it() -> None:
    world = Lives()
    world.add_node("node-1")
    nics = [{"name": name, "networkName": "lan"} for name in ("a", "b")]
    async with world.leading():
        await world.launch("web", networks=nics)
        before = world.claim("web").interfaces
        await world.set_spec("web", networks=[{"name": "c", "networkName": "lan"}, nics[0]], cpu={"cores": 2})
        await world.settle()
        during = {nic.name: nic for nic in world.claim("web").interfaces}
        assert (during["a"], during["b"]) == before
        assert during["c"].ip_addresses not in {nic.ip_addresses for nic in before}
        await world.runs("web")
        await world.settle()
        assert {nic.name for nic in world.claim("web").interfaces} == {"a", "c"}
        assert len(world.operation.ledger.taken("lan")) == 2


@pytest.mark.looptime
async def test_a_secret_that_comes_later_is_sealed_and_one_that_is_known_is_not_read_again() -> None:
    world = Lives()
    world.add_node("node-1")
    add_secret(world)
    async with world.leading():
        await world.launch("web")
        await world.set_spec("web", cloudInit=SECRET)
        await world.settle()
        sealed = world.claim("web").sealed_user_data
        assert sealed is not None
        reads = sum(call.kind == "Secret" for call in world.api.calls)
        await world.set_spec("web", cloudInit=SECRET, cpu={"cores": 2})
        await world.settle()
        assert (world.claim("web").cpu, world.claim("web").sealed_user_data) == ("2", sealed)
        assert sum(call.kind == "Secret" for call in world.api.calls) == reads


@pytest.mark.looptime
async def test_an_overfull_node_takes_what_is_less() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web", cpu={"cores": 4}, memory={"size": "2Gi"})
        small = {"capacity": {"cpu": "1", "memory": "1Gi"}, "accelerator": "tcg"}
        await world.set_field(HYPERVISOR, "node-1", "/status", small, "")
        await world.set_spec("web", memory={"size": "1Gi"})
        await world.runs("web")
        await world.settle()
        assert world.why("web") == ("Bound", "bound to node node-1")
        assert world.claim("web").memory < "2000Mi"


@pytest.mark.looptime
async def test_a_vm_that_stays_as_it_is_causes_no_writes() -> None:
    world = Lives(audit_interval=5.0)
    world.add_node("node-1")
    add_secret(world)
    nics = [{"name": "a", "networkName": "lan", "ipAddresses": ["10.7.0.9"]}, {"name": "b", "networkName": "lan"}]
    async with world.leading():
        await world.launch("web", networks=nics, cloudInit=SECRET)
        before = world.writes_about("web")
        for _ in range(5):
            await world.runs("web")
            await world.settle(20)
        assert (before, world.writes_about("web")) == (1, 1)


NAMES = st.lists(st.sampled_from(["a", "b", "c"]), unique=True)
NIC = st.fixed_dictionaries(
    {"networkName": st.sampled_from(["lan", "wan"])},
    optional={
        "macAddress": st.sampled_from(["02:be:00:00:00:01", "02:be:00:00:00:02"]),
        "ipAddresses": st.lists(st.sampled_from(["10.7.0.4", "fd00::1"]), unique=True),
    },
)
SPECS = st.fixed_dictionaries(
    {
        "cpu": st.fixed_dictionaries({"cores": st.integers(1, 4)}),
        "memory": st.sampled_from([{"size": "256Mi"}, {"size": "1Gi"}]),
        "disks": st.lists(
            st.fixed_dictionaries(
                {"size": st.sampled_from(["1Gi", "2Gi"])}, optional={"storagePoolName": st.just("p")}
            ),
            max_size=2,
        ),
        "networks": NAMES.flatmap(
            lambda names: st.tuples(*(NIC for _ in names)).map(
                lambda nics: [{"name": name, **nic} for name, nic in zip(names, nics, strict=True)]
            )
        ),
        "cloudInit": st.sampled_from([{}, SECRET]),
    }
)
STATES = st.fixed_dictionaries(
    {"observedGeneration": st.integers(1, 2), "admittedClaim": st.sampled_from(["c1", "c0"])},
    optional={
        "startedAt": st.just("2026-01-01T00:00:00Z"),
        "endedAt": st.just("2026-01-01T00:00:00Z"),
        "conditions": st.sampled_from([[READY], [READY, RESTART], []]),
    },
)


def vm_of(spec: dict[str, Any], status: dict[str, Any]) -> VirtualMachine:
    body = vm_body("web", **{**spec, "disks": [{"name": f"d{n}", **disk} for n, disk in enumerate(spec["disks"])]})
    body["metadata"] |= {"generation": 2, "uid": "u"}
    return VirtualMachine.from_api({**body, "status": status})


def claim_of(vm: VirtualMachine, have: Amounts, nics: dict[str, Any], *, sealed: bool) -> Claim:
    """What a decision would claim, with addresses made up where the VM asks for none."""
    fresh = [
        {
            "name": nic.name,
            "networkName": nic.network_name,
            "macAddress": nic.mac_address or "02:be:00:00:00:09",
            "ipAddresses": [f"{text}/24" for text in nic.ip_addresses or ("10.7.0.77",)],
        }
        for nic in vm.spec.interfaces
        if nic.name not in nics
    ]
    return Claim.model_validate(
        {
            "id": "c1",
            "epoch": 1,
            "cpu": f"{have.cpu}m",
            "memory": str(have.memory),
            "storage": "0",
            "pools": [{"name": name, "size": str(size)} for name, size in have.pools.items()],
            "interfaces": [*fresh, *(nic.to_api() for nic in nics.values())],
            "sealedUserData": "x" if sealed else None,
        }
    )


def need_of(vm: VirtualMachine) -> Amounts:
    cpu, memory = vm.spec.cpu, vm.spec.memory
    assert isinstance(cpu, CPU)
    assert isinstance(memory, Memory)
    return needed(vm, cpu, memory, "tcg")


@settings(max_examples=200, deadline=None)
@given(old=SPECS, new=SPECS, state=STATES)
def test_what_was_just_claimed_is_not_claimed_again(old: dict[str, Any], new: dict[str, Any], state: Any) -> None:
    before = vm_of(old, {})
    claim = claim_of(before, need_of(before), {}, sealed=bool(old["cloudInit"]))
    vm = vm_of(new, {**state, "nodeName": "node-1", "claim": claim.to_api()})
    need = need_of(vm)
    if not differs(vm, claim, need):
        return
    exact = is_as_asked(vm)
    have = need if exact else need | claimed(claim)
    sealed = bool(new["cloudInit"]) or (claim.sealed_user_data is not None and not exact)
    again = claim_of(vm, have, kept(vm, claim), sealed=sealed)
    assert not differs(vm.model_copy(update={"status": vm.status.model_copy(update={"claim": again})}), again, need)


@pytest.mark.looptime
async def test_an_agent_that_writes_at_the_same_moment_does_not_delay_what_is_told() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web")
        await world.launch("db", memory={"size": "2600Mi"})
        await world.set_spec("web", memory={"size": "2Gi"})
        world.api.fail(Conflict(409, "Conflict", "changed"), verb="apply", kind=VIRTUAL_MACHINE)
        await world.settle(1)
        assert world.why("web")[0] == "ResizePending"


@pytest.mark.looptime
async def test_what_it_has_already_does_not_stand_in_its_own_way() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web", memory={"size": "2Gi"})
        await world.set_field(HYPERVISOR, "node-1", "/spec", {"maxVirtualMachines": 1}, "")
        await world.set_spec("web", memory={"size": "2600Mi"})
        await world.settle()
        assert world.why("web")[0] == "Bound"
        assert world.claim("web").memory == "2918Mi"
