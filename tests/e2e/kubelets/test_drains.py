"""Nodes are drained as anybody's are, by kubectl and no flag that gets its way: with VMs, once these are gone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from tests.e2e.kubelets.installations import ANCHORS, NAMESPACE, Installation, wait_until

from berth_dev.errors import CommandError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
NODE, GUEST = "node-2", "kept"


@pytest.fixture
def drained(berth: Installation) -> Iterator[Installation]:
    """Both nodes in service before and after."""
    _in_service(berth)
    try:
        yield berth
    finally:
        berth.cluster.kubectl("uncordon", NODE)
        berth.remove(GUEST)
        _in_service(berth)


def test_a_node_without_vms_is_drained_and_its_anchor_comes_back_with_it(drained: Installation) -> None:
    former = drained.anchor(NODE)["metadata"]["uid"]
    _drain(drained)
    assert _anchors(drained) == [], "whoever drains a node looks again, and is to find nothing"
    drained.cluster.kubectl("uncordon", NODE)
    wait_until(lambda: _anchors(drained) not in ([], [former]), "the anchor is back")


def test_a_node_with_a_vm_is_not_drained_before_the_vm_is_gone(drained: Installation) -> None:
    drained.cluster.kubectl.apply(_guest(drained))
    drained.wait_ready([GUEST])
    anchor = drained.anchor(NODE)["metadata"]["uid"]
    with pytest.raises(CommandError, match="violate the pod's disruption budget"):
        _drain(drained, seconds=15)
    assert (drained.phase(GUEST), _anchors(drained)) == ("Running", [anchor])
    with ThreadPoolExecutor(1) as beside:
        draining = beside.submit(_drain, drained)
        drained.remove(GUEST)
        draining.result()
    assert _anchors(drained) == []


def _drain(berth: Installation, seconds: int = 120) -> None:
    flags = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={seconds}s")
    berth.cluster.kubectl("drain", NODE, *flags, timeout=seconds + 20)


def _anchors(berth: Installation) -> list[str]:
    chosen = ("-l", ANCHORS, "--field-selector", f"spec.nodeName={NODE}")
    return [pod["metadata"]["uid"] for pod in berth.listed("pods", "-n", NAMESPACE, *chosen)]


def _in_service(berth: Installation) -> None:
    berth.spread_operators()
    wait_until(lambda: bool(_anchors(berth)), "each node has its anchor", 120)


def _guest(berth: Installation) -> list[dict[str, object]]:
    objects = list(yaml.safe_load_all(berth.examples()))
    vm = next(each for each in objects if each["kind"] == "VirtualMachine")
    vm["metadata"]["name"], vm["spec"]["nodeName"] = GUEST, NODE
    return [*(each for each in objects if each["kind"] != "VirtualMachine"), vm]
