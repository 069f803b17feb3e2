"""What the agent's benchmark makes, counts and reads must be right, or its figures are none."""

import json
from collections import Counter
from datetime import UTC, datetime
from ipaddress import IPv4Network

import pytest
from benchmarks.agent import audits, idling, machines, options, peers, processes, profiling
from benchmarks.agent.bareloop import PLACEHOLDERS, filled
from benchmarks.agent.idling import Idleness
from benchmarks.agent.processes import Memory

from berth_api.virtualmachines import VirtualMachine

SUBNET = IPv4Network("10.88.1.0/24")
UID = "0b9b1f3c-5a8e-4f30-8a52-5a3f1d7c0001"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def bound(released: str | None = None) -> VirtualMachine:
    (guest,) = machines.guests("vm", 1, SUBNET)
    made = machines.virtual_machine(guest)
    status = machines.binding(guest, "node-1", pool="default", now=NOW)["status"]
    if released is not None:
        status["releasedClaim"] = status["claim"]["id"] if released == "its own" else released
    return VirtualMachine.from_api({**made, "metadata": {**made["metadata"], "uid": UID}, "status": status})


def test_a_claim_covers_what_the_vm_asks_for() -> None:
    vm = bound()
    claim, nic = vm.status.claim, vm.spec.networks[0] if vm.spec.networks else None
    assert claim is not None
    assert nic is not None
    assert claim.interfaces[0].mac_address == nic.mac_address
    assert [text.partition("/")[0] for text in claim.interfaces[0].ip_addresses] == list(nic.ip_addresses)
    assert vm.status.node_name == "node-1"
    assert vm.spec.termination_grace_period_seconds == 0


def test_no_two_guests_share_an_address_or_a_mac() -> None:
    made = [*machines.guests("a", 30, SUBNET), *machines.guests("b", 1, SUBNET, first=199)]
    assert len({guest.address for guest in made}) == len({guest.mac_address for guest in made}) == 31
    assert made[-1].address == "10.88.1.219/24"


@pytest.mark.parametrize(("released", "is_released"), [(None, False), ("another", False), ("its own", True)])
def test_only_the_vms_own_claim_counts_as_released(released: str | None, is_released: bool) -> None:
    assert machines.is_released(bound(released).to_api()) is is_released


def test_the_template_keeps_nothing_of_the_vm_it_was_made_from() -> None:
    vm = {
        "metadata": {"namespace": "default", "name": "one", "uid": UID},
        "status": {
            "claim": {"interfaces": [{"macAddress": "02:00:00:00:00:01"}]},
            "interfaces": [{"device": "bt0123"}],
            "disks": [{"source": f"/pool/{UID}-root.qcow2"}],
        },
    }
    xml = (
        f"<domain><name>default_one</name><uuid>{UID}</uuid>\n  <metadata><x>\n{UID}</x></metadata>"
        f"<source file='/pool/{UID}-root.qcow2'/><source file='/var/lib/berth/seeds/{UID}.iso'/>"
        f"<log file='/var/lib/berth/consoles/{UID}.log'/><target dev='bt0123'/>"
        "<mac address='02:00:00:00:00:01'/></domain>"
    )
    info = {"full-backing-filename": "/images/a", "backing-filename-format": "qcow2"}
    made = peers.template_of(xml, vm, info, cni="/cni", workers=16)
    assert "metadata" not in made.xml
    values = {name: f"<{name.lower()}>" for name in PLACEHOLDERS}
    whole = filled(made.xml, values)
    assert all(value in whole for value in values.values())
    assert not any(part in whole for part in (UID, "bt0123", "02:00", "default_one", "@"))
    with pytest.raises(ValueError, match="does not name"):
        peers.template_of(xml.replace("bt0123", "other"), vm, info, cni="/cni", workers=16)


