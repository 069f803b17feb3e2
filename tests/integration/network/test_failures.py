"""What goes wrong on ADD is undone by DEL, whatever it is; what goes wrong on DEL is done again."""

import asyncio
import dataclasses
import os
import sys
from pathlib import Path

import pytest
from tests.integration.network import networks, scripted
from tests.integration.network.guests import run
from tests.integration.network.nodes import Node, running

from berth_agent.network.attacher import Attacher
from berth_agent.network.attachments import AttachmentRequest
from berth_agent.network.errors import (
    AddressConflict,
    AddressNotHonoured,
    CapabilityMissing,
    NetworkError,
    PluginFailed,
    PluginNotFound,
    PluginTimedOut,
    RequestInvalid,
)

pytestmark = pytest.mark.integration


def scripted_request(node: Node, log: Path, **on: str) -> AttachmentRequest:
    return networks.request(
        networks.chain(networks.bridge(networks.host_local(node.root)), scripted.plugin(log, **on)),
    )


async def nothing_left(agent: Attacher, node: Node) -> None:
    assert await agent.owners() == frozenset()
    remains = node.remains()
    assert not remains["reservations"]
    assert not remains["records"]
    assert not remains["processes"]
    assert not [name for name in remains["links"] if name.startswith(("bt", "bv"))]


