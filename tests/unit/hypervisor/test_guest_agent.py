"""Whatever a guest says of itself, what is shown is short, printable and of the right kind."""

from typing import Any

import libvirt
import pytest

from berth_agent.hypervisor.domains import Search
from berth_agent.hypervisor.errors import GuestAgentUnavailable
from berth_agent.hypervisor.guest_agent import guest_info_from, interfaces_from, read_guest_info
from berth_agent.hypervisor.states import GuestInfo, GuestInterface

_UID = "6b1f2b1e-41c5-4c8e-9d3b-000000000001"
_OWNER = f"<vm><namespace>a</namespace><name>b</name><uid>{_UID}</uid><claim>c</claim><generation>1</generation></vm>"


def failure(code: int) -> libvirt.libvirtError:
    error = libvirt.libvirtError("outer")
    error.err = (code, 0, "it\nfailed", 2, "", "", "", -1, -1)
    return error


class Libvirt:
    """A connection with one domain of ours, whose agent answers by the kind of question, or fails."""

    def __init__(self, answers: dict[int, Any], nics: Any = None, *, alive: bool = True) -> None:
        self.answers, self.nics, self.alive = answers, nics, alive

    def lookupByUUIDString(self, _: str) -> "Libvirt":  # noqa: N802 - libvirt's name
        return self

    def metadata(self, *_: object) -> str:
        return _OWNER

    def agentSetResponseTimeout(self, _: int) -> None:  # noqa: N802 - libvirt's name
        pass

    def isAlive(self) -> int:  # noqa: N802 - libvirt's name
        return int(self.alive)

    def guestInfo(self, kind: int, _: int) -> Any:  # noqa: N802 - libvirt's name
        return self._answer(self.answers[kind])

    def interfaceAddresses(self, _: int) -> Any:  # noqa: N802 - libvirt's name
        return self._answer(self.nics)

    @staticmethod
    def _answer(answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer


OS, HOSTNAME = libvirt.VIR_DOMAIN_GUEST_INFO_OS, libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME


def read(connection: Libvirt) -> GuestInfo:
    return read_guest_info(connection, Search(_UID, _UID), 1)


def test_what_a_guest_says_is_told() -> None:
    info = read(
        Libvirt(
            {
                OS: {
                    "os.id": "debian",
                    "os.pretty-name": "Debian 12",
                    "os.version-id": "12",
                    "os.kernel-release": "6.1",
                },
                HOSTNAME: {"hostname": "web"},
            },
            {"eth0": {"hwaddr": "52:54:00:00:00:01", "addrs": [{"addr": "10.0.0.5", "prefix": 24, "type": 0}]}},
        )
    )
    assert (info.hostname, info.os_id, info.os_name, info.os_version) == ("web", "debian", "Debian 12", "12")
    assert info.kernel_release == "6.1"
    assert info.interfaces == (GuestInterface("eth0", "52:54:00:00:00:01", ("10.0.0.5/24",)),)


def test_what_the_agent_does_not_know_is_left_empty() -> None:
    unknown = failure(libvirt.VIR_ERR_INTERNAL_ERROR)
    assert read(Libvirt({OS: unknown, HOSTNAME: {"hostname": "web"}}, unknown)) == GuestInfo(hostname="web")


@pytest.mark.parametrize(
    "wrong",
    [
        failure(libvirt.VIR_ERR_AGENT_UNRESPONSIVE),
        failure(libvirt.VIR_ERR_OPERATION_FAILED),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
)
def test_an_agent_that_does_not_answer_well_is_none(wrong: Exception) -> None:
    with pytest.raises(GuestAgentUnavailable):
        read(Libvirt({OS: wrong, HOSTNAME: {}}))


def test_a_broken_connection_is_not_the_guests_fault() -> None:
    with pytest.raises(libvirt.libvirtError):
        read(Libvirt({OS: failure(libvirt.VIR_ERR_RPC), HOSTNAME: {}}, alive=False))


def test_words_are_printable_and_of_bounded_length() -> None:
    info = guest_info_from({"hostname": "a\x1b[31m\nb\u202e" + "x" * 100_000, "os.id": None, "os.name": 7}, None)
    assert info.hostname.startswith("a[31mbx")
    assert len(info.hostname) == 253
    assert (info.os_id, info.os_name, info.interfaces) == ("", "7", ())


def test_names_stay_unique_and_few_when_they_are_cut() -> None:
    nics = interfaces_from({"": {}, "a\n": {}, "a": {}, "x" * 70: {}, "x" * 80: {}})
    assert [nic.name for nic in nics] == ["a", "x" * 64]
    assert len(interfaces_from({f"nic{number}": {} for number in range(1000)})) == 64


def test_addresses_look_like_some() -> None:
    found = [
        {"addr": "10.0.0.5", "prefix": 24},
        {"addr": "fe80::1", "prefix": 64},
        {"addr": "<script>", "prefix": 24},
        {"addr": "10.0.0.6", "prefix": 240},
        {},
        *({"addr": "10.0.0.7", "prefix": 8} for _ in range(1000)),
    ]
    (nic,) = interfaces_from({"eth0": {"hwaddr": "not a MAC address", "addrs": found}})
    assert nic.mac_address == ""
    assert nic.ip_addresses[:3] == ("10.0.0.5/24", "fe80::1/64", "10.0.0.7/8")
    assert len(nic.ip_addresses) <= 64
