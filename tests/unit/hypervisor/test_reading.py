"""What libvirt says becomes plain values: states, errors, machine types, domains."""

from dataclasses import replace
from datetime import UTC, datetime

import libvirt
import pytest
from tests.unit.domain.cases import MIB, SMALL

from berth_agent.domain.documents import build
from berth_agent.domain.metadata import MetadataError
from berth_agent.hypervisor import errors
from berth_agent.hypervisor.accelerators import rom_image
from berth_agent.hypervisor.capabilities import machine_types, read_capabilities
from berth_agent.hypervisor.descriptions import LiveFacts, describe, owner_in, parse
from berth_agent.hypervisor.failures import message_of, translate
from berth_agent.hypervisor.notes import RUN_URI, START_URI, STOP_URI
from berth_agent.hypervisor.powers import power_of
from berth_agent.hypervisor.states import (
    BlockStatistics,
    DomainOwner,
    DomainPower,
    DomainState,
    DomainStatistics,
    NetStatistics,
)
from berth_agent.hypervisor.statistics import statistics_from
from berth_api.hardware import CPU

_CAPABILITIES = """\
<capabilities><guest><os_type>hvm</os_type>
<arch name='i686'><machine canonical='pc-q35-1.0'>q35</machine></arch></guest>
<guest><os_type>hvm</os_type><arch name='x86_64'>
<machine maxCpus='288'>pc-q35-7.2</machine><machine canonical='pc-q35-7.2'>q35</machine>
<machine deprecated='yes'>pc-q35-2.4</machine><machine>pc-i440fx-7.2</machine><machine>pc-q35-7.1</machine>
<machine>isapc</machine></arch></guest></capabilities>
"""

_DOMAIN_CAPABILITIES = """\
<domainCapabilities><cpu>{host_model}<mode name='custom' supported='yes'>
<model usable='yes'>qemu64</model><model usable='no'>EPYC</model></mode></cpu></domainCapabilities>
"""
_EPYC = """\
<mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model><vendor>AMD</vendor>
<feature policy='require' name='avx2'/><feature policy='disable' name='rdseed'/></mode>
"""


def failure(code: int, message: str = "it failed") -> libvirt.libvirtError:
    error = libvirt.libvirtError("outer")
    error.err = (code, 0, message, 2, "", "", "", -1, -1)
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (libvirt.VIR_ERR_NO_CONNECT, errors.Unavailable),
        (libvirt.VIR_ERR_NO_DOMAIN, errors.DomainNotFound),
        (libvirt.VIR_ERR_XML_ERROR, errors.DomainRejected),
        (libvirt.VIR_ERR_XML_INVALID_SCHEMA, errors.DomainRejected),
        (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, errors.DomainRejected),
        (libvirt.VIR_ERR_CPU_INCOMPATIBLE, errors.DomainRejected),
        (libvirt.VIR_ERR_OPERATION_INVALID, errors.OperationInvalid),
        (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, errors.GuestAgentUnavailable),
        (libvirt.VIR_ERR_INTERNAL_ERROR, errors.OperationFailed),
        (libvirt.VIR_ERR_SYSTEM_ERROR, errors.OperationFailed),
        (99999, errors.OperationFailed),
    ],
)
def test_errors_are_known_by_their_code(code: int, kind: type[errors.HypervisorError]) -> None:
    assert type(translate(failure(code))) is kind


def test_any_error_of_a_broken_connection_is_worth_another_try() -> None:
    error = translate(failure(libvirt.VIR_ERR_INTERNAL_ERROR), broken=True)
    assert isinstance(error, errors.Unavailable)
    assert error.retryable


def test_messages_are_one_printable_line_of_bounded_length() -> None:
    assert message_of(failure(1, "a\nb\x1b[31mc")) == "a b?[31mc"
    assert len(message_of(failure(1, "x" * 100_000))) == 1000


def every_error(of: type[errors.HypervisorError] = errors.HypervisorError) -> list[type[errors.HypervisorError]]:
    return [of, *(error for kind in of.__subclasses__() for error in every_error(kind))]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_reason_for_conditions(kind: type[errors.HypervisorError]) -> None:
    assert kind.reason.isalpha()
    assert kind.reason[0].isupper()
    assert sum(other.reason == kind.reason for other in every_error()) == 1


@pytest.mark.parametrize(
    ("state", "reason", "power"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, 1, (DomainPower.RUNNING, "Booted")),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, (DomainPower.PAUSED, "IOError")),
        (
            libvirt.VIR_DOMAIN_PAUSED,
            libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN,
            (DomainPower.SHUTTING_DOWN, "ShuttingDown"),
        ),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, (DomainPower.SHUT_OFF, "Crashed")),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON, (DomainPower.SHUT_OFF, "Daemon")),
        (libvirt.VIR_DOMAIN_CRASHED, 1, (DomainPower.CRASHED, "Panicked")),
        (libvirt.VIR_DOMAIN_PMSUSPENDED, 0, (DomainPower.PM_SUSPENDED, "Unknown")),
        (libvirt.VIR_DOMAIN_RUNNING, 999, (DomainPower.RUNNING, "Unknown")),
    ],
)
def test_states_have_names(state: int, reason: int, power: tuple[DomainPower, str]) -> None:
    assert power_of(state, reason) == power


