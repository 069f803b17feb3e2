"""One address and one MAC belong to one NIC of a network."""

import pytest
from tests.unit.network.samples import entry, request

from berth_agent.network.attachments import Attachment
from berth_agent.network.conflicts import refuse_conflicts
from berth_agent.network.errors import AddressConflict

MAC = "52:54:00:00:00:01"
MINE = request(ip_addresses=("10.0.0.5/24",), mac_address=MAC)


def theirs(**values: object) -> object:
    return request(owner_uid="other", vm_name="db", **values)


@pytest.mark.parametrize(
    "other",
    [
        entry(request=theirs(ip_addresses=("10.0.0.5/16",))),
        entry(request=theirs(mac_address=MAC)),
        entry(
            request=theirs(),
            attachment=Attachment(
                interface="default",
                container_id="c",
                sandbox="s",
                tap_device="t",
                mac_address="m",
                ip_addresses=("10.0.0.5/24",),
            ),
        ),
    ],
)
def test_what_another_vm_has_or_is_about_to_have_is_refused(other: object) -> None:
    with pytest.raises(AddressConflict, match="is that of VM default/db on this node"):
        refuse_conflicts(MINE, [other])  # type: ignore[list-item] # entries, built loosely


def test_the_same_nic_another_network_and_other_addresses_are_no_conflict() -> None:
    refuse_conflicts(
        MINE,
        [
            entry(request=MINE),
            entry(request=theirs(network_name="elsewhere", ip_addresses=("10.0.0.5/24",), mac_address=MAC)),
            entry(request=theirs(ip_addresses=("10.0.0.6/24",), mac_address="52:54:00:00:00:02")),
        ],
    )
