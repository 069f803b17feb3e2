"""The nodes' labels in columns: one for each key that some node has and somebody has asked for."""

from collections import Counter
from collections.abc import Mapping, Sequence

from berth_operator.scheduling.columns import Encoded
from berth_operator.scheduling.nodes import NodeFacts


class LabelColumns:
    """Columns by key. Keys that no node has, which users make up as they like, share an empty one.

    `facts`: of each row's node, kept up by whoever owns it; a column is made of it when it is first asked for.
    """

    def __init__(self, facts: Sequence[NodeFacts | None]) -> None:
        self._facts = facts
        self._keys: Counter[str] = Counter()
        self._columns: dict[str, Encoded[str]] = {}
        self._empty: Encoded[str] = Encoded()

    def __len__(self) -> int:
        """Columns that are kept up."""
        return len(self._columns)

    def column(self, key: str) -> Encoded[str]:
        """The column of a label."""
        if key not in self._keys:
            return self._empty
        column = self._columns.get(key)
        if column is None:
            values = (facts.labels.get(key) if facts else None for facts in self._facts)
            column = self._columns[key] = Encoded(values)
        return column

    def change(self, row: int, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """A row's node has other labels; nobody has a column of a key that no node has."""
        self._keys.update(after.keys() - before.keys())
        for key in before.keys() - after.keys():
            self._keys[key] -= 1
            if not self._keys[key]:
                del self._keys[key]
                self._columns.pop(key, None)
        for key, column in self._columns.items():
            column.set(row, after.get(key))
        self._empty.set(row, None)
