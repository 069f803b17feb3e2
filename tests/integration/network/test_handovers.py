"""An attachment goes to another owner while its guest uses it: not one packet is lost, and all of it can be undone."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.network import networks
from tests.integration.network.conftest import Guests
from tests.integration.network.guests import run
from tests.integration.network.nodes import Node
from tests.integration.network.test_repairs import plugged_in, why_broken

pytestmark = pytest.mark.integration


async def test_its_guest_notices_nothing_and_the_next_owner_can_mend_and_undo_it(
    node: Node, guests: Guests, tmp_path: Path
) -> None:
    wanted, attachment, guest = await plugged_in(node, guests, tmp_path / "dhcp.sh")
    before, agent = node.remains(), node.attacher()
    pinging = await guest.start("busybox", "ping", "-i", "0.02", "-c", "50", "-W", "1", networks.GATEWAY)
    theirs = replace(wanted, owner_uid="the-next-owner")
    for _ in range(2):  # as after a kill
        await agent.hand_over(wanted.owner_uid, theirs.owner_uid)
    assert await agent.owners() == frozenset({theirs.owner_uid})
    assert await why_broken(node.attacher(), theirs) is None
    after = node.remains()
    assert {name: found for name, found in after.items() if name != "records"} == {
        name: found for name, found in before.items() if name != "records"
    }
    assert await node.attacher().attach(theirs) == attachment, "it is the same request, of another owner"
    node.attacher().announce(theirs.owner_uid, attachment)
    assert pinging.stdout is not None
    assert b"50 packets received, 0% packet loss" in await pinging.stdout.read()

    await run("ip", "netns", "delete", attachment.sandbox)
    mended = await node.attacher().attach(theirs)
    assert mended.tap_device == attachment.tap_device, "its guest has the tap open"
    assert await guest.pings(networks.GATEWAY)
