"""What a field's type alone cannot tell the API server: validation rules, list topology, open objects.

Markers are plain metadata (`Annotated[...]` on a field, `rules` on a model). pydantic ignores them; `schema.py` turns
them into the structural schema's `x-kubernetes-…` extensions, so a rule stands beside the field it guards.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cel:
    """A validation rule in the Common Expression Language, checked by the API server.

    `rule` sees the value as `self` and, where it compares with the stored object, the old value as `oldSelf`.
    `message` says what to change. Source: Kubernetes "CustomResourceDefinitions", section "Validation rules".
    """

    rule: str
    message: str
    field_path: str | None = None
    optional_old_self: bool = False


@dataclass(frozen=True)
class ListMap:
    """A list whose items are identified by `keys`: server-side apply merges it item by item."""

    keys: tuple[str, ...] = ("name",)


@dataclass(frozen=True)
class SetList:
    """A list of unique scalars that server-side apply merges as a set."""


@dataclass(frozen=True)
class OpenObject:
    """An object whose further fields are kept as they are, because another specification defines them."""


@dataclass(frozen=True)
class ServerDefault:
    """A default that the API server writes into the stored object (`default:` in the schema)."""

    value: object
