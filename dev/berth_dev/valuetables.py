"""The chart's values as a table, from the comments over them.

A value is documented by lines that begin with `# --` right above its key. What has no such comment is a mapping whose
own keys have; so a value that nobody explained is an error here, not a gap in the documentation.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

_KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):")
_NOTE = re.compile(r"^ *# -- (.*)$")


class Undocumented(Exception):
    """A value has no comment over it."""


def values_table(text: str) -> str:
    """A Markdown table of all values, with their defaults.

    Args:
        text: The chart's values.yaml.

    Raises:
        Undocumented: some have no comment.
    """
    notes = dict(_notes(text))
    lines = ["| value | default | what |", "|---|---|---|"]
    for path, default in _leaves(yaml.safe_load(text), (), notes):
        if path not in notes:
            raise Undocumented(f"{'.'.join(path)} has no comment: put one over it, beginning with `# --`")
        shown = json.dumps(default, ensure_ascii=False)
        lines.append(f"| `{'.'.join(path)}` | `{_cell(shown)}` | {_cell(notes[path])} |")
    return "\n".join(lines) + "\n"


def _notes(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Paths that have comments, and the comments."""
    keys: list[tuple[int, str]] = []
    note: list[str] = []
    for line in text.splitlines():
        if said := _NOTE.match(line):
            note.append(said.group(1))
        elif found := _KEY.match(line):
            indent, name = len(found.group(1)), found.group(2)
            keys = [*((depth, key) for depth, key in keys if depth < indent), (indent, name)]
            if note:
                yield tuple(key for _, key in keys), " ".join(note)
            note = []


def _leaves(
    value: Any, path: tuple[str, ...], notes: dict[tuple[str, ...], str]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value and path not in notes:
        for name, child in value.items():
            yield from _leaves(child, (*path, name), notes)
    else:
        yield path, value


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
