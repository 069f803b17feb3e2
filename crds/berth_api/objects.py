"""What every object of the API shares: the model's conventions, metadata, conditions.

Models read what the API server stores, which a newer or older Berth may have written: unknown fields are ignored,
never an error. What may be written is decided by the schemas made from these models, on the server.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from berth_api.markers import VALIDATIONS, Cel, InWords, ServerDefault

GROUP = "berth.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

_LABEL_RULE = "must be of a-z, 0-9 and '-', at most 63, and start and end with a letter or digit"
_SUBDOMAIN_RULE = (
    "must be an object's name: of a-z, 0-9, '-' and '.', each part starting and ending with a letter or digit"
)

Label = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL), InWords(_LABEL_RULE)]
"""A DNS label (RFC 1123): safe as part of a file, interface or domain name."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN), InWords(_SUBDOMAIN_RULE)]
"""The name of another object."""


NAME_IS_LABEL = Cel(
    f"size(self.metadata.name) <= 63 && self.metadata.name.matches(r'{DNS_LABEL}')",
    "the name becomes part of file names on the nodes: at most 63 of a-z, 0-9 and '-', without a dot",
)


class Model(BaseModel):
    """Immutable, camelCase on the wire, tolerant of fields that this version does not know."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # an error ends up in logs, and the input may be somebody's user-data
    )
    rules: ClassVar[tuple[Cel, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        if cls.rules:
            handler.resolve_ref_schema(schema)[VALIDATIONS] = [rule.validation() for rule in cls.rules]
        return schema

    def to_api(self) -> dict[str, Any]:
        """The object as the API server takes it: camelCase, JSON types, without what was left unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class OwnerReference(Model):
    """An object that this one belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str


class ObjectMeta(Model):
    """The part of `metadata` that Berth reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


class Condition(Model):
    """One aspect of an object's state, as `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, as one CamelCase word for programs."""
    message: Annotated[str, Field(max_length=32768), ServerDefault("")] = ""
    """Why, in words for people: what happened and what to change."""
    last_transition_time: datetime
    observed_generation: Annotated[int, Field(ge=0)] | None = None


class Resource(Model):
    """An object of this API: metadata, and what the kind adds."""

    api_version: str = API_VERSION
    kind: str = ""
    metadata: ObjectMeta

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name; the namespace of a cluster-wide object is empty."""
        return self.metadata.namespace, self.metadata.name

    @classmethod
    def from_api(cls, body: Any) -> Self:
        """Read an object that the API server sent.

        Raises:
            pydantic.ValidationError: a field that this version reads has a type it cannot read.
        """
        return cls.model_validate(body)