def test_writes_are_told_apart_by_user_and_reads_are_none() -> None:
    def event(user: str, verb: str, resource: str, subresource: str = "") -> str:
        reference = {"resource": resource, "subresource": subresource}
        return json.dumps({"verb": verb, "user": {"username": user}, "objectRef": reference})

    lines = [
        event("agent", "update", "leases"),
        event("agent", "update", "leases"),
        event("agent", "patch", "virtualmachines", "status"),
        event("agent", "get", "virtualmachines"),
        event("other", "create", "events"),
    ]
    assert audits.writes(lines) == {
        "agent": Counter({"update leases": 2, "patch virtualmachines/status": 1}),
        "other": Counter({"create events": 1}),
    }


def idleness(vms: int, agent: float, servers: float, **writes: int) -> Idleness:
    memory = {"berth-agent": Memory(agent + 20, agent), "dnsmasq": Memory(0.0, servers)}
    counted = Counter({name.replace("_", " "): count for name, count in writes.items()})
    return Idleness(vms, 60.0, 0.6, counted, memory, {"berth-agent": 0.6, "etcd": 0.3})


def test_a_slope_is_per_vm_and_a_part_that_is_not_there_weighs_nothing() -> None:
    few, many = idleness(5, 70.0, 2.5, update_leases=6), idleness(30, 75.0, 15.0, update_leases=6, patch_vms=2)
    assert idling.slopes(few, many) == {"berth-agent": 0.2, "libvirtd": 0.0, "virtlogd": 0.0, "dnsmasq": 0.5}
    targets, figures = idling.targets(few, many)
    values = {target.name: target.value for target in targets}
    assert values["idle_writes_besides_lease"] == 2
    assert values["idle_cpu_percent"] == pytest.approx(1.0)
    assert values["idle_agent_rss_mb"] == pytest.approx(95 * 1.048576)
    assert values["memory_per_vm_mb"] == pytest.approx(0.7 * 1.048576)
    assert figures["lease_writes_per_minute"] == 6


def test_children_that_have_ended_count_as_their_parents_time() -> None:
    fields = ["S", *("0" for _ in range(10)), "250", "50", "60", "40", *("0" for _ in range(6))]
    hundred = processes.cpu_with_children(f"17 (a) b) {' '.join(['S', *('0' for _ in range(10)), '100', *['0'] * 9])}")
    assert processes.cpu_with_children(f"17 (a) b) {' '.join(fields)}") == pytest.approx(4 * hundred)


def test_memory_is_read_in_mib() -> None:
    rollup = "55d0-7ffd ---p 00000000 00:00 0   [rollup]\nRss:    2048 kB\nPss:    1024 kB\nPss_Dirty: 1 kB\n"
    assert processes.memory_in(rollup) == Memory(2.0, 1.0)


def test_a_program_that_has_ended_has_used_nothing_since() -> None:
    assert processes.differences({"a": 1.0, "b": 5.0}, {"a": 4.0, "b": 2.0}) == {"a": 3.0, "b": 0.0}


def test_how_long_an_orphan_stays_a_zombie_is_measured_and_given_up_at_the_end_of_patience() -> None:
    assert 0 <= processes.reaping_seconds() < 30
    with pytest.raises(TimeoutError, match="nobody has reaped"):
        processes.reaping_seconds(patience=-1)


def test_steps_are_read_from_the_agents_log() -> None:
    lines = [
        "2026 [info ] step done  seconds=0.25 step=StartDomain uid=x vm=default/a",
        "2026 [info ] step done  seconds=1.5 step=StartDomain uid=y vm=default/b",
        "2026 [warning] step failed step=AttachInterface seconds=9",
    ]
    assert profiling.steps_in(lines) == {"StartDomain": [0.25, 1.5]}


def test_what_is_not_said_is_the_default() -> None:
    assert options.parse([]) == options.Options()
    chosen = options.parse(["--part", "b, a", "--vms", "8", "--few", "2", "--seconds", "10.5"])
    assert (chosen.parts, chosen.vms, chosen.few, chosen.seconds) == (("a", "b"), 8, 2, 10.5)


@pytest.mark.parametrize(
    "wrong", [["--part", "a,x"], ["--vms", "0"], ["--vms", "500"], ["--seconds", "-1"], ["--few", "30"]]
)
def test_a_wrong_command_line_is_explained(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(wrong)
    assert wrong[0] in capsys.readouterr().err
