"""What a field's type alone cannot tell the API server: validation rules, list topology, open objects.

Markers are metadata (`Annotated[...]` on a field, `rules` on a model) that validate nothing here. They put the
structural schema's `x-kubernetes-…` extensions into the model's JSON schema, so a rule stands beside the field it
guards; `schema.py` does the rest.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

VALIDATIONS = "x-kubernetes-validations"
DEFAULT = "x-berth-default"
"""A default that is to be stored; pydantic's own `default` only says what we read where nothing is stored."""


class _Marker:
    """Adds keywords to the schema of what it annotates."""

    def keywords(self, schema: JsonSchemaValue) -> dict[str, Any]:
        raise NotImplementedError

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        added = self.keywords(schema)
        if VALIDATIONS in schema and VALIDATIONS in added:
            added[VALIDATIONS] = [*schema[VALIDATIONS], *added[VALIDATIONS]]
        return {**schema, **added}


@dataclass(frozen=True)
class Cel(_Marker):
    """A validation rule in the Common Expression Language, checked by the API server.

    `rule` sees the value as `self` and, where it compares with the stored object, the old value as `oldSelf`.
    `message` says what to change. Source: Kubernetes "CustomResourceDefinitions", section "Validation rules".
    """

    rule: str
    message: str
    field_path: str | None = None
    optional_old_self: bool = False

    def validation(self) -> dict[str, Any]:
        """The rule as an item of `x-kubernetes-validations`."""
        item: dict[str, Any] = {"rule": self.rule, "message": self.message}
        if self.field_path is not None:
            item["fieldPath"] = self.field_path
        if self.optional_old_self:
            item["optionalOldSelf"] = True
        return item

    def keywords(self, schema: JsonSchemaValue) -> dict[str, Any]:
        """The rule, on a scalar or a list."""
        del schema
        return {VALIDATIONS: [self.validation()]}


@dataclass(frozen=True)
class InWords(_Marker):
    """What the pattern before it asks for, in words: the API server's own answer is only the regular expression."""

    message: str

    def keywords(self, schema: JsonSchemaValue) -> dict[str, Any]:
        """The pattern once more, as a rule with a message."""
        text = "string(self)" if schema.get("x-kubernetes-int-or-string") else "self"
        return {VALIDATIONS: [{"rule": f"{text}.matches(r'{schema['pattern']}')", "message": self.message}]}


@dataclass(frozen=True)
class ListMap(_Marker):
    """A list whose items are identified by `keys`: server-side apply merges it item by item."""

    keys: tuple[str, ...] = ("name",)

    def keywords(self, schema: JsonSchemaValue) -> dict[str, Any]:
        """List topology."""
        del schema
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [*self.keys]}


@dataclass(frozen=True)
class SetList(_Marker):
    """A list of unique scalars that server-side apply merges as a set."""

    def keywords(self, schema: JsonSchemaValue) -> dict[str, Any]:
        """List topology."""
        del schema
        return {"x-kubernetes-list-type": "set"}


@dataclass(frozen=True)
class OpenObject(_Marker):
    """An object whose further fields are kept as they are, because another specification defines them."""

    def keywords(self, schema: JsonSchemaValue) -> dict[str, Any]:
        """No pruning."""
        del schema
        return {"x-kubernetes-preserve-unknown-fields": True}


@dataclass(frozen=True)
class ServerDefault(_Marker):
    """A default that the API server writes into the stored object (`default:` in the schema)."""

    value: object

    def keywords(self, schema: JsonSchemaValue) -> dict[str, Any]:
        """The default, under a name that pydantic's does not overwrite."""
        del schema
        return {DEFAULT: self.value}
