"""What is asked for is checked before anything is made."""

import argparse
from typing import Any

import pytest

from berth_dev import __main__ as command_line
from berth_dev.errors import DevError
from berth_dev.hollow.arguments import options_of
from berth_dev.hollow.options import Faults, HollowOptions, Shape, Taint


def arguments(*argv: str) -> argparse.Namespace:
    return command_line.parser().parse_args(["hollow", *argv])


def test_left_out_options_are_the_defaults() -> None:
    assert options_of(arguments()) == HollowOptions()


def test_every_option_arrives() -> None:
    options = options_of(
        arguments(
            *("--nodes", "3", "--prefix", "sim", "--zones", "2", "--cpu", "8", "--memory", "16Gi"),
            *("--pool-size", "1Gi", "--accelerator", "tcg", "--pool", "fast", "--network", "lan"),
            *("--label", "rack=r1", "--taint", "gpu=yes:NoSchedule", "--heartbeat", "5", "--boot-delay", "2"),
            *("--admission-delay", "0.5", "--refuse", "0.25", "--seed", "7"),
            *("--refusing", "sim-0001", "--silent", "sim-0003", "--keep"),
        )
    )
    assert options == HollowOptions(
        count=3,
        prefix="sim",
        zones=2,
        shape=Shape(cpu="8", memory="16Gi", pool_size="1Gi", accelerator="tcg", pools=("fast",), networks=("lan",)),
        labels={"rack": "r1"},
        taints=(Taint("gpu", "yes", "NoSchedule"),),
        heartbeat_interval=5,
        heartbeat_valid=20,
        boot_delay=2,
        keep=True,
        faults=Faults(
            refuse_probability=0.25,
            seed=7,
            refusing=frozenset({"sim-0001"}),
            admission_delay=0.5,
            silent=frozenset({"sim-0003"}),
        ),
    )


def test_names_are_in_order_and_zones_take_turns() -> None:
    options = HollowOptions(count=12, zones=3)
    assert options.names[0] == "hollow-0001"
    assert sorted(options.names) == list(options.names)
    assert [options.zone(number) for number in range(4)] == ["zone-1", "zone-2", "zone-3", "zone-1"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"count": 0}, "1 to 20000"),
        ({"prefix": "Node_1"}, "a-z, 0-9 and -"),
        ({"zones": 0}, "at least one zone"),
        ({"heartbeat_interval": 0}, "times are positive"),
        ({"count": 2, "faults": Faults(silent=frozenset({"hollow-0003"}))}, "there are hollow-0001 to hollow-0002"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_change(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DevError, match=said):
        HollowOptions(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cpu": "many"}, "not a quantity"),
        ({"memory": "0"}, "some memory"),
        ({"pool_size": "-1Gi"}, "some storage"),
        ({"accelerator": "xen"}, "kvm or tcg"),
        ({"machine_types": ()}, "machine type"),
    ],
)
def test_a_node_that_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DevError, match=said):
        Shape(**wrong)


@pytest.mark.parametrize("text", ["gpu", "gpu=yes", "gpu:Never", ":NoSchedule"])
def test_a_taint_is_written_as_for_kubectl(text: str) -> None:
    with pytest.raises(DevError, match="a taint is"):
        Taint.read(text)


def test_a_taint_needs_no_value() -> None:
    assert Taint.read("gpu:NoExecute").to_api() == {"key": "gpu", "value": "", "effect": "NoExecute"}


@pytest.mark.parametrize("wrong", [{"refuse_probability": 1.5}, {"admission_delay": -1.0}])
def test_faults_have_bounds(wrong: dict[str, float]) -> None:
    with pytest.raises(DevError):
        Faults(**wrong)  # type: ignore[arg-type]  # the types are right, only not told apart


def test_chance_is_as_likely_as_was_asked_and_repeats_itself() -> None:
    faults = Faults(refuse_probability=0.25, seed=1)
    asked = [(f"hollow-{node:04d}", ("default", f"vm-{vm}")) for node in range(50) for vm in range(40)]
    refused = [faults.refuses(*one) for one in asked]
    assert 0.2 < sum(refused) / len(refused) < 0.3
    assert refused == [Faults(refuse_probability=0.25, seed=1).refuses(*one) for one in asked]
    assert refused != [Faults(refuse_probability=0.25, seed=2).refuses(*one) for one in asked]
