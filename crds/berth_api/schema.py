"""Structural OpenAPI v3 schemas, as CustomResourceDefinitions take them, from the models.

pydantic writes JSON Schema: with references, titles, `const`, unions with null, and a `default` for everything that
may be left out. A structural schema knows none of these, and stores each default it does know. So a tree is built
anew from the one that pydantic made, keyword by keyword; a keyword that is not understood is an error, not a guess.
Source: Kubernetes "CustomResourceDefinitions", section "Specifying a structural schema".
"""

from collections.abc import Mapping
from typing import Any

from berth_api.markers import DEFAULT, VALIDATIONS
from berth_api.objects import Resource

_INT32_MAX = 2**31 - 1
_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    VALIDATIONS,
)
_TRANSLATED = {"title", "default", "const", "anyOf", "items", "properties", "additionalProperties", "$defs", DEFAULT}
_INT_OR_STRING = "x-kubernetes-int-or-string"


class SchemaError(TypeError):
    """A model says something that a structural schema cannot."""


def root_schema(model: type[Resource]) -> dict[str, Any]:
    """The schema of a kind: its own, with `apiVersion`, `kind` and `metadata` left to the API server.

    Raises:
        SchemaError: a field has a type for which there is no structural schema.
    """
    raw = model.model_json_schema(by_alias=True, mode="validation")
    root = _node(raw, raw.get("$defs", {}), model.__name__)
    server_side = {
        "apiVersion": {"type": "string", "description": "Version of the API in which this object is written."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": {"type": "object"},
    }
    root["properties"] = {**root["properties"], **server_side}
    root["required"] = [name for name in root.get("required", []) if name not in server_side]
    return {keyword: value for keyword, value in root.items() if value != []}


def _node(raw: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    flat = _flatten(raw, definitions, path)
    if unknown := flat.keys() - _TRANSLATED - set(_KEPT):
        raise SchemaError(f"{path}: no structural schema has {sorted(unknown)}")
    node = {keyword: flat[keyword] for keyword in _KEPT if keyword in flat}
    if "const" in flat:
        node["enum"] = [flat["const"]]
    if DEFAULT in flat:
        node["default"] = flat[DEFAULT]
    if node.get(_INT_OR_STRING):
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    elif node.get("type") == "array":
        node.setdefault("x-kubernetes-list-type", "atomic")
        node["items"] = _node(flat["items"], definitions, f"{path}[]")
    elif node.get("type") == "object":
        node |= _object(flat, definitions, path)
    elif node.get("type") == "integer":
        node["format"] = "int32" if flat.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64"
    elif node.get("type") == "number":
        node["format"] = "double"
    elif node.get("type") not in {"string", "boolean"}:
        raise SchemaError(f"{path}: {dict(raw)} is no type of a structural schema")
    return node


def _object(flat: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    values = flat.get("additionalProperties")
    if isinstance(values, dict):
        return {"additionalProperties": _node(values, definitions, f"{path}.*")}
    properties = {
        name: _node(value, definitions, f"{path}.{name}") for name, value in flat.get("properties", {}).items()
    }
    is_open = {"x-kubernetes-preserve-unknown-fields": True} if values is True else {}
    return {"properties": properties, **is_open}


def _flatten(raw: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The node without reference and without null: what stands beside them goes before what they bring."""
    if "$ref" in raw:
        outer = {keyword: value for keyword, value in raw.items() if keyword != "$ref"}
        return _lay_over(_flatten(definitions[raw["$ref"].rpartition("/")[2]], definitions, path), outer)
    if "anyOf" not in raw or raw.get(_INT_OR_STRING):
        return dict(raw)
    choices = [choice for choice in raw["anyOf"] if choice.get("type") != "null"]
    if len(choices) != 1:
        raise SchemaError(f"{path}: a field has one type, not a choice of {len(choices)}")
    outer = {keyword: value for keyword, value in raw.items() if keyword != "anyOf"}
    return _lay_over(_flatten(choices[0], definitions, path), outer)


def _lay_over(inner: dict[str, Any], outer: dict[str, Any]) -> dict[str, Any]:
    rules = [*inner.get(VALIDATIONS, []), *outer.get(VALIDATIONS, [])]
    return {**inner, **outer} | ({VALIDATIONS: rules} if rules else {})
