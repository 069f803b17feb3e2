"""What `operator.settings` and `agent.settings` of the chart may be, from the models that read them in the Pods.

Helm then refuses what a Pod would end with. Which settings there are is the chart's to say: it makes some by itself.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_settings import BaseSettings

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_NUMBER = r"^\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""A number as text: what is in the environment is text, and so it may be in values."""


def with_settings(text: str, models: Mapping[str, type[BaseSettings]]) -> str:
    """The chart's values.schema.json, with the types of settings as the models have them.

    Args:
        text: The file as it is; it says which settings there are.
        models: By the name of the definition.
    """
    schema = json.loads(text)
    for definition, model in models.items():
        fields = model.model_json_schema()["properties"]
        properties = schema["definitions"][definition]["properties"]
        properties.update({name: _accepted(fields[name]) for name in properties})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _accepted(field: Mapping[str, Any]) -> dict[str, Any]:
    if "enum" in field:
        return {"enum": field["enum"]}
    if field["type"] in {"number", "integer"}:
        bounds = {name: field[name] for name in _BOUNDS if name in field}
        return {"type": [field["type"], "string"], **bounds, "pattern": _NUMBER}
    if "pattern" in field:  # YAML reads digits alone as a number
        return {"type": ["string", "integer"], "pattern": field["pattern"]}
    return {"type": "string"}