def described(xml: str = "", power: DomainPower = DomainPower.RUNNING, reason: str = "Booted") -> DomainState:
    root = parse(xml or build(SMALL))
    owner = owner_in(root)
    assert owner is not None
    return describe(root, owner, LiveFacts(power, reason))


def test_machine_types_are_canonical_of_one_family_and_deprecated_ones_still_are_some() -> None:
    assert machine_types(parse(_CAPABILITIES)) == (("pc-q35-2.4", "pc-q35-7.1", "pc-q35-7.2"), "pc-q35-7.2")


class Libvirt:
    """A connection that has capabilities, and spells a CPU out as it is told to, or fails."""

    def __init__(self, host_model: str, spelled_out: str | libvirt.libvirtError, *, alive: bool = True) -> None:
        self.host_model, self.spelled_out, self.alive = host_model, spelled_out, alive
        self.asked: list[str] = []

    def getCapabilities(self) -> str:  # noqa: N802 - libvirt's name
        return _CAPABILITIES

    def getDomainCapabilities(self, *_: object) -> str:  # noqa: N802 - libvirt's name
        return _DOMAIN_CAPABILITIES.format(host_model=self.host_model)

    def baselineHypervisorCPU(self, *arguments: object) -> str:  # noqa: N802 - libvirt's name
        self.asked.append(str(arguments[4]))
        if isinstance(self.spelled_out, Exception):
            raise self.spelled_out
        return self.spelled_out

    def getInfo(self) -> list[object]:  # noqa: N802 - libvirt's name
        return ["x86_64", 2048, 8]

    def getMemoryStats(self, _: int) -> dict[str, int]:  # noqa: N802 - libvirt's name
        return {"total": 1024}

    def getLibVersion(self) -> int:  # noqa: N802 - libvirt's name
        return 9_000_000

    def getVersion(self) -> int:  # noqa: N802 - libvirt's name
        return 7_002_009

    def isAlive(self) -> int:  # noqa: N802 - libvirt's name
        return int(self.alive)


def test_cpu_features_are_what_the_host_model_has_when_it_is_spelled_out() -> None:
    spelled_out = "<cpu><model>EPYC</model>" + "".join(
        f"<feature policy='{policy}' name='{name}'/>"
        for policy, name in (("require", "sse4.2"), ("disable", "rdseed"), ("require", "avx2"))
    )
    connection = Libvirt(_EPYC, spelled_out + "</cpu>")
    assert read_capabilities(connection, "tcg").cpu_features == ("avx2", "sse4.2")
    assert "<cpu><model" in connection.asked[0]
    assert 'name="rdseed"' in connection.asked[0]


def test_a_node_without_a_host_model_has_no_features_to_offer() -> None:
    connection = Libvirt("<mode name='host-model' supported='no'/>", "")
    assert read_capabilities(connection, "kvm").cpu_features == ()
    assert connection.asked == []


def test_a_libvirt_that_cannot_spell_features_out_still_runs_guests() -> None:
    connection = Libvirt(_EPYC, failure(libvirt.VIR_ERR_NO_SUPPORT))
    assert read_capabilities(connection, "tcg").cpu_features == ()


def test_a_connection_that_breaks_meanwhile_is_no_answer() -> None:
    connection = Libvirt(_EPYC, failure(libvirt.VIR_ERR_INTERNAL_ERROR), alive=False)
    with pytest.raises(libvirt.libvirtError):
        read_capabilities(connection, "tcg")


@pytest.mark.parametrize(
    ("values", "expected"),
    [(("efi", "yes"), (True, True)), (("efi", "no"), (True, False)), (("bios", "yes"), (False, False))],
)
def test_secure_boot_needs_efi_and_a_loader_that_is_secure(
    values: tuple[str, str], expected: tuple[bool, bool]
) -> None:
    connection = Libvirt(_EPYC, "<cpu/>")
    firmware, secure = values
    connection.getDomainCapabilities = lambda *_: (  # type: ignore[method-assign]  # the fake's own
        f"<domainCapabilities><os><enum name='firmware'><value>{firmware}</value></enum>"
        f"<loader><enum name='secure'><value>{secure}</value></enum></loader></os></domainCapabilities>"
    )
    host = read_capabilities(connection, "tcg")
    assert (host.efi, host.secure_boot) == expected


def test_a_node_without_an_emulator_says_what_to_install() -> None:
    with pytest.raises(errors.OperationFailed, match="install qemu-system-x86"):
        machine_types(parse("<capabilities/>"))


def test_the_agents_channel_tells_whether_an_agent_listens() -> None:
    plain = 'name="org.qemu.guest_agent.0"'
    assert not described().guest_agent_connected
    assert not described(build(SMALL).replace(plain, f'{plain} state="disconnected"')).guest_agent_connected
    assert described(build(SMALL).replace(plain, f'{plain} state="connected"')).guest_agent_connected


