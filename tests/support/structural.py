"""Validates custom resources by structural schemas like an API server, as far as the schemas of this project need it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import CodeType
from typing import Any

__all__ = ["faults"]

_HAS = re.compile(r"has\(self\.([\w.]+)\)")
_SIZE = re.compile(r"size\(self\.(\w+)\)")
_VALUE = re.compile(r"self\.(\w+)")


def faults(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """The errors of a value, with strict field validation. The metadata of an object is not checked."""
    if schema.get("x-kubernetes-int-or-string"):
        schema = {**schema, "type": "integer" if isinstance(value, int) else "string"}
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    match schema["type"]:
        case "object" if isinstance(value, dict):
            yield from _object(schema, value, path)
        case "array" if isinstance(value, list):
            yield from _array(schema, value, path)
        case "string" if isinstance(value, str):
            yield from _string(schema, value, path)
        case "integer" if isinstance(value, int) and not isinstance(value, bool):
            yield from _integer(schema, value, path)
        case "boolean" if isinstance(value, bool):
            pass
        case wanted:
            yield f"{path}: {value!r} is not of type {wanted}"


def _object(schema: Mapping[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    # Null means absent: no field is nullable, and the server removes such fields.
    value = {
        name: inner
        for name, inner in value.items()
        if inner is not None or not (name in properties or "additionalProperties" in schema)
    }
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: is required"
    for name, inner in value.items():
        known = properties.get(name) or schema.get("additionalProperties")
        if known is None:
            yield f"{path}.{name}: is unknown"
        else:
            yield from faults(known, inner, f"{path}.{name}")
    for rule in schema.get("x-kubernetes-validations", ()):
        if not _holds(rule["rule"], value):
            yield f"{path}: {rule['rule']}"


def _holds(rule: str, value: Mapping[str, Any]) -> bool:
    """Evaluate the subset of CEL that the rules use."""

    def has(path: str) -> bool:
        found: Any = value
        for name in path.split("."):
            if not isinstance(found, dict) or name not in found:
                return False
            found = found[name]
        return True

    return bool(eval(_python(rule), {"__builtins__": {}}, {"has": has, "len": len, "value": value}))  # noqa: S307


@cache
def _python(rule: str) -> CodeType:
    python = _HAS.sub(r"has('\1')", rule)
    python = _SIZE.sub(r"len(value['\1'])", python)
    python = _VALUE.sub(r"value['\1']", python)
    python = re.sub(r"!(?!=)", " not ", python).replace("&&", " and ").replace("||", " or ")
    # "a != b" binds closer than "not a" in both languages, except for a negated call.
    return compile(python.strip(), "<rule>", "eval")


def _array(schema: Mapping[str, Any], value: list[Any], path: str) -> Iterator[str]:
    yield from _within(len(value), schema.get("minItems"), schema.get("maxItems"), path)
    for position, item in enumerate(value):
        yield from faults(schema["items"], item, f"{path}[{position}]")
    keys: list[str] = []
    if schema.get("x-kubernetes-list-type") == "set":
        keys = [json.dumps(item) for item in value]
    elif schema.get("x-kubernetes-list-type") == "map":
        names = schema["x-kubernetes-list-map-keys"]
        keys = [json.dumps([item.get(name) for name in names]) for item in value if isinstance(item, dict)]
    if len(set(keys)) < len(keys):
        yield f"{path}: has duplicates"


def _string(schema: Mapping[str, Any], value: str, path: str) -> Iterator[str]:
    yield from _within(len(value), schema.get("minLength"), schema.get("maxLength"), path)
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not one of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} does not match {schema['pattern']}"


# The format is not checked: an API server accepts 1 << 31 for an int32.
def _integer(schema: Mapping[str, Any], value: int, path: str) -> Iterator[str]:
    yield from _within(value, schema.get("minimum"), schema.get("maximum"), path)


def _within(size: int, least: int | None, most: int | None, path: str) -> Iterator[str]:
    if (least is not None and size < least) or (most is not None and size > most):
        yield f"{path}: {size} is not between {least} and {most}"
