"""Objects for every field of a schema and every bound: within, at and beyond it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["corpus"]

Json = Any
Path = tuple[str | int, ...]

_EXCLUSIVE = re.compile(r"has\(self\.(\w+)\) (?:!=|&&) has\(self\.(\w+)\)")
_TEXTS = (
    "", " ", "a", "A b", "-", "*", "*.example.com", "ü", "1", "-1", "0", "0s", "-5s", "+5s", "1h30m", "1.5s", ".5s", "1d", "soon",
    "500ms", "9" * 400, "x" * 300, "/a b", "é\n", "1e9", "true", "null",
)  # fmt: skip
_NUMBERS = (0, 1, -1, 2, 99, 65535, 65536, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53, 2**63 - 1)
_STRANGERS: tuple[Json, ...] = (None, True, 7, "7", 1.5, [], {})
"""Values that are tried for fields of any type."""


def corpus(schema: Mapping[str, Any], bases: Sequence[str] = ("full", "minimal"), *, step: int = 1) -> Iterator[tuple[str, Json]]:
    """(what is tried, object): one change at a time to an object with all fields, and to one with as few as possible. One of
    `step` is made, the first one of each base among them."""
    for name in bases:
        base = _sample(schema, full=name == "full")
        yield name, base
        number = 0
        for path, node in _nodes(schema, ()):
            for label, value in _values(node):
                for alone in (True, False) if _rivals(schema, path) else (False,):
                    number += 1
                    if number % step:
                        continue
                    made = copy.deepcopy(base)
                    _put(schema, made, path, value, alone=alone)
                    yield f"{name}: {_show(path)} = {label}", made
            number += 1
            if number % step:
                continue
            made = copy.deepcopy(base)
            if _drop(made, path):
                yield f"{name}: without {_show(path)}", made


def _sample(schema: Mapping[str, Any], *, full: bool) -> Json:
    if schema["type"] == "array":
        return [_sample(schema["items"], full=full)] if full or schema.get("minItems") else []
    if "additionalProperties" in schema:
        return {"Retry-After": _sample(schema["additionalProperties"], full=full)} if full else {}
    if schema["type"] != "object":
        return schema["sample"]
    properties = schema["properties"]
    wanted = set(properties) if full else set(schema.get("required", ()))
    for rule in schema.get("x-kubernetes-validations", ()):
        names = re.findall(r"has\(self\.(\w+)\)", rule["rule"])
        if exclusive := _EXCLUSIVE.search(rule["rule"]):
            wanted.discard(exclusive[2])
            if "!=" in exclusive[0]:
                wanted.add(exclusive[1])
        elif not wanted.intersection(names) and not rule["rule"].startswith("!"):
            wanted.add(names[0])
    return {name: _sample(properties[name], full=full) for name in properties if name in wanted}


def _nodes(schema: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every field, and the first item of every list."""
    if path:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from _nodes(inner, (*path, name))
    if "items" in schema:
        yield from _nodes(schema["items"], (*path, 0))
    if "additionalProperties" in schema:
        yield from _nodes(schema["additionalProperties"], (*path, "Retry-After"))


def _values(node: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    for stranger in _STRANGERS:
        yield repr(stranger), stranger
    match node["type"]:
        case "string":
            sizes = {
                size + by for size in (node.get("minLength"), node.get("maxLength")) if size is not None for by in (-1, 0, 1)
            }
            texts = [*_TEXTS, *("b" * size for size in sorted(sizes) if size >= 0), *node.get("enum", ())]
            yield from ((f"{text[:20]!r} of {len(text)}", text) for text in texts)
        case "integer":
            edges = _around(node.get("minimum"), node.get("maximum"))
            yield from ((str(value), value) for value in sorted({*_NUMBERS, *edges}))
        case "array":
            yield from _lists(node["items"])
        case "object":
            for full in (True, False):
                yield ("full" if full else "minimal"), _sample(node, full=full)
            yield "an unknown field", {**_sample(node, full=True), "unheardOf": 1}


def _around(*bounds: int | None) -> list[int]:
    return sorted({bound + by for bound in bounds if bound is not None for by in (-1, 0, 1)})


def _lists(items: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    one, least = _sample(items, full=True), _sample(items, full=False)
    yield "one", [one]
    yield "the smallest", [least]
    yield "two alike", [one, copy.deepcopy(one)]
    yield "101", [_numbered(one, position) for position in range(101)]
    if isinstance(one, dict) and "value" in one:
        yield "one name, two values", [one, {**one, "value": "other"}]


def _numbered(item: Json, position: int) -> Json:
    """The item with a different key, because the keys of a list must differ."""
    if isinstance(item, str):
        return f"{item}{position}"
    return {**item, "name": f"{item['name']}-{position}"} if isinstance(item, dict) and "name" in item else copy.deepcopy(item)


def _rivals(schema: Mapping[str, Any], path: Path) -> list[str]:
    """Fields that exclude the field at a path."""
    for step in path[:-1]:
        schema = schema["items"] if step == 0 else schema.get("properties", {}).get(step) or schema["additionalProperties"]
    pairs = [_EXCLUSIVE.search(rule["rule"]) for rule in schema.get("x-kubernetes-validations", ())]
    return [pair[2 if pair[1] == path[-1] else 1] for pair in pairs if pair and path[-1] in (pair[1], pair[2])]


def _put(schema: Mapping[str, Any], base: Json, path: Path, value: Json, *, alone: bool) -> None:
    at, node = base, schema
    for step in path[:-1]:
        node = node["items"] if step == 0 else node.get("properties", {}).get(step) or node["additionalProperties"]
        if isinstance(step, int):
            if not at:
                at.append(_sample(node, full=False))
        elif step not in at:
            at[step] = _sample(node, full=False)
        at = at[step]
    last = path[-1]
    if alone:
        for rival in _rivals(schema, path):
            at.pop(rival, None)
    if isinstance(last, int):
        at[:] = [copy.deepcopy(value)]
    else:
        at[last] = copy.deepcopy(value)


def _drop(base: Json, path: Path) -> bool:
    at = base
    for step in path[:-1]:
        if isinstance(step, int):
            if len(at) <= step:
                return False
        elif step not in at:
            return False
        at = at[step]
    if isinstance(path[-1], int) or path[-1] not in at:
        return False
    del at[path[-1]]
    return True


def _show(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
