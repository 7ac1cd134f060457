"""The JSON schema of the file of apps, for editors: generated from the same models that parse the file.

Covers what can be checked in the document itself; `weir check` also checks files and ports.
"""

from __future__ import annotations

from typing import Any

from fleet.defaults import PORT_LIMIT
from weir.engine.defaults import DefaultsSpec
from weir.engine.fields import EXTENSION
from weir.engine.settingtypes import setting_types
from weir.engine.spec import FleetSpec

__all__ = ["file_schema"]

_SHORT = {
    "placeholder": {"type": "boolean"},
    "maintenance": {"type": "boolean"},
    "rate": {"type": "number", "exclusiveMinimum": 0},
    "fallback": {"type": "string"},
}
"""Alternative forms in which fields may be written."""
_REFERENCES = "#/$defs/{model}"


def file_schema() -> dict[str, Any]:
    """The schema, in JSON Schema draft 2020-12."""
    schema = FleetSpec.model_json_schema(ref_template=_REFERENCES)
    defaults = DefaultsSpec.model_json_schema(ref_template=_REFERENCES)
    models: dict[str, Any] = schema["$defs"] | defaults.pop("$defs") | {"DefaultsSpec": defaults}
    fields = schema["properties"]
    fields["defaults"] = {"$ref": "#/$defs/DefaultsSpec", "description": defaults.pop("description", "")}
    for kind in ("interceptor", "scaler"):
        fields[kind] = _settings(kind)
    app = models["AppSpec"]
    app["properties"]["port"] = {"type": "integer", "minimum": 1, "maximum": PORT_LIMIT}
    for holder in (app, defaults):
        for name, short in _SHORT.items():
            holder["properties"][name]["anyOf"].append(short)
        holder["properties"]["env"] |= {"propertyNames": {"not": {"const": "PORT"}}, "additionalProperties": False}
    for holder in (app, defaults, models["CopySpec"]):
        holder["properties"]["before"]["anyOf"] += app["properties"]["command"]["anyOf"]
    needed = app["properties"]["depends_on"]
    needed["items"] = {"anyOf": [needed["items"], {"type": "string", "minLength": 1}]}
    app["anyOf"] = [{"required": [way]} for way in ("hosts", "paths", "headers", "methods", "rules", "ports")]
    either = {"anyOf": [{"required": ["command"]}, {"required": ["outside"]}]}  # `defaults` may set a command for all
    commanded = {"properties": {"apps": {"items": either}}}
    schema |= {"if": {"properties": {"defaults": {"required": ["command"]}}, "required": ["defaults"]}, "else": commanded}
    for model in (schema, fields["interceptor"], fields["scaler"], *models.values()):
        model["patternProperties"] = {f"^{EXTENSION}": {}}
    schema["$defs"] = models
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "File of apps for weir up"}


def _settings(kind: str) -> dict[str, Any]:
    properties = {name: setting.json_schema() for name, setting in setting_types(kind).items()}
    return {"type": "object", "properties": properties, "additionalProperties": False, "default": {}}
