"""What benchmarks take on their command lines, with errors that say what to change."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence


def parts_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """A parser of names with commas between them, each one of those known; they come in order, each once."""

    def parse(text: str) -> tuple[str, ...]:
        parts = tuple(sorted({part.strip() for part in text.split(",")}))
        unknown = [part for part in parts if part not in known]
        if unknown:
            raise ArgumentTypeError(f"no such part: {', '.join(unknown)}; there are {', '.join(known)}")
        return parts

    return parse


def count(text: str) -> int:
    """A whole number, at least 1."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """A whole number, at least 0."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a whole number, not {text!r}") from None
    if number < least:
        raise ArgumentTypeError(f"must be at least {least}, not {text}")
    return number
