"""A document as a FleetSpec, and everything that is wrong in it: a fault hides no other.

What is wrong is taken out and the rest looked at again, until nothing is wrong any more. What is left is good enough for the
checks that look at several apps, and is never run. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from weir.engine.answerspec import AffinitySpec, MaintenanceSpec, PlaceholderSpec, StaticSpec
from weir.engine.defaults import DefaultsSpec, with_defaults
from weir.engine.document import Path
from weir.engine.fields import HeaderSpec, Model, RuleSpec
from weir.engine.findings import Findings
from weir.engine.spec import AppSpec, FleetSpec, PortsSpec, RateSpec, ReadinessSpec, TimeoutsSpec
from weir.engine.words import meant, reason_of, unknown_field

__all__ = ["validated"]

MAX_ROUNDS = 20
"""Looks at what is left. Each takes something out; three are usual, and this many are nobody's mistake."""

_MODELS: Mapping[str, type[Model]] = {
    "": FleetSpec,
    "apps": AppSpec,
    "defaults": DefaultsSpec,
    "ports": PortsSpec,
    "rules": RuleSpec,
    "readiness": ReadinessSpec,
    "timeouts": TimeoutsSpec,
    "rate": RateSpec,
    "placeholder": PlaceholderSpec,
    "maintenance": MaintenanceSpec,
    "static": StaticSpec,
    "affinity": AffinitySpec,
    "headers": HeaderSpec,
}
"""By the field that holds one, or a list of them."""
_CALLED = {"": "the file's top level", "apps": "an app"}
_ELSEWHERE = {
    name: _CALLED.get(holder, holder)
    for holder, model in reversed([*_MODELS.items()])
    for name in model.model_fields
    if holder != "defaults"
}
"""Where a field belongs; one of several, the outermost."""

_AnyModel = TypeVar("_AnyModel", bound=Model)


def validated(value: dict[str, Any], findings: Findings) -> FleetSpec | None:
    """The file as far as it is good, or None when not even its outlines are. Changes value."""
    rounds = _Rounds(value, findings)
    rounds.take_out_doubted()
    if rounds.run(DefaultsSpec, ("defaults",)) is None:
        return None
    value["apps"] = with_defaults(value.get("apps", []), value.get("defaults", {}), findings)
    return rounds.run(FleetSpec, ())


class _Rounds:
    def __init__(self, value: dict[str, Any], findings: Findings) -> None:
        self._value, self._findings = value, findings

    def take_out_doubted(self) -> None:
        for fault in self._findings.faults:
            if fault.path:
                self._take_out(fault.path)

    def run(self, model: type[_AnyModel], at: Path) -> _AnyModel | None:
        for _ in range(MAX_ROUNDS):
            part = _at(self._value, at)
            if part is None and at and not _is_there(self._value, at):
                return model()
            try:
                return model.model_validate(part)
            except ValidationError as error:
                self._look_at(error.errors(include_url=False, include_input=False), at)
        return None

    def _look_at(self, details: Sequence[ErrorDetails], at: Path) -> None:
        """Note each fault, then take all of them out."""
        seen = [_places(detail, at) for detail in details]
        told = [
            not self._findings.doubts(path, *beside, *given) and not self._is_misspelt(path, detail["type"])
            for detail, (path, beside, given) in zip(details, seen, strict=True)
        ]
        for detail, (path, *_), tell in zip(details, seen, told, strict=True):
            if tell:
                self._findings.add(path, self._reason(detail, path))
        for path, beside, _ in seen:
            there = [place for place in (path, *beside) if _is_there(self._value, place)]
            for place in (path, *beside):
                self._findings.doubt(place)
            for place in there or [path]:
                self._take_out(place)

    def _reason(self, detail: ErrorDetails, path: Path) -> str:
        if detail["type"] != "extra_forbidden":
            return reason_of(detail)
        return unknown_field(str(path[-1]), _model_at(path[:-1]).model_fields, _ELSEWHERE)

    def _is_misspelt(self, path: Path, kind: str) -> bool:
        """Of a field that is missing, when there is one that was probably meant to be it: that one is told."""
        holder = _at(self._value, path[:-1]) if kind in ("missing", "weir") and not _is_there(self._value, path) else None
        if not isinstance(holder, dict):
            return False
        fields = _model_at(path[:-1]).model_fields
        return any(meant(name, fields) == path[-1] for name in holder if name not in fields)

    def _take_out(self, path: Path) -> None:
        """Remove a value; where it has to be, what it is a part of. Apps stay, with stand-ins: the rest of one is looked at."""
        while path:
            holder = _at(self._value, path[:-1])
            if path[:-1] == ("apps",) and isinstance(holder, list):
                holder[int(path[-1])] = {name: _stand_in(name, path[-1]) for name in _STAND_INS}
                break
            if path[-2:] == ("rate", "target") and isinstance(holder, dict):
                holder["target"] = 1  # a rate has to have one, and its window is looked at beside it
                break
            if len(path) == 3 and path[0] == "apps" and path[2] in _STAND_INS and isinstance(holder, dict):
                holder[str(path[2])] = _stand_in(str(path[2]), path[1])
                break
            # A list without one of its items would number the others anew.
            if isinstance(holder, dict) and path[-1] in holder:
                del holder[path[-1]]
                break
            path = path[:-1]
        self._findings.doubt(path)


_STAND_INS = ("name", "hosts", "command")
"""Fields that an app has to have."""


def _stand_in(name: str, index: str | int) -> str | list[str]:
    label = f"stand-in-{index}"
    return [f"{label}.invalid"] if name == "hosts" else label


class _Places(NamedTuple):
    path: Path
    beside: Sequence[Path]
    """What may be wrong in its stead."""
    given: Sequence[Path]
    """What it only depends on."""


def _places(detail: ErrorDetails, at: Path) -> _Places:
    """Where a fault is, and the other fields that it has to do with."""
    around: Path = (*at, *(part for part in detail["loc"] if part != "[key]"))
    context = detail.get("ctx", {})
    field = context.get("field")
    beside, given = ([(*around, name) for name in context.get(kind, ()) if name != field] for kind in ("beside", "given"))
    return _Places((*around, str(field)) if field else around, beside, given)


def _model_at(path: Path) -> type[Model]:
    names = [part for part in path if isinstance(part, str)]
    return _MODELS.get(names[-1] if names else "", FleetSpec)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _is_there(value: Any, path: Path) -> bool:
    holder = _at(value, path[:-1])
    return path[-1] in holder if isinstance(holder, dict) else isinstance(holder, list)
