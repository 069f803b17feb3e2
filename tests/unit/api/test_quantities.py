"""Quantities are exact, round up, and mean what Kubernetes means by them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

from berth_api.quantities import QuantityError, from_bytes, from_millis, parse, to_bytes, to_millis


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("1", 1),
        ("1Ki", 1024),
        ("1.5Gi", 3 << 29),
        ("1k", 1000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("5.", 5),
        (".5k", 500),
        ("1m", 1),
        ("1n", 1),
        ("7Ei", 7 << 60),
        (1024, 1024),
        (1.5, 2),
    ],
)
def test_bytes_are_whole_and_rounded_up(text: str | float, amount: int) -> None:
    assert to_bytes(text) == amount


@pytest.mark.parametrize(
    ("text", "amount"), [("1", 1000), ("500m", 500), ("0.5", 500), ("1u", 1), (2, 2000), ("1k", 10**6)]
)
def test_millicores_are_whole_and_rounded_up(text: str | float, amount: int) -> None:
    assert to_millis(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 Gi",
        "1GiB",
        "Gi",
        "--1",
        "1e",
        "NaN",
        "inf",
        "1_000",
        "0x10",
        "1\n",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "1" * 65,
        "1e99999",
        ".",
        "1Gi1",
    ],
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match="write for example 500m, 2 or 4Gi"):
        parse(text)


@pytest.mark.parametrize("text", ["1e999", "8Ei", "9223372036854775808", "-1e30"])
def test_what_no_sum_could_hold_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match="too large"):
        parse(text)


@given(st.integers(0, 2**62))
def test_bytes_come_back(amount: int) -> None:
    assert to_bytes(from_bytes(amount)) == amount


@given(st.integers(0, 2**53))
def test_millicores_come_back(amount: int) -> None:
    assert to_millis(from_millis(amount)) == amount


@given(st.decimals(0, 10**6, places=3), st.sampled_from(["", "Ki", "Mi", "Gi", "m", "k", "M", "G"]))
def test_we_read_as_others_do(number: Decimal, suffix: str) -> None:
    theirs = parse_quantity(f"{number}{suffix}")  # type: ignore[no-untyped-call]  # upstream has no annotations
    assert parse(f"{number}{suffix}") == theirs


@pytest.mark.parametrize(("amount", "text"), [(0, "0"), (1000, "1000"), (1 << 30, "1Gi"), (2300 << 20, "2300Mi")])
def test_bytes_are_written_short(amount: int, text: str) -> None:
    assert from_bytes(amount) == text
