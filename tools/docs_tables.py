"""Writes tables of docs/ from the code: of settings, and of fields of routes. Run by `make gen`; by `make check` with --check.

A page marks where a table belongs: <!-- settings: module.Class --> … <!-- end of settings -->, or <!-- fields: NAME --> …
<!-- end of fields -->, where NAME is "custom resources" or "file of apps". Everything else is left as it is.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import inspect

from controller.schema.common import FOLLOWS
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.interceptor_route import InterceptorRouteSpec
from fleet.routing.declare import Declared, declared
from fleet.routing.route import Route
from weir.engine.fields import Follows, Model
from weir.engine.spec import AppSpec

_DOCS = Path(__file__).parents[1] / "docs"
_SETTINGS = re.compile(r"(<!-- settings: (\S+)\.(\w+) -->\n).*?(<!-- end of settings -->)", re.DOTALL)
_FIELDS = re.compile(r"(<!-- fields: ([a-z ]+) -->\n).*?(<!-- end of fields -->)", re.DOTALL)

Key = tuple[type[msgspec.Struct], str]
"""A field of a part of a route."""


class FieldDoc(NamedTuple):
    """A field that people write, and the field of a route that it becomes."""

    path: str
    follows: Declared
    meaning: str
    default: object

    @property
    def key(self) -> Key:
        return self.follows.owner, self.follows.name


def fields_of_route(struct: type[msgspec.Struct] = Route) -> Iterator[Declared]:
    """Every field of a route and of its parts, each once."""
    yield from {(field.owner, field.name): field for field in _within(struct)}.values()


def _within(struct: type[msgspec.Struct]) -> Iterator[Declared]:
    for field in declared(struct).values():
        yield field
        if field.part is not None:
            yield from _within(field.part)


def fields_of_object(spec: type[msgspec.Struct]) -> Iterator[FieldDoc]:
    """The fields of a custom resource that become fields of a route."""
    yield from _of_type(inspect.type_info(spec), "")


def _of_struct(info: inspect.StructType, prefix: str) -> Iterator[FieldDoc]:
    for field in info.fields:
        path, kind = f"{prefix}{field.encode_name}", field.type
        if isinstance(kind, inspect.Metadata):
            follows = (kind.extra or {}).get(FOLLOWS)
            if follows is not None:
                yield FieldDoc(path, follows, str((kind.extra_json_schema or {})["description"]), field.default)
        yield from _of_type(kind, path)


def _of_type(kind: inspect.Type, path: str) -> Iterator[FieldDoc]:
    match kind:
        case inspect.Metadata():
            yield from _of_type(kind.type, path)
        case inspect.UnionType():
            for option in kind.types:
                yield from _of_type(option, path)
        case inspect.VarTupleType():
            yield from _of_type(kind.item_type, f"{path}[]")
        case inspect.StructType():
            yield from _of_struct(kind, f"{path}." if path else "")


def fields_of_app(model: type[Model] = AppSpec, prefix: str = "") -> Iterator[FieldDoc]:
    """The fields of an app in a file of apps that become fields of a route."""
    for name, field in model.model_fields.items():
        default = msgspec.NODEFAULT if field.is_required() else field.default
        for follows in field.metadata:
            if isinstance(follows, Follows):
                yield FieldDoc(f"{prefix}{name}", follows.declaration, follows.meaning, default)
        for part, many in _models(field.annotation):
            yield from fields_of_app(part, f"{prefix}{name}{'[]' if many else ''}.")


def _models(kind: Any, many: bool = False) -> Iterator[tuple[type[Model], bool]]:
    if isinstance(kind, type) and issubclass(kind, Model):
        yield kind, many
    for each in get_args(kind):
        yield from _models(each, many or get_origin(kind) is list)


def _table_of_objects() -> str:
    routes, https = _by_key(fields_of_object(InterceptorRouteSpec)), _by_key(fields_of_object(HTTPScaledObjectSpec))
    rows = ["| In an InterceptorRoute | In an HTTPScaledObject, if other | Default | Unit | Meaning |", "|---|---|---|---|---|"]
    for field in fields_of_route():
        key = (field.owner, field.name)
        for doc in routes.get(key, ()):
            others = {other.path for other in https.get(key, ())}
            other = "" if doc.path in others or len(routes[key]) > 1 else _names(sorted(others))
            rows.append(f"| {_names([doc.path])} | {other} | {_about(doc)} |")
    return "\n".join(rows) + "\n"


def _table_of_apps() -> str:
    apps = _by_key(fields_of_app())
    rows = ["| Field | Default | Unit | Meaning |", "|---|---|---|---|"]
    for field in fields_of_route():
        rows += [f"| {_names([doc.path])} | {_about(doc)} |" for doc in apps.get((field.owner, field.name), ())]
    return "\n".join(rows) + "\n"


def _by_key(doc: Iterator[FieldDoc]) -> Mapping[Key, Sequence[FieldDoc]]:
    """Of fields that stand in several places, those that are least deep."""
    found: dict[Key, list[FieldDoc]] = {}
    for each in doc:
        found.setdefault(each.key, []).append(each)
    return {key: [each for each in many if _depth(each) == min(map(_depth, many))] for key, many in found.items()}


def _depth(doc: FieldDoc) -> int:
    return doc.path.count(".")


def _names(paths: Sequence[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


def _about(doc: FieldDoc) -> str:
    """Default, unit and meaning."""
    unit = "duration" if doc.follows.unit == "s" else doc.follows.unit
    meaning = doc.meaning.replace("|", "\\|").replace("*", "\\*")
    return f"{_default(doc)} | {unit} | {meaning}"


def _default(doc: FieldDoc) -> str:
    """As it is written; of the route, where an object leaves a number out."""
    default, unit = doc.default, doc.follows.unit
    if default is None and isinstance(doc.follows.default, float):
        default = doc.follows.default
    if default is msgspec.NODEFAULT:
        return "(required)"
    if isinstance(default, bool):
        return str(default).lower()
    return default if isinstance(default, str) else f"{default:g} {unit}".strip() if isinstance(default, int | float) else ""


def _settings(module: str, name: str) -> str:
    return str(getattr(importlib.import_module(module), name).describe())


def _filled(page: str) -> str:
    page = _SETTINGS.sub(lambda block: f"{block[1]}\n{_settings(block[2], block[3])}\n{block[4]}", page)
    return _FIELDS.sub(lambda block: f"{block[1]}\n{_TABLES[block[2]]()}\n{block[3]}", page)


_TABLES = {"custom resources": _table_of_objects, "file of apps": _table_of_apps}


def main(check: bool) -> int:
    stale = 0
    for path in sorted(_DOCS.glob("*.md")):
        before = path.read_text()
        after = _filled(before)
        if before == after:
            continue
        stale += 1
        if check:
            sys.stderr.write(f"check: docs/{path.name} tells other settings or fields than the code; run: make gen\n")
        else:
            path.write_text(after)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
