"""Puts the authorities of backends, from ConfigMaps, into the targets of routes. Pure: ConfigMaps come in as values.

A route whose authorities are not there, or cannot be read, is no route: its backends are never believed for less than was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final, Literal

import msgspec

from controller.bodies import Absent, Bodies, MissingError, content_of
from controller.problem import Problem
from controller.schema.targets import DEFAULT_CA_KEY, Tls
from fleet.routing.faults import RouteError
from fleet.routing.route import Route, Rule, WeightedTarget
from fleet.routing.target import CA_BUNDLE, Target, TargetTls

__all__ = [
    "FALLBACK",
    "TARGET",
    "AuthorityReference",
    "Place",
    "authorities_of",
    "authority_bytes",
    "check_authorities",
    "with_authorities",
]

Place = Literal["target", "fallback"] | tuple[int, int]
"""A target of a route: its own, its fallback, or one of a rule, by the numbers of rule and backend."""
TARGET: Final = "target"
FALLBACK: Final = "fallback"
_UNREADABLE: Final = "has no certificates in PEM that can be read"


class AuthorityReference(msgspec.Struct, frozen=True):
    """Authorities that are to be put into a target of a route."""

    at: Place
    place: str
    """The field, as its author names it."""
    config_map: str
    """"namespace/name"."""
    key: str


def authorities_of(namespace: str, at: Place, field: str, tls: Tls | None) -> Iterator[AuthorityReference]:
    """What the Service in a field of an object needs of a ConfigMap."""
    source = None if tls is None else tls.ca_bundle_from_config_map
    if source is not None:
        place = f"{field}.tls.caBundleFromConfigMap"
        yield AuthorityReference(at, place, f"{namespace}/{source.name}", source.key or DEFAULT_CA_KEY)


def authority_bytes(route: Route) -> int:
    """Size of all authorities of a route."""
    return sum(len(target.tls.ca_bundle or "") for target in route.targets if target.tls is not None)


def check_authorities(route: Route) -> None:
    """Raises RouteError for authorities that cannot be read."""
    for field, target in _targets(route):
        if target.tls is not None and target.tls.ca_bundle is not None and not _is_readable(target.tls.ca_bundle):
            raise RouteError(route.app, f"{field}.tls.ca_bundle", _UNREADABLE)


def with_authorities(route: Route, references: Sequence[AuthorityReference], found: Bodies) -> Route:
    """The route with the authorities that it refers to. Raises Problem."""
    return _with(route, {each.at: _bundle(each, found) for each in references}) if references else route


def _bundle(reference: AuthorityReference, found: Bodies) -> str:
    field = f"spec.{reference.place}"
    config_map = found.get(reference.config_map, Absent("was not read yet"))
    try:
        if isinstance(config_map, Absent):
            raise MissingError(f"ConfigMap {reference.config_map}: {config_map.why}")
        bundle = content_of(config_map, reference.key, reference.config_map).decode("ascii")
        CA_BUNDLE.check(bundle, "", partial(RouteError, ""))
        if not _is_readable(bundle):
            raise RouteError("", "", _UNREADABLE)
    except MissingError as error:
        raise Problem(field, str(error)) from error
    except UnicodeDecodeError as error:
        raise Problem(field, _in_key(reference, "is not PEM: it has characters that are not ASCII")) from error
    except RouteError as error:
        raise Problem(field, _in_key(reference, error.reason)) from error
    return bundle


def _in_key(reference: AuthorityReference, why: str) -> str:
    return f"ConfigMap {reference.config_map}: key {reference.key!r}: {why}"


@lru_cache(maxsize=64)
def _is_readable(bundle: str) -> bool:
    """Remembered, because many objects have the same, and every table asks again."""
    from fleet.runtime import pem  # noqa: PLC0415  # what it imports costs memory, and most objects have no authorities

    return pem.are_authorities(bundle.encode())


def _targets(route: Route) -> Iterator[tuple[str, Target]]:
    """Every target, and the field of the route that it stands in."""
    yield "target", route.target
    if route.cold_start.fallback is not None:
        yield "cold_start.fallback", route.cold_start.fallback
    for number, rule in enumerate(route.rules):
        for position, backend in enumerate(rule.backends):
            yield f"rules[{number}].backends[{position}]", backend


def _with(route: Route, bundles: Mapping[Place, str]) -> Route:
    replace, cold, fallback = msgspec.structs.replace, route.cold_start, route.cold_start.fallback
    if fallback is not None and FALLBACK in bundles:
        cold = replace(cold, fallback=replace(fallback, tls=_believing(fallback, bundles[FALLBACK])))
    target = route.target
    if TARGET in bundles:
        target = replace(target, tls=_believing(target, bundles[TARGET]))
    rules = tuple(_rule_with(rule, number, bundles) for number, rule in enumerate(route.rules))
    return replace(route, target=target, cold_start=cold, rules=rules)


def _rule_with(rule: Rule, number: int, bundles: Mapping[Place, str]) -> Rule:
    def one(backend: WeightedTarget, position: int) -> WeightedTarget:
        bundle = bundles.get((number, position))
        return backend if bundle is None else msgspec.structs.replace(backend, tls=_believing(backend, bundle))

    backends = tuple(one(backend, position) for position, backend in enumerate(rule.backends))
    return msgspec.structs.replace(rule, backends=backends)


def _believing(target: Target, bundle: str) -> TargetTls:
    return msgspec.structs.replace(target.tls or TargetTls(), ca_bundle=bundle)
