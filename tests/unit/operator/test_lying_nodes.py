"""What a node's agent reports is bounded by what it cannot write, and keys that seal nothing count as none."""

from base64 import b64encode
from typing import Any

import pytest
from nacl.encoding import Base64Encoder
from nacl.public import PrivateKey, SealedBox
from tests.unit.operator.worlds import GIB, PUBLIC_KEY, hypervisor_status

from berth_api.allocatable import Amounts
from berth_api.hypervisors import Hypervisor
from berth_operator.controllers.nodelabels import labels_of
from berth_operator.inventory import facts_of
from berth_operator.objects import Node
from berth_operator.sealing import can_seal_to, seal

LIE = {"cpu": "512", "memory": "64Ti"}


def hypervisor(spec: dict[str, Any] | None = None, **status: Any) -> Hypervisor:
    body = {"metadata": {"name": "n"}, "spec": spec or {}, "status": hypervisor_status(**status)}
    return Hypervisor.from_api(body)


def node(**allocatable: str) -> Node:
    return Node.from_api({"metadata": {"name": "n"}, "status": {"allocatable": allocatable}})


def test_a_node_that_boasts_gets_no_more_than_its_nodes_allocatable() -> None:
    found = facts_of(hypervisor(capacity=LIE), node(cpu="4", memory="8Gi")).allocatable
    assert (found.cpu, found.memory) == (4 * 4000, 8 * GIB)


def test_only_the_administrator_stretches_what_is_allocatable() -> None:
    spec = {"overcommit": {"cpu": 2, "memory": 1.5}}
    found = facts_of(hypervisor(spec, capacity=LIE), node(cpu="3900m", memory="8Gi")).allocatable
    assert (found.cpu, found.memory) == (7800, 12 * GIB)


def test_what_pods_request_is_taken_from_the_bound_too() -> None:
    told = hypervisor(capacity=LIE, podRequests={"cpu": "250m", "memory": "1Gi"})
    found = facts_of(told, node(cpu="1", memory="8Gi")).allocatable
    assert (found.cpu, found.memory) == (4 * 1000 - 250, 7 * GIB)


def test_a_node_that_has_less_than_its_kubelet_says_is_believed() -> None:
    found = facts_of(hypervisor(cpu="1", memory="4Gi"), node(cpu="4", memory="8Gi")).allocatable
    assert (found.cpu, found.memory) == (4000, 4 * GIB - GIB // 2)


def test_storage_is_what_the_agent_says() -> None:
    found = facts_of(hypervisor(capacity=LIE), node(cpu="4", memory="8Gi")).allocatable
    assert found.pools == {"default": 100 * GIB}


@pytest.mark.parametrize("where", [None, Node.from_api({"metadata": {"name": "n"}}), node(cpu="4")])
def test_without_a_kubelets_word_the_agents_is_taken(where: Node | None) -> None:
    found = facts_of(hypervisor(cpu="2", memory="4Gi"), where).allocatable
    assert found == Amounts(8000, 4 * GIB - GIB // 2, {"default": 100 * GIB})


def test_a_key_that_seals_nothing_counts_as_none() -> None:
    """Points of small order: libsodium reads them as keys, and everybody could open what is sealed to them."""
    for point in (0, 1):
        key = b64encode(point.to_bytes(32, "little")).decode()
        assert facts_of(hypervisor(publicKey=key), None).public_key == ""
        with pytest.raises(ValueError, match="not a Curve25519 public key"):
            seal(b"secret", key)


@pytest.mark.parametrize("key", ["", "AAAA", "not base64!", PUBLIC_KEY[:-4], "ü" * 44])
def test_what_is_no_key_counts_as_none(key: str) -> None:
    assert not can_seal_to(key)
    assert facts_of(hypervisor(publicKey=key), None).public_key == ""


def test_only_the_node_whose_key_it_is_opens_what_was_sealed() -> None:
    mine, another = PrivateKey.generate(), PrivateKey.generate()
    sealed = seal(b"secret", mine.public_key.encode(Base64Encoder).decode())
    assert SealedBox(mine).decrypt(sealed.encode(), Base64Encoder) == b"secret"
    with pytest.raises(Exception, match="error occurred trying to decrypt"):
        SealedBox(another).decrypt(sealed.encode(), Base64Encoder)


def test_a_node_that_makes_up_cpu_models_does_not_grow_its_node_without_end() -> None:
    names = [f"model-{number}" for number in range(20_000)]
    labels = labels_of(hypervisor(cpuModels=names))
    assert sum(key.startswith("cpu-model.") for key in labels) == 512


@pytest.mark.parametrize("model", ["a/b", "x=y", "", "a" * 64, "-a", "ünï", "a b", "a\n"])
def test_a_cpu_model_that_is_no_label_becomes_none(model: str) -> None:
    assert not any(key.startswith("cpu-model.") for key in labels_of(hypervisor(cpuModels=[model])))
