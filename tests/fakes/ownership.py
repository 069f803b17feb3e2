"""Server-side apply as the fake API server does it: who owns which leaf, and what an apply adds and takes away.

A leaf is a path of keys to a value that is no object. Items of list-maps are reached by their key (`type` of
conditions, `digest` of images, `cidr` of subnets, `name` of the rest); every other list is one value.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

Path = tuple[str, ...]
_KEYS = {"conditions": "type", "images": "digest", "subnets": "cidr"}


def map_key(field: str, value: Any) -> str | None:
    """The field that identifies the items of this list, None where the list is one value."""
    key = _KEYS.get(field, "name")
    is_map = isinstance(value, list) and value and all(isinstance(item, dict) and key in item for item in value)
    return key if is_map else None


def leaves(tree: dict[str, Any], prefix: Path = ()) -> Iterator[Path]:
    """Paths of all leaves."""
    for field, value in tree.items():
        path = (*prefix, field)
        key = map_key(field, value)
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        elif key:
            for item in value:
                own, rest = (*path, f"{key}={item[key]}"), {name: part for name, part in item.items() if name != key}
                yield from leaves(rest, own) if rest else (own,)
        else:
            yield path


def merge(live: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    """`live` with everything that `applied` says."""
    result = deepcopy(live)
    for field, value in applied.items():
        old = result.get(field)
        key = map_key(field, value)
        if isinstance(value, dict) and isinstance(old, dict):
            result[field] = merge(old, value)
        elif key and isinstance(old, list):
            result[field] = _merge_items(old, value, key)
        else:
            result[field] = deepcopy(value)
    return result


def _merge_items(old: list[Any], new: list[Any], key: str) -> list[Any]:
    items = {item[key]: item for item in old}
    for item in new:
        items[item[key]] = merge(items.get(item[key], {}), item)
    return list(items.values())


def remove(tree: dict[str, Any], path: Path) -> None:
    """Take the leaf away, with every object and item that becomes empty."""
    field, *rest = path
    value = tree.get(field)
    if not rest or value is None:
        tree.pop(field, None)
    elif isinstance(value, dict):
        remove(value, tuple(rest))
        if not value:
            tree.pop(field)
    elif isinstance(value, list):
        _remove_in_item(tree, field, rest)


def _remove_in_item(tree: dict[str, Any], field: str, rest: list[str]) -> None:
    key, _, name = rest[0].partition("=")
    for item in [item for item in tree[field] if item.get(key) == name]:
        if len(rest) > 1:
            remove(item, tuple(rest[1:]))
        if set(item) <= {key}:
            tree[field].remove(item)
    if not tree[field]:
        tree.pop(field)
