"""How a field of a route says what it means and what it may be: read by the check, by schemas and by documents. Pure.

A field is declared once, in fleet/routing/route.py: Annotated[TYPE, Field(MEANING, KIND)] = DEFAULT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, get_args, get_origin

import msgspec

from fleet.routing.faults import Fail

__all__ = ["Check", "Declared", "Field", "Kind", "declared"]

Check = Callable[[Any, str, Fail], None]
"""Raises the error of a field whose value is not fit."""


class Kind(msgspec.Struct, frozen=True):
    """What one value may be. The check decides; the bounds beside it are what a schema can say of it."""

    check: Check
    unit: str = ""
    gt: float | None = None
    ge: float | None = None
    le: float | None = None
    max_length: int | None = None
    pattern: str | None = None


class Field(msgspec.Struct, frozen=True):
    """What is declared about a field in addition to its type and default."""

    meaning: str
    """One or two sentences for the documentation of custom resources and of files of apps."""
    kind: Kind | None = None
    """The kind of the value, or of each of several values. None if the type is enough, and for structs, whose fields have
    kinds."""
    most: int | None = None
    """Maximum number of values."""
    called: str = "of them"
    """What is counted when there are too many."""


class Declared(msgspec.Struct, frozen=True):
    """A field as its struct declares it."""

    owner: type[msgspec.Struct]
    name: str
    field: Field
    default: Any
    """msgspec.NODEFAULT where a value has to be given."""
    part: type[msgspec.Struct] | None
    """The struct that the value is, or that each of several is."""
    many: bool

    @property
    def unit(self) -> str:
        return "" if self.field.kind is None else self.field.kind.unit


@cache
def declared(struct: type[msgspec.Struct]) -> Mapping[str, Declared]:
    """The fields of a part of a route, by name. Raises TypeError if one says nothing of itself."""
    return MappingProxyType({info.name: _declared(struct, info) for info in msgspec.structs.fields(struct)})


def _declared(struct: type[msgspec.Struct], info: msgspec.structs.FieldInfo) -> Declared:
    said = [each for each in getattr(info.type, "__metadata__", ()) if isinstance(each, Field)]
    if not said:
        raise TypeError(f"{struct.__name__}.{info.name} has no Field that says what it means")
    kind = get_args(info.type)[0]
    parts = [each for each in (kind, *get_args(kind)) if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    return Declared(struct, info.name, said[0], info.default, parts[0] if parts else None, get_origin(kind) is tuple)
