"""Validates a document into a FleetSpec and collects all faults, so that one fault does not hide another.

Values with a fault are removed and the rest is validated again, until no fault is left. The result is good enough for checks that
compare apps, and is never run when there were faults. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from weir.engine.answerspec import AffinitySpec, MaintenanceSpec, PlaceholderSpec, StaticSpec
from weir.engine.appportspec import AppPortSpec, UncountedSpec
from weir.engine.beforespec import BeforeSpec
from weir.engine.corsspec import CorsSpec
from weir.engine.defaults import DefaultsSpec, with_defaults
from weir.engine.dependspec import DependencySpec
from weir.engine.document import Path
from weir.engine.fields import HeaderSpec, Model
from weir.engine.findings import Findings
from weir.engine.messages import meant, reason_of, unknown_field
from weir.engine.outsidespec import OutsideSpec
from weir.engine.previewspec import CopySpec, PreviewsSpec
from weir.engine.ratespec import RateSpec
from weir.engine.readinessspec import ReadinessSpec
from weir.engine.rulespec import BackendSpec, HeaderChangesSpec, RedirectSpec, RewriteSpec, RuleSpec
from weir.engine.spec import AppSpec, FleetSpec, PortsSpec, TimeoutsSpec
from weir.engine.targetspec import FallbackSpec

__all__ = ["validated"]

MAX_ROUNDS = 20
"""Validation rounds. Each round removes something; three are usual."""

_MODELS: Mapping[str, type[Model]] = {
    "": FleetSpec,
    "apps": AppSpec,
    "defaults": DefaultsSpec,
    "ports": PortsSpec,
    "rules": RuleSpec,
    "rewrite": RewriteSpec,
    "backends": BackendSpec,
    "request_headers": HeaderChangesSpec,
    "response_headers": HeaderChangesSpec,
    "redirect": RedirectSpec,
    "outside": OutsideSpec,
    "fallback": FallbackSpec,
    "readiness": ReadinessSpec,
    "timeouts": TimeoutsSpec,
    "rate": RateSpec,
    "placeholder": PlaceholderSpec,
    "maintenance": MaintenanceSpec,
    "static": StaticSpec,
    "affinity": AffinitySpec,
    "cors": CorsSpec,
    "previews": PreviewsSpec,
    "copies": CopySpec,
    "depends_on": DependencySpec,
    "before": BeforeSpec,
    "uncounted": UncountedSpec,
    "headers": HeaderSpec,
}
"""Models by the field that holds one, or a list of them."""
_CALLED = {"": "the file's top level", "apps": "an app"}
_ELSEWHERE = {
    name: _CALLED.get(holder, holder)
    for holder, model in reversed([*_MODELS.items()])
    for name in model.model_fields
    if holder != "defaults"
}
"""Where a field belongs; of several places, the outermost."""

_AnyModel = TypeVar("_AnyModel", bound=Model)


def validated(value: dict[str, Any], findings: Findings) -> FleetSpec | None:
    """The valid part of the file, or None when its outermost structure is wrong. Changes `value`."""
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
        """Record each fault, then remove all faulty values."""
        seen = [_places(detail, at) for detail in details]
        reports = [
            not self._findings.doubts(path, *beside, *given) and not self._is_misspelt(path, detail["type"])
            for detail, (path, beside, given) in zip(details, seen, strict=True)
        ]
        for detail, (path, *_), report in zip(details, seen, reports, strict=True):
            if report:
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
        """For a missing field: whether an unknown field beside it is probably a misspelling of it. Then only that one is
        reported."""
        holder = _at(self._value, path[:-1]) if kind in ("missing", "weir") and not _is_there(self._value, path) else None
        if not isinstance(holder, dict):
            return False
        fields = _model_at(path[:-1]).model_fields
        return any(meant(name, fields) == path[-1] for name in holder if name not in fields)

    def _take_out(self, path: Path) -> None:
        """Remove a value; if it is required, remove what contains it. Apps are kept with placeholders for required fields, so
        that the rest of an app is still checked."""
        while path:
            holder = _at(self._value, path[:-1])
            if path[:-1] == ("apps",) and isinstance(holder, list):
                holder[int(path[-1])] = {name: _substitute(name, path[-1]) for name in _SUBSTITUTES}
                break
            if path[-2:] == ("rate", "target") and isinstance(holder, dict):
                holder["target"] = 1  # a rate needs a target; with a placeholder, its window is still checked
                break
            if len(path) == 3 and path[0] == "apps" and path[2] in _SUBSTITUTES and isinstance(holder, dict):
                holder[str(path[2])] = _substitute(str(path[2]), path[1])
                break
            # Removing a list item would change the index of the others.
            if isinstance(holder, dict) and path[-1] in holder:
                del holder[path[-1]]
                break
            path = path[:-1]
        self._findings.doubt(path)


_SUBSTITUTES = ("name", "hosts", "command")
"""Required fields of an app."""


def _substitute(name: str, index: str | int) -> str | list[str]:
    label = f"substitute-{index}"
    return [f"{label}.invalid"] if name == "hosts" else label


class _Places(NamedTuple):
    path: Path
    beside: Sequence[Path]
    """Fields one of which may be wrong instead."""
    given: Sequence[Path]
    """Fields that the fault depends on."""


def _places(detail: ErrorDetails, at: Path) -> _Places:
    """The position of a fault, and the other fields that it involves."""
    around: Path = (*at, *(part for part in detail["loc"] if part != "[key]"))
    context = detail.get("ctx", {})
    field = context.get("field")
    beside, given = ([(*around, name) for name in context.get(kind, ()) if name != field] for kind in ("beside", "given"))
    return _Places((*around, str(field)) if field else around, beside, given)


def _model_at(path: Path) -> type[Model]:
    names = [part for part in path if isinstance(part, str)]
    if len(names) > 1 and names[-1] == "ports":
        return AppPortSpec  # those of apps; the file's own are of the components
    if len(names) > 1 and names[-2] == "copies":
        return CopySpec  # by its name
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
