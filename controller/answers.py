"""From what a custom resource says of answers without a backend to the fields of its route. Pure.

Meanings are those of the KEDA HTTP add-on. A body that a ConfigMap holds is not here yet: a reference says where it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from controller.schema.answers import ColdStart as ColdStartSpec
from controller.schema.answers import Fallback, RoutingRule
from controller.schema.answers import Placeholder as PlaceholderSpec
from controller.schema.answers import StaticResponse as StaticResponseSpec
from controller.schema.answers import StaticRoute as StaticRouteSpec
from controller.schema.common import Header
from controller.targets import outside_target, target_of
from fleet.routing.contenttype import content_type
from fleet.routing.quantity import octets
from fleet.routing.route import ColdStart, HeaderMatch, Placeholder, Rule, StaticResponse, StaticRoute, Target

__all__ = [
    "MAINTENANCE",
    "MAINTENANCE_BODY",
    "PLACEHOLDER",
    "Annotated",
    "Reference",
    "cold_start_of",
    "header_matches",
    "maintenance_of",
    "paths_of",
    "references_of",
    "rule_of",
    "static_place",
    "static_routes_of",
]

MAINTENANCE = "http.keda.sh/maintenance"
"""Annotation: "true" enables the built-in page; any other text except "false" is the text of the page. "yes", "on" and "1" mean
"true", and "no", "off" and "0" mean "false", because nobody wants a page with such a word as its text."""
_ON = frozenset({"true", "yes", "on", "1"})
_OFF = frozenset({"", "false", "no", "off", "0"})
MAINTENANCE_BODY = "http.keda.sh/maintenance-body"
"""Annotation: NAME or NAME/KEY of the ConfigMap with the page."""

PLACEHOLDER = "coldStart.placeholder.response"


class Reference(msgspec.Struct, frozen=True):
    """A body that is to be put into an answer of a route."""

    place: str
    """The answer, as its author names it."""
    config_map: str
    """"namespace/name"."""
    key: str
    """"" takes every key for a file of this name."""


class Annotated(Protocol):
    """An object with annotations."""

    @property
    def namespace(self) -> str: ...
    @property
    def annotations(self) -> dict[str, str] | None: ...


def static_place(position: int) -> str:
    return f"staticRoutes[{position}].response"


def cold_start_of(namespace: str, spec: ColdStartSpec | None) -> ColdStart:
    if spec is None:
        return ColdStart()
    return ColdStart(
        placeholder=None if spec.placeholder is None else _placeholder(spec.placeholder),
        fallback=None if spec.fallback is None else _fallback(namespace, spec.fallback),
        max_held=spec.max_pending_requests,
        max_held_bytes=_octets(spec.max_pending_bytes),
        # Requests are held beside a placeholder only where their number is given, and what is beyond gets it.
        overflow_placeholder=spec.overflow == "Placeholder" and spec.max_pending_requests is not None,
    )


def _octets(quantity: int | str | None) -> int | None:
    return octets(quantity) if isinstance(quantity, str) else quantity


def _fallback(namespace: str, spec: Fallback) -> Target:
    return outside_target(spec) if spec.service is None else target_of(namespace, spec.service.name, spec.service)


def _placeholder(spec: PlaceholderSpec) -> Placeholder:
    if spec.response is None:
        return Placeholder(browsers_only=spec.audience != "Everyone")
    return Placeholder(_response(spec.response), browsers_only=spec.audience == "Browsers")


def static_routes_of(specs: Iterable[StaticRouteSpec] | None) -> tuple[StaticRoute, ...]:
    return tuple(
        StaticRoute(
            _response(spec.response),
            tuple(rule_of(rule) for rule in spec.rules or ()),
            spec.user_agents or (),
            always=spec.response_mode == "Always",
        )
        for spec in specs or ()
    )


def _response(spec: StaticResponseSpec) -> StaticResponse:
    body = (spec.body or "").encode()
    return StaticResponse(spec.status_code, _headers(spec.headers or {}, body), body)


def _headers(given: Mapping[str, str], body: bytes) -> tuple[tuple[str, str], ...]:
    """In the order of their names, for a map has none."""
    headers = sorted(given.items())
    if body and not any(name.lower() == "content-type" for name in given):
        headers.append(("Content-Type", content_type(body)))
    return tuple(headers)


def references_of(namespace: str, cold: ColdStartSpec | None, statics: Iterable[StaticRouteSpec] | None) -> Iterable[Reference]:
    """Where bodies of ConfigMaps go."""
    if cold is not None and cold.placeholder is not None and cold.placeholder.response is not None:
        yield from _reference(namespace, PLACEHOLDER, cold.placeholder.response)
    for position, static in enumerate(statics or ()):
        yield from _reference(namespace, static_place(position), static.response)


def _reference(namespace: str, place: str, spec: StaticResponseSpec) -> Iterable[Reference]:
    source = spec.body_from_config_map
    if source is not None:
        yield Reference(place, f"{namespace}/{source.name}", source.key or "")


def maintenance_of(meta: Annotated) -> tuple[StaticResponse | None, tuple[Reference, ...]]:
    """What answers every request, if anything does, and the body that it still needs."""
    annotations = meta.annotations or {}
    text = annotations.get(MAINTENANCE, "").strip()
    if text.lower() in _OFF:
        return None, ()
    name, _, key = annotations.get(MAINTENANCE_BODY, "").partition("/")
    if name:
        return StaticResponse(), (Reference(MAINTENANCE, f"{meta.namespace}/{name}", key),)
    if text.lower() in _ON:
        return StaticResponse(), ()
    body = text.encode()
    return StaticResponse(headers=_headers({}, body), body=body), ()


def rule_of(rule: RoutingRule) -> Rule:
    paths = paths_of(path.value for path in rule.paths or ())
    return Rule(rule.hosts or (), paths, header_matches(rule.headers), rule.methods or ())


def paths_of(prefixes: Iterable[str]) -> tuple[str, ...]:
    # The add-on takes "api" for "/api", and an empty prefix for the root.
    return tuple(prefix if prefix.startswith("/") else f"/{prefix}" for prefix in prefixes)


def header_matches(headers: Iterable[Header] | None) -> tuple[HeaderMatch, ...]:
    return tuple(HeaderMatch(header.name, header.value) for header in headers or ())
