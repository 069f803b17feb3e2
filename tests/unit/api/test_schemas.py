"""The generated definitions are structural, say what the models say, and store no default that nobody asked for."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field
from tests.unit.api.instances import instances
from tests.unit.api.structural import errors, violations, with_defaults

from berth_api import generate
from berth_api.customresources import CUSTOM_RESOURCES, CustomResource, definition
from berth_api.markers import Cel, InWords, ListMap, ServerDefault, SetList
from berth_api.objects import Model, Resource
from berth_api.quantities import Quantity
from berth_api.schema import SchemaError, root_schema

ALL = pytest.mark.parametrize("resource", CUSTOM_RESOURCES, ids=lambda resource: resource.kind.kind)


def schema_of(resource: CustomResource) -> dict[str, Any]:
    schema: dict[str, Any] = definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@ALL
def test_the_schema_is_structural(resource: CustomResource) -> None:
    assert list(violations(schema_of(resource))) == []


@ALL
def test_metadata_is_left_to_the_server(resource: CustomResource) -> None:
    assert schema_of(resource)["properties"]["metadata"] == {"type": "object"}


@ALL
def test_every_spec_field_says_what_it_is_or_is_plain(resource: CustomResource) -> None:
    schema = schema_of(resource)
    assert schema["description"].endswith(".")
    assert schema["properties"]["spec"]["description"]


def bounded(schema: dict[str, Any], path: str) -> list[str]:
    """Paths of lists and strings in a spec without an upper bound: the server could not bound the cost of rules."""
    if schema.get("type") == "array":
        here = [] if "maxItems" in schema else [path]
        return here + bounded(schema["items"], f"{path}[]")
    if schema.get("type") == "object":
        parts = dict(schema.get("properties", {}))
        if isinstance(schema.get("additionalProperties"), dict):
            parts["*"] = schema["additionalProperties"]
        return [found for name, part in parts.items() for found in bounded(part, f"{path}.{name}")]
    unbound = schema.get("type") == "string" and not schema.keys() & {"maxLength", "enum", "format"}
    return [path] if unbound else []


@ALL
def test_everything_in_a_spec_is_bounded(resource: CustomResource) -> None:
    assert bounded(schema_of(resource)["properties"]["spec"], "spec") == []


@ALL
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_model_and_schema_agree(resource: CustomResource, data: st.DataObject) -> None:
    schema = schema_of(resource)
    written = data.draw(instances(schema, resource.model))
    model = resource.model.from_api(written)

    sent = {name: part for name, part in model.to_api().items() if name != "metadata"}
    assert list(errors(schema, with_defaults(schema, sent))) == [], "what a model writes the server takes"

    stored = with_defaults(schema, written)
    assert with_defaults(schema, stored) == stored
    assert resource.model.from_api(stored) == model, "a stored default is what the model reads where nothing is stored"


def test_the_committed_files_are_what_the_models_say() -> None:
    assert generate.main(["--check"]) == 0


def test_a_check_names_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--output", str(tmp_path)]) == 0
    assert generate.main(["--check", "--output", str(tmp_path)]) == 0
    (tmp_path / "hypervisors.yaml").write_text("old")
    (tmp_path / "gone.yaml").write_text("old")
    assert generate.main(["--check", "--output", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "hypervisors.yaml" in told
    assert "gone.yaml" in told
    assert "make generate" in told


def test_generating_twice_gives_the_same_text() -> None:
    assert generate.documents() == generate.documents()


class Part(Model):
    """A part."""

    name: str
    size: Annotated[Quantity, Cel("true", "fine")] = "1Gi"


class Whole(Resource):
    """A whole."""

    parts: Annotated[tuple[Part, ...], Field(max_length=3), ListMap()] = ()
    tags: Annotated[tuple[str, ...], SetList()] | None = None
    word: Annotated[str, Field(pattern="^[a-z]+$"), InWords("must be a word"), ServerDefault("a")] = "a"
    best: Part | None = None
    """The best of them."""

    rules = (Cel("self.parts.size() > 0", "give a part", field_path=".parts", optional_old_self=True),)


def test_markers_become_extensions() -> None:
    schema = root_schema(Whole)
    properties = schema["properties"]
    assert properties["parts"] == {
        "type": "array",
        "maxItems": 3,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": properties["parts"]["items"],
    }
    assert properties["tags"]["x-kubernetes-list-type"] == "set"
    assert properties["word"]["default"] == "a"
    assert properties["word"]["x-kubernetes-validations"] == [
        {"rule": "self.matches(r'^[a-z]+$')", "message": "must be a word"}
    ]
    assert "default" not in properties["parts"]["items"]["properties"]["size"]
    assert [rule["message"] for rule in properties["best"]["properties"]["size"]["x-kubernetes-validations"]] == [
        "must be a quantity such as 500m, 2 or 4Gi, and not negative",
        "fine",
    ]
    assert properties["best"]["description"] == "The best of them."
    assert schema["x-kubernetes-validations"] == [
        {"rule": "self.parts.size() > 0", "message": "give a part", "fieldPath": ".parts", "optionalOldSelf": True}
    ]
    assert "required" not in schema


@pytest.mark.parametrize("annotation", [int | str, tuple[int, str], set[str], None], ids=str)
def test_what_has_no_structural_schema_is_an_error(annotation: Any) -> None:
    broken = type("Broken", (Resource,), {"__annotations__": {"field": annotation}, "__doc__": "Broken."})
    with pytest.raises(SchemaError, match=r"Broken\.field"):
        root_schema(broken)