@pytest.mark.parametrize(
    ("on", "error", "retryable"),
    [
        ("fail 7", PluginFailed, False),
        ("fail 100", PluginFailed, True),
        ("garble", PluginFailed, True),
        ("hang", PluginTimedOut, True),
    ],
)
async def test_a_failed_add_is_followed_by_del_of_the_whole_chain(
    on: str,
    error: type[NetworkError],
    retryable: bool,
    node: Node,
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    agent = node.attacher(plugin_deadline=1.5)
    with pytest.raises(error) as caught:
        await agent.attach(scripted_request(node, log, ADD=on))
    assert caught.value.retryable is retryable
    assert scripted.commands(log) == ["ADD", "DEL"]
    assert "sleep" not in running()
    await nothing_left(agent, node)


async def test_a_plugin_error_is_told_as_the_plugin_said_it(node: Node, tmp_path: Path) -> None:
    with pytest.raises(PluginFailed, match=r"scripted failed on ADD \(code 101\): told to fail; twice"):
        await node.attacher().attach(scripted_request(node, tmp_path / "log", ADD="fail 101"))


async def test_a_busy_plugin_is_run_again(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    await node.attacher().attach(scripted_request(node, log, ADD="busy-once"))
    assert scripted.commands(log) == ["ADD", "ADD"]


async def test_a_plugin_that_stays_busy_ends_in_a_retryable_error(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(PluginFailed) as caught:
        await node.attacher(plugin_attempts=2).attach(scripted_request(node, log, ADD="fail 11"))
    assert caught.value.retryable
    assert scripted.commands(log) == ["ADD", "ADD", "DEL"]


async def called(log: Path, command: str) -> None:
    async with asyncio.timeout(10):
        while command not in scripted.commands(log):  # noqa: ASYNC110 - the plugin is another process
            await asyncio.sleep(0.01)


async def test_cancelling_add_and_then_its_clean_up_does_not_skip_del(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    agent = node.attacher()
    attaching = asyncio.create_task(agent.attach(scripted_request(node, log, ADD="hang", DEL="slow")))
    await called(log, "ADD")
    attaching.cancel()
    await called(log, "DEL")
    attaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attaching
    assert scripted.commands(log) == ["ADD", "DEL"]
    assert "sleep" not in running()
    await nothing_left(agent, node)


async def test_cancelling_detach_does_not_stop_it(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    agent = node.attacher()
    wanted = scripted_request(node, log, DEL="slow")
    await agent.attach(wanted)
    detaching = asyncio.create_task(agent.detach(wanted.owner_uid, wanted.interface))
    await called(log, "DEL")
    detaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await detaching
    await nothing_left(agent, node)


async def test_a_failed_del_is_repeated_with_what_add_was_given(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    wanted = scripted_request(node, log, DEL="fail 100")
    await node.attacher().attach(wanted)
    with pytest.raises(PluginFailed):
        await node.attacher().detach(wanted.owner_uid, wanted.interface)
    assert await node.attacher().owners() == {wanted.owner_uid}

    (node.root / "plugins" / "scripted").write_text(
        scripted.SOURCE.replace('startswith("fail")', 'startswith("never")')
    )
    await node.attacher().detach(wanted.owner_uid, wanted.interface)

    add, first, second = scripted.calls(log)
    assert first == second
    assert first["config"]["prevResult"]["ips"] == add["config"]["prevResult"]["ips"]
    assert first["env"] == add["env"]
    await nothing_left(node.attacher(), node)


async def test_detaching_twice_and_what_was_never_there_is_fine(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    wanted = scripted_request(node, log)
    agent = node.attacher()
    await agent.detach(wanted.owner_uid, wanted.interface)
    await agent.attach(wanted)
    await agent.detach(wanted.owner_uid, wanted.interface)
    await agent.detach(wanted.owner_uid, wanted.interface)
    assert scripted.commands(log) == ["ADD", "DEL"]
    await nothing_left(agent, node)


async def test_del_finds_a_namespace_even_when_the_sandbox_is_gone(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    wanted = scripted_request(node, log)
    attachment = await node.attacher().attach(wanted)
    await run("ip", "netns", "delete", attachment.sandbox)
    await node.attacher().detach(wanted.owner_uid, wanted.interface)
    assert [(call["command"], call["has_netns"]) for call in scripted.calls(log)] == [("ADD", True), ("DEL", True)]
    assert not node.remains()["namespaces"]


async def test_every_plugin_gets_the_environment_of_the_specification(node: Node, tmp_path: Path) -> None:
    log = tmp_path / "log"
    attachment = await node.attacher().attach(scripted_request(node, log))
    (call,) = scripted.calls(log)
    assert call["env"] == {
        "CNI_CONTAINERID": attachment.container_id,
        "CNI_NETNS": f"/run/netns/{attachment.sandbox}",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1",
        "CNI_PATH": os.pathsep.join(map(str, node.cni_bin_dirs)),
    }


async def test_a_missing_plugin_is_named_and_nothing_is_begun(node: Node) -> None:
    agent = node.attacher()
    chain = networks.chain(networks.bridge(networks.static()), {"type": "not-there"})
    with pytest.raises(PluginNotFound, match=r"'not-there' was not found in: .+\. Install it on the node"):
        await agent.attach(networks.request(chain, ip_addresses=("10.9.0.7/24",)))
    await nothing_left(agent, node)


async def test_an_address_that_no_plugin_takes_is_refused(node: Node) -> None:
    agent = node.attacher()
    ptp = networks.chain({"type": "ptp", "ipam": networks.host_local(node.root)})
    with pytest.raises(CapabilityMissing, match=r"cannot be given ips, mac: add"):
        await agent.attach(networks.request(ptp, ip_addresses=("10.9.0.7/24",), mac_address=networks.MAC))
    await nothing_left(agent, node)


async def test_an_address_that_the_chain_ignores_is_refused(node: Node) -> None:
    agent = node.attacher()
    deaf = networks.bridge(networks.host_local(node.root), capabilities={})
    liar = {**scripted.plugin(node.root / "log"), "capabilities": {"ips": True, "mac": True}}
    for asked in ({"ip_addresses": ("10.9.0.77/24",)}, {"mac_address": networks.MAC}):
        with pytest.raises(AddressNotHonoured):
            await agent.attach(networks.request(networks.chain(deaf, liar), **asked))
    await nothing_left(agent, node)


async def test_two_vms_that_want_the_same_address_or_mac(node: Node) -> None:
    agent = node.attacher()
    chain = networks.chain(networks.bridge(networks.static()))
    fixed = {"ip_addresses": ("10.9.0.7/24",), "mac_address": networks.MAC}
    requests = [networks.request(chain, owner_uid=f"uid-{n}", vm_name=f"vm{n}", **fixed) for n in range(2)]
    results = await asyncio.gather(*map(agent.attach, requests), return_exceptions=True)
    assert sorted(type(result) for result in results if isinstance(result, Exception)) == [AddressConflict]
    with pytest.raises(AddressConflict, match=rf"MAC {networks.MAC} .* is that of VM default/vm\d on this node"):
        await agent.attach(dataclasses.replace(requests[0], owner_uid="uid-9", ip_addresses=("10.9.0.9/24",)))


async def test_an_mtu_greater_than_the_chains_is_refused(node: Node) -> None:
    agent = node.attacher()
    chain = networks.chain(networks.bridge(networks.static()))
    with pytest.raises(RequestInvalid, match="has MTU 9000, its chain 1500"):
        await agent.attach(networks.request(chain, ip_addresses=("10.9.0.7/24",), mtu=9000))
    await nothing_left(agent, node)


AGENT = """
import asyncio, json, sys
from pathlib import Path
from types import SimpleNamespace
from tests.integration.network.test_failures import scripted_request
from tests.integration.network.nodes import Node
node = Node(Path(sys.argv[1]), tuple(map(Path, sys.argv[3:])))
wanted = scripted_request(node, Path(sys.argv[2]), ADD="kill-agent")
asyncio.run(node.attacher().attach(wanted))
"""


async def test_an_agent_killed_in_the_middle_of_add_leaves_nothing_that_the_next_cannot_release(
    node: Node, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    wanted = scripted_request(node, log)
    arguments = map(str, (node.root, log, *node.cni_bin_dirs))
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", AGENT, *arguments)
    assert await agent.wait() < 0
    assert len(node.remains()["reservations"]) == 1

    successor = node.attacher()
    (state,) = (await successor.observe())[wanted.owner_uid]
    assert (state.attachment, state.broken) == (None, "it was never completed")
    attachment = await successor.attach(wanted)

    assert len(node.remains()["reservations"]) == 1
    killed, released, _ = scripted.calls(log)
    assert (released["command"], released["env"]) == ("DEL", killed["env"])
    assert attachment.container_id != killed["env"]["CNI_CONTAINERID"]
