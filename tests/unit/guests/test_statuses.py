"""Whatever a guest says, its status stays readable, bounded and quiet."""

from hypothesis import given
from hypothesis import strategies as st

from berth_agent.guests.statuses import settle, to_status
from berth_agent.hypervisor.states import GuestInfo, GuestInterface

ADDRESSES = st.one_of(st.text(max_size=50), st.ip_addresses().map(str), st.ip_addresses(v=4).map(lambda ip: f"{ip}/24"))
INTERFACES = st.builds(
    GuestInterface, name=st.text(max_size=80), mac_address=st.text(max_size=80), ip_addresses=st.tuples(ADDRESSES)
)
INFOS = st.builds(
    GuestInfo,
    hostname=st.text(max_size=999),
    os_name=st.text(max_size=999),
    interfaces=st.lists(INTERFACES, max_size=40).map(tuple),
)


def with_addresses(*addresses: str) -> GuestInfo:
    return GuestInfo(interfaces=(GuestInterface("eth0", "52:54:00:00:00:01", addresses),))


@given(INFOS)
def test_a_status_is_bounded_printable_and_has_each_nic_once(info: GuestInfo) -> None:
    status = to_status(info)
    names = [interface.name for interface in status.interfaces]
    assert len(status.hostname) <= 253
    assert len(names) == len(set(names)) <= 16
    assert all(name and len(name) <= 32 and name.isprintable() for name in names)
    assert all(len(interface.ip_addresses) <= 16 for interface in status.interfaces)
    assert status.hostname.isprintable()
    assert len(status.model_dump_json()) < 32_000


@given(INFOS)
def test_what_is_settled_stays_as_it_is(info: GuestInfo) -> None:
    assert settle(settle(info)) == settle(info)


def test_a_status_says_what_the_guest_says() -> None:
    info = GuestInfo(
        hostname="web",
        os_id="debian",
        os_name="Debian GNU/Linux 12 (bookworm)",
        os_version="12",
        kernel_release="6.1.0-13-amd64",
        interfaces=(GuestInterface("eth0", "52:54:00:00:00:01", ("10.0.0.5/24", "fd00::5/64")),),
    )
    assert to_status(info).to_api() == {
        "hostname": "web",
        "osId": "debian",
        "osName": "Debian GNU/Linux 12 (bookworm)",
        "osVersion": "12",
        "kernelRelease": "6.1.0-13-amd64",
        "interfaces": [
            {"name": "eth0", "macAddress": "52:54:00:00:00:01", "ipAddresses": ["10.0.0.5/24", "fd00::5/64"]}
        ],
    }


def test_the_order_of_nics_and_addresses_does_not_matter() -> None:
    one, other = with_addresses("10.0.0.5/24", "fd00::5/64").interfaces[0], GuestInterface("a", "", ("10.0.1.1/24",))
    turned = with_addresses("fd00::5/64", "10.0.0.5/24").interfaces[0]
    assert settle(GuestInfo(interfaces=(one, other))) == settle(GuestInfo(interfaces=(other, turned)))


def test_loopback_link_local_and_unreadable_addresses_are_left_out_and_so_are_nics_without_others() -> None:
    noise = ("127.0.0.1/8", "::1/128", "fe80::1/64", "fe80::1%eth0/64", "169.254.3.4/16", "0.0.0.0/0", "nonsense", "")
    assert settle(with_addresses(*noise, "10.0.0.5/24")) == with_addresses("10.0.0.5/24")
    assert settle(with_addresses(*noise)).interfaces == ()


def test_names_that_are_one_after_they_were_cut_are_told_once() -> None:
    interfaces = tuple(GuestInterface("x" * 40 + str(i), "", (f"10.0.0.{i}/24",)) for i in range(1, 4))
    assert len(to_status(GuestInfo(interfaces=interfaces)).interfaces) == 1
