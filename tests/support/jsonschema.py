"""The part of JSON Schema (draft 2020-12) that our own schemas use; an unknown keyword fails the test."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["accepts"]

_NOTES = {"$schema", "$defs", "title", "description", "default"}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool, "null": type(None),
}  # fmt: skip


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None) -> bool:
    """Whether a value is valid."""
    root = schema if root is None else root
    return all(_keyword(word, rule, schema, value, root) for word, rule in schema.items() if word not in _NOTES)


def _keyword(word: str, rule: Any, schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    applicators: dict[str, Callable[[], bool]] = {
        "$ref": lambda: accepts(_found(rule, root), value, root),
        "anyOf": lambda: any(accepts(one, value, root) for one in rule),
        "allOf": lambda: all(accepts(one, value, root) for one in rule),
        "not": lambda: not accepts(rule, value, root),
        "if": lambda: accepts(schema.get("then" if accepts(rule, value, root) else "else", {}), value, root),
        "then": lambda: True,
        "else": lambda: True,
        "const": lambda: bool(value == rule),
        "enum": lambda: value in rule,
        "type": lambda: isinstance(value, _TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool)),
    }
    if word in applicators:
        return applicators[word]()
    if isinstance(value, dict):
        return _of_object(word, rule, schema, value, root)
    if isinstance(value, list):
        if word == "items":
            return all(accepts(rule, one, root) for one in value)
        if word == "maxItems":
            return len(value) <= int(rule)
        return len(value) >= int(rule) if word == "minItems" else _known(word)
    return _of_scalar(word, rule, value)


def _of_object(word: str, rule: Any, schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any]) -> bool:
    if word == "required":
        return all(name in value for name in rule)
    if word in ("maxProperties", "propertyNames"):
        return len(value) <= rule if word == "maxProperties" else all(accepts(rule, name, root) for name in value)
    if word == "properties":
        return all(accepts(one, value[name], root) for name, one in rule.items() if name in value)
    patterns = schema.get("patternProperties", {})
    if word == "patternProperties":
        return all(accepts(one, value[name], root) for pattern, one in rule.items() for name in value if re.search(pattern, name))
    if word == "additionalProperties":
        known = schema.get("properties", {})
        rest = [name for name in value if name not in known and not any(re.search(pattern, name) for pattern in patterns)]
        return not rest if rule is False else rule is True or all(accepts(rule, value[name], root) for name in rest)
    return _known(word)


def _of_scalar(word: str, rule: Any, value: Any) -> bool:
    checks: dict[str, Callable[[], bool]] = {}
    if isinstance(value, str):
        checks = {
            "pattern": lambda: re.search(rule, value) is not None,
            "minLength": lambda: len(value) >= rule,
            "maxLength": lambda: len(value) <= rule,
        }
    elif isinstance(value, int | float):
        checks = {
            "minimum": lambda: value >= rule,
            "maximum": lambda: value <= rule,
            "exclusiveMinimum": lambda: value > rule,
        }
    return checks[word]() if word in checks else _known(word)


def _known(word: str) -> bool:
    """A keyword for values of another type has no effect."""
    assert word in {
        "items", "minItems", "maxItems", "required", "properties", "patternProperties", "additionalProperties", "propertyNames",
        "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
    }, word  # fmt: skip
    return True


def _found(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    assert isinstance(found, dict)
    return found
