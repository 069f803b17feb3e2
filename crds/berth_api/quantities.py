"""Kubernetes quantities as exact integers.

Quantities are compared and summed by operator and agent alike; both must round the same way, or a claim would be
admitted by one and refused by the other. All amounts are integers: CPU in millicores, memory and storage in bytes.
Source: k8s.io/apimachinery/pkg/api/resource, "Quantity".
"""

from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from re import compile as regex
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from berth_api.markers import InWords

PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?$"
_QUANTITY = regex(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?")
_MAX_DIGITS = 64
_REMEMBERED = 4096
"""Texts whose amounts are kept: a cluster has few sizes, and each is read ten times for a binding."""
_MAX = Decimal(2**63 - 1)
"""Kubernetes keeps larger amounts as this one; we refuse them, for no sum may overflow."""
_BINARY: dict[str, int] = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL: dict[str, Decimal] = {
    letter: Decimal(10) ** power for letter, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
}


class QuantityError(ValueError):
    """The text is not a Kubernetes quantity."""


def parse(text: str | float) -> Decimal:
    """Read a quantity such as `1500m`, `2Gi` or `1e3` into its exact value.

    Raises:
        QuantityError: the text is not a quantity, or one beyond 2^63-1.
    """
    plain = str(text)
    match = _QUANTITY.fullmatch(plain) if len(plain) <= _MAX_DIGITS else None
    if match is None:
        raise QuantityError(f"{plain[:_MAX_DIGITS]!r} is not a quantity; write for example 500m, 2 or 4Gi")
    number, binary, decimal, exponent = match.groups()
    scale = _BINARY[binary] if binary else _DECIMAL[decimal] if decimal else Decimal(10) ** int(exponent or 0)
    value = Decimal(number) * scale
    if abs(value) > _MAX:
        raise QuantityError(f"{plain!r} is too large; the largest quantity is 2^63-1")
    return value


@lru_cache(maxsize=_REMEMBERED)
def to_bytes(text: str | float) -> int:
    """Bytes of a memory or storage quantity, rounded up to a whole byte."""
    return int(parse(text).to_integral_value(ROUND_CEILING))


@lru_cache(maxsize=_REMEMBERED)
def to_millis(text: str | float) -> int:
    """Millicores of a CPU quantity, rounded up to a whole millicore."""
    return int((parse(text) * 1000).to_integral_value(ROUND_CEILING))


def from_bytes(amount: int) -> str:
    """The shortest exact quantity for a number of bytes: `2Gi`, `2300Mi`, `1000`."""
    for suffix, factor in reversed(_BINARY.items()):
        if amount and amount % factor == 0:
            return f"{amount // factor}{suffix}"
    return str(amount)


def from_millis(amount: int) -> str:
    """The shortest exact quantity for a number of millicores: `2`, `1500m`."""
    whole, rest = divmod(amount, 1000)
    return f"{amount}m" if rest else str(whole)


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        raise QuantityError("a quantity is a number or a string, not a boolean")
    return str(value) if isinstance(value, int | float) else value


MeasuredQuantity = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": PATTERN,
            "minimum": 0,
            "maxLength": 32,
            "x-kubernetes-int-or-string": True,
        }
    ),
]
"""A Kubernetes quantity in a status."""
Quantity = Annotated[MeasuredQuantity, InWords("must be a quantity such as 500m, 2 or 4Gi, and not negative")]
"""A Kubernetes quantity, kept as the user wrote it."""


def at_least(field: str, least: str) -> str:
    """A CEL rule: the quantity in a field, where it is one, is no less than another CEL expression for one."""
    return f"!isQuantity(string({field})) || quantity(string({field})).compareTo({least}) >= 0"


def at_most(field: str, most: str) -> str:
    """A CEL rule: the quantity in a field, where it is one, is no more than another CEL expression for one."""
    return f"!isQuantity(string({field})) || quantity(string({field})).compareTo({most}) <= 0"
