"""Who asks for which address: the index says what a look at every VM would say, whatever happened before."""

from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from berth_api import kinds
from berth_api.virtualmachines import VirtualMachine
from berth_operator.controllers.asking import Asking
from berth_operator.store import Collection

MACS = [f"02:be:00:00:00:0{digit}" for digit in range(3)]
TEXTS = ["10.7.0.5", "10.7.0.6", "fd00::5", "fd00:0::5", "no address"]
NETWORKS = ["lan", "wan"]
NAMES = ["a", "b", "c", "d"]


def machine(name: str, uid: str, version: int, nics: list[dict[str, Any]]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": uid, "resourceVersion": str(version)}
    named = [{"name": f"nic-{number}", "networkName": "lan", **nic} for number, nic in enumerate(nics)]
    return {"metadata": metadata, "spec": {"networks": named}}


def asks_for(vm: VirtualMachine, network: str, text: str) -> bool:
    texts = {each for nic in vm.spec.interfaces if nic.network_name == network for each in nic.ip_addresses}
    return ip_address(text) in map(ip_address, texts - {"no address"})


@pytest.mark.parametrize("seed", range(20))
def test_it_says_what_a_look_at_all_vms_says(seed: int) -> None:
    dice, machines = Random(seed), Collection(kinds.VIRTUAL_MACHINE, VirtualMachine.from_api)
    asking = Asking(machines)
    for version in range(1, 80):
        name, uid = dice.choice(NAMES), f"uid-{dice.randint(0, 5)}"
        nics = [
            {
                "networkName": dice.choice(NETWORKS),
                **({"macAddress": dice.choice(MACS)} if dice.random() < 0.5 else {}),
                "ipAddresses": dice.sample(TEXTS, dice.randint(0, 3)),
            }
            for _ in range(dice.randint(0, 3))
        ]
        body = machine(name, f"{name}-{uid}", version, nics)
        if dice.random() < 0.3:
            machines.remove(body)
        else:
            machines.upsert(body)
        but = f"{dice.choice(NAMES)}-{uid}"
        others = [vm for vm in machines if vm.metadata.uid != but]
        for mac in MACS:
            owners = {"/".join(vm.key) for vm in others if any(nic.mac_address == mac for nic in vm.spec.interfaces)}
            found = asking.for_mac(mac, but=but)
            assert found in owners if owners else found is None
        for network in NETWORKS:
            for text in TEXTS[:3]:
                owners = {"/".join(vm.key) for vm in others if asks_for(vm, network, text)}
                found = asking.for_address(network, ip_address(text), but=but)
                assert found in owners if owners else found is None


def test_of_vms_that_are_gone_nothing_is_kept() -> None:
    machines = Collection(kinds.VIRTUAL_MACHINE, VirtualMachine.from_api)
    machines.upsert(machine("a", "uid-a", 1, [{"macAddress": MACS[0], "ipAddresses": TEXTS[:2]}]))
    asking = Asking(machines)  # what is there before it counts, too
    assert asking.for_mac(MACS[0], but="") == "default/a"
    assert len(asking) == 3
    machines.remove(machine("a", "uid-a", 2, []))
    assert len(asking) == 0
