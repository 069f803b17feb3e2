"""Columns of properties that are no numbers: each distinct value gets a code, and a row holds the code of its node's.

A rule about such a property is asked once per distinct value, and the answers are spread over all rows by one gather:
5,000 nodes in three zones cost three questions.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from berth_operator.scheduling.nodes import BoolArray, FloatArray

CodeArray = NDArray[np.intp]
V = TypeVar("V", bound=Hashable)
ABSENT = 0
"""Code of a row that has no value."""
_SLACK = 64


class Encoded(Generic[V]):
    """One property of all rows. `codes` is intp per row, as an index has to be; 0 where there is no value."""

    def __init__(self, values: Iterable[V | None] = ()) -> None:
        self._values: list[V | None] = [None]
        self._code_of: dict[V, int] = {}
        self._rows: CodeArray = np.zeros(0, dtype=np.intp)
        self._size = 0
        for row, value in enumerate(values):
            self.set(row, value)

    @property
    def codes(self) -> CodeArray:
        """The code of each row."""
        return self._rows[: self._size]

    @property
    def width(self) -> int:
        """How long a table over all codes is, absence included."""
        return len(self._values)

    def value(self, row: int) -> V | None:
        """The value of a row."""
        return self._values[int(self._rows[row])]

    def set(self, row: int, value: V | None) -> None:
        """Give a row, known or new, its value."""
        if row >= self._size:
            self._grow(row + 1)
        self._rows[row] = self._encode(value)
        if len(self._values) > 2 * self._size + _SLACK:
            self._forget_unused()

    def where(self, holds: Callable[[V | None], bool]) -> BoolArray:
        """True in rows whose value (None: it has none) satisfies `holds`."""
        table = np.fromiter((holds(value) for value in self._values), dtype=np.bool_, count=len(self._values))
        return table.take(self.codes)

    def map(self, rate: Callable[[V | None], float]) -> FloatArray:
        """float64 per row: what `rate` makes of its value (None: it has none)."""
        table = np.fromiter((rate(value) for value in self._values), dtype=np.float64, count=len(self._values))
        return table.take(self.codes)

    def where_any(self, values: Iterable[V]) -> BoolArray:
        """True in rows that have one of these values."""
        table = np.zeros(len(self._values), dtype=np.bool_)
        for value in values:
            code = self._code_of.get(value)
            if code is not None:
                table[code] = True
        return table.take(self.codes)

    def among(self, domains: CodeArray) -> BoolArray:
        """True in rows whose value has one of these codes."""
        table = np.zeros(len(self._values), dtype=np.bool_)
        table[domains] = True
        return table.take(self.codes)

    def present(self) -> BoolArray:
        """True in rows that have a value."""
        return np.asarray(self.codes != ABSENT)

    def _encode(self, value: V | None) -> int:
        if value is None:
            return ABSENT
        code = self._code_of.get(value)
        if code is None:
            code = self._code_of[value] = len(self._values)
            self._values.append(value)
        return code

    def _grow(self, size: int) -> None:
        if size > len(self._rows):
            larger = np.zeros(max(size, 2 * len(self._rows), _SLACK), dtype=np.intp)
            larger[: self._size] = self.codes
            self._rows = larger
        self._size = size

    def _forget_unused(self) -> None:
        """Values that no row has any longer: labels may change for ever."""
        values = [self._values[int(code)] for code in self.codes]
        self._values, self._code_of = [None], {}
        for row, value in enumerate(values):
            self._rows[row] = self._encode(value)