@pytest.mark.parametrize(
    ("noted", "power", "started"),
    [
        ("2026-01-02T03:04:05+00:00", DomainPower.RUNNING, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+00:00", DomainPower.SHUT_OFF, None),
        ("yesterday", DomainPower.RUNNING, None),
        ("", DomainPower.RUNNING, None),
    ],
)
def test_the_start_is_the_running_guests(noted: str, power: DomainPower, started: datetime | None) -> None:
    note = f"<run xmlns='{RUN_URI}' started='{noted}'/>"
    xml = build(SMALL).replace("</metadata>", f"{note}</metadata>")
    assert described(xml, power).started_at == started


def test_the_nodes_boot_is_noted_with_the_run_and_not_known_of_one_that_an_older_agent_started() -> None:
    for attributes, boot_id in (("boot='b-1'", "b-1"), ("", "")):
        note = f"<run xmlns='{RUN_URI}' started='2026-01-02T03:04:05+00:00' {attributes}/>"
        xml = build(SMALL).replace("</metadata>", f"{note}</metadata>")
        assert described(xml).boot_id == boot_id
        assert described(xml, DomainPower.SHUT_OFF).boot_id == ""


def test_of_a_guest_that_is_off_its_definition_tells() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    notes = (
        f"<start xmlns='{START_URI}' started='{at.isoformat()}' boot='b-1'/>"
        f"<stop xmlns='{STOP_URI}' asked='{at.isoformat()}' reason='Stopped'/>"
    )
    xml = build(SMALL).replace("</metadata>", f"{notes}</metadata>")
    off, running = described(xml, DomainPower.SHUT_OFF), described(xml)
    assert (off.started_at, off.boot_id) == (at, "b-1")
    assert (off.asked_to_stop_at, off.asked_to_stop_for) == (at, "Stopped")
    assert (running.started_at, running.boot_id, running.asked_to_stop_at) == (None, "", None), "a copy says nothing"


def test_a_domain_of_an_older_agent_is_adopted() -> None:
    xml = build(replace(SMALL, parts={}, restarted_at=""))
    old = xml.replace("</berth:vm>", "<berth:hardware>4cbd98c2f07585a9</berth:hardware></berth:vm>")
    state = described(old)
    assert (state.owner.uid, state.parts, state.restarted_at) == (SMALL.uid, {}, "")


def test_sizes_are_those_of_the_live_guest() -> None:
    state = described()
    assert (state.vcpus, state.max_vcpus) == (1, 1)
    assert (state.boot_memory, state.memory, state.max_memory) == (96 * MIB, 96 * MIB, 96 * MIB)
    request = replace(SMALL, cpu=CPU(cores=2, max_sockets=3), memory_max=160 * MIB + 1)
    xml = build(request).replace('<requested unit="KiB">0<', '<requested unit="MiB">6<')
    state = described(xml)
    assert (state.vcpus, state.max_vcpus) == (2, 6)
    assert (state.boot_memory, state.memory, state.max_memory) == (96 * MIB, 102 * MIB, 162 * MIB)


def test_statistics_are_in_bytes_and_seconds_and_may_be_missing() -> None:
    owner = DomainOwner("a", "b", "c")
    assert statistics_from(owner, {}) == DomainStatistics(owner=owner)
    found = statistics_from(
        owner,
        {
            "cpu.time": 2_500_000_000,
            "balloon.current": 1024,
            "balloon.rss": 2,
            "balloon.usable": 1,
            "block.count": 1,
            "block.0.name": "vda",
            "block.0.rd.bytes": 7,
            "block.0.rd.reqs": 1,
            "block.0.wr.bytes": 9,
            "block.0.wr.reqs": 2,
            "net.count": 2,
            "net.0.name": "tap0",
            "net.0.rx.drop": 3,
            "net.1.tx.bytes": 5,
        },
    )
    assert found.cpu_seconds == 2.5
    assert (found.memory_current, found.memory_rss, found.memory_available) == (MIB, 2048, 1024)
    assert found.blocks == (
        BlockStatistics(target="vda", read_bytes=7, read_requests=1, write_bytes=9, write_requests=2),
    )
    assert found.nets == (NetStatistics(device="tap0", rx_drops=3), NetStatistics(device="", tx_bytes=5))


def test_two_owners_are_none() -> None:
    xml = build(SMALL)
    record = xml[xml.index("<berth:vm>") : xml.index("</berth:vm>") + len("</berth:vm>")]
    with pytest.raises(MetadataError, match="more than one owner"):
        owner_in(parse(xml.replace(record, record * 2)))


def test_the_probes_rom_starts_at_the_reset_vector() -> None:
    rom = rom_image()
    assert len(rom) == 65536
    assert rom[0xFFF0:0xFFF5] == bytes.fromhex("ea000000f0")
    assert rom[0] == 0xFA
    assert rom[0x70] == 0xB8
    assert rom[0xDF:0xE1] == bytes.fromhex("b010")
    assert rom[0x108:0x10E] == bytes.fromhex("1700f0000f00")
