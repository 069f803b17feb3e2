"""What makes a schema structural, as the Kubernetes documentation lists it, and a validator for the keywords we use.

Source: Kubernetes "CustomResourceDefinitions", sections "Specifying a structural schema" and "Validation";
"Server-Side Apply", section "Merge strategy".
"""

import re
from collections.abc import Iterator
from typing import Any

from berth_api import quantities

FORBIDDEN = {"$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties"} | {
    "readOnly",
    "writeOnly",
    "xml",
    "title",
    "const",
    "nullable",
    "oneOf",
    "allOf",
    "not",
    "uniqueItems",
}
PYTHON_TYPES: dict[str, set[type]] = {"string": {str}, "integer": {int}, "number": {int, float}, "boolean": {bool}}
SCALARS = PYTHON_TYPES.keys()
INT_OR_STRING = "x-kubernetes-int-or-string"
OPEN = "x-kubernetes-preserve-unknown-fields"


def violations(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Each rule of structural schemas that the schema breaks."""
    for keyword in FORBIDDEN & schema.keys():
        yield f"{path}: {keyword} is forbidden"
    kind = schema.get("type")
    if schema.get(INT_OR_STRING):
        if kind is not None or schema.get("anyOf") != [{"type": "integer"}, {"type": "string"}]:
            yield f"{path}: int-or-string is written as anyOf, without a type"
        return
    if "anyOf" in schema:
        yield f"{path}: anyOf other than int-or-string"
    if kind == "object":
        yield from _object_violations(schema, path)
    elif kind == "array":
        yield from _list_violations(schema, path)
    elif kind not in SCALARS:
        yield f"{path}: type {kind}"


def _object_violations(schema: dict[str, Any], path: str) -> Iterator[str]:
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}: properties and additionalProperties exclude each other"
    if path and not schema.keys() & {"properties", "additionalProperties", OPEN} and path != ".metadata":
        yield f"{path}: everything in it would be pruned"
    if missing := set(schema.get("required", ())) - schema.get("properties", {}).keys():
        yield f"{path}: required, but not specified: {missing}"
    for name, value in schema.get("properties", {}).items():
        yield from violations(value, f"{path}.{name}")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from violations(schema["additionalProperties"], f"{path}.*")


def _list_violations(schema: dict[str, Any], path: str) -> Iterator[str]:
    items, sort = schema["items"], schema.get("x-kubernetes-list-type")
    if sort not in {"atomic", "set", "map"}:
        yield f"{path}: list type {sort}"
    if sort == "set" and items.get("type") not in SCALARS:
        yield f"{path}: a set of {items.get('type')}"
    for key in schema.get("x-kubernetes-list-map-keys", ()) if sort == "map" else ():
        value = items.get("properties", {}).get(key, {})
        if value.get("type") not in SCALARS or not (key in items.get("required", ()) or "default" in value):
            yield f"{path}: key {key} must be a scalar that is required or has a default"
    yield from violations(items, f"{path}[]")


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """The value as the API server stores it."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        values = schema.get("additionalProperties")
        known = {
            name: with_defaults(properties.get(name, values if isinstance(values, dict) else {}), content)
            for name, content in value.items()
            if name in properties or isinstance(values, dict) or schema.get(OPEN) or not properties
        }
        added = {name: part["default"] for name, part in properties.items() if "default" in part and name not in value}
        return {**known, **added}
    if isinstance(value, list):
        return [with_defaults(schema["items"], item) for item in value]
    return value


def errors(schema: dict[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """What the API server would say of the value, validation rules aside."""
    if schema.get(INT_OR_STRING):
        yield from _quantity_errors(schema, value, path)
    elif schema["type"] == "object":
        yield from _object_errors(schema, value, path)
    elif schema["type"] == "array":
        yield from _list_errors(schema, value, path)
    else:
        yield from _scalar_errors(schema, value, path)


def _object_errors(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: no object"
        return
    yield from (f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in value)
    if len(value) > schema.get("maxProperties", len(value)):
        yield f"{path}: too many fields"
    others = schema.get("additionalProperties")
    for name, content in value.items():
        part = schema.get("properties", {}).get(name, others)
        if part is not None:
            yield from errors(part, content, f"{path}.{name}")


def _list_errors(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: no list"
        return
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{path}: {len(value)} items"
    keys = schema.get("x-kubernetes-list-map-keys", ())
    names = [tuple(item.get(key) for key in keys) if keys else item for item in value]
    if schema["x-kubernetes-list-type"] != "atomic" and len({str(name) for name in names}) != len(names):
        yield f"{path}: duplicates"
    for index, item in enumerate(value):
        yield from errors(schema["items"], item, f"{path}[{index}]")


def _scalar_errors(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if type(value) not in PYTHON_TYPES[schema["type"]]:
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{path}: {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"].removesuffix("$") + r"\Z", value):
            yield f"{path}: {value!r} does not match"
    elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: {value} out of bounds"


def _quantity_errors(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | str):
        yield f"{path}: {value!r} is neither integer nor string"
    elif isinstance(value, str) and not re.fullmatch(quantities.PATTERN.strip("^$"), value):
        yield f"{path}: {value!r} is no quantity"
    elif isinstance(value, str) and len(value) > schema["maxLength"]:
        yield f"{path}: too long"
