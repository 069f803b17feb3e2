"""Objects that a model takes, drawn from its schema: a start that is bounded, then made whole by the model."""

from typing import Any

from hypothesis import strategies as st
from pydantic import ValidationError

from berth_api.objects import Resource

_QUANTITIES = st.one_of(st.integers(0, 2**40), st.sampled_from(["1", "500m", "2Gi", "1.5G", "1e3", "0"]))
_TIMES = st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-03T04:05:06.789Z"])

st.from_regex("").validate()
"""What it takes is imported now: deep within a draw, the parser of Python 3.11 fails now and then on its own depth."""


def instances(schema: dict[str, Any], model: type[Resource]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a kind that its model reads."""
    parts = {name: _values(schema["properties"][name]) for name in ("spec", "status") if name in schema["properties"]}
    optional = {name: part for name, part in parts.items() if name not in schema.get("required", ())}
    required = {name: part for name, part in parts.items() if name in schema.get("required", ())}
    metadata = st.just({"name": "a"})
    whole = st.fixed_dictionaries({"metadata": metadata, **required}, optional=optional)
    return whole.filter(lambda body: _reads(model, body))


def _reads(model: type[Resource], body: dict[str, Any]) -> bool:
    try:
        model.from_api(body)
    except ValidationError:
        return False
    return True


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if schema.get("x-kubernetes-int-or-string"):
        return _QUANTITIES
    if schema["type"] == "object":
        return _objects(schema)
    if schema["type"] == "array":
        return _lists(schema)
    return _scalars(schema)


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if isinstance(schema.get("additionalProperties"), dict):
        names = st.sampled_from(["a", "b", "example.com/c"])
        return st.dictionaries(names, _values(schema["additionalProperties"]), max_size=2)
    properties = {name: _values(part) for name, part in schema.get("properties", {}).items()}
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: part for name, part in properties.items() if name in required},
        optional={name: part for name, part in properties.items() if name not in required},
    )


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    keys = schema.get("x-kubernetes-list-map-keys", ())
    is_unique = schema["x-kubernetes-list-type"] != "atomic"

    def identity(item: Any) -> str:
        return str([item.get(key) for key in keys] if keys else item)

    least = schema.get("minItems", 0)
    return st.lists(
        _values(schema["items"]), min_size=least, max_size=max(2, least), unique_by=identity if is_unique else None
    )


def _scalars(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "string":
        return _strings(schema)
    least, most = schema.get("minimum", 0), schema.get("maximum", 2**31)
    return st.integers(least, most) if schema["type"] == "integer" else st.floats(least, most)


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return _TIMES
    least, most = schema.get("minLength", 0), schema.get("maxLength", 20)
    if "pattern" in schema:
        matching = st.from_regex(schema["pattern"].removesuffix("$") + r"\Z")
        return matching.filter(lambda text: least <= len(text) <= most)
    return st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), min_size=least, max_size=min(most, least + 10)
    )
