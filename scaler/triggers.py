"""From the metadata of a KEDA trigger to the application or the whole fleet that it names, and to its metrics. Pure.

The metadata is written by a tenant: answers name only what was asked for, never other tenants' applications.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from math import ceil

import msgspec

from fleet.defaults import TARGET
from fleet.demand.merge import Metric
from fleet.routing.route import Route
from fleet.routing.table import RoutingTable

__all__ = [
    "ALL_APPS",
    "Refusal",
    "RefusalKind",
    "Spec",
    "Subject",
    "app_of",
    "find_spec",
    "route_of",
    "specs_of",
    "subject_of",
    "whole",
]

MIN_TARGET = 0.001
"""Smallest target: KEDA keeps three decimals, and an HPA refuses zero."""
_MAX_INT = 2**63 - 1
_SHOWN = 200
"""Characters of a tenant's text that are repeated in an answer."""

_NAME_KEYS = ("httpScaledObject", "interceptorRoute")
_APP_KEY = "app"
_FLEET_KEY = "interceptorTargetPendingRequests"
"""The add-on's key for scaling the interceptors themselves by the demand of all applications together."""
_FLEET_METRIC = "weir-interceptor-pending-requests"
ALL_APPS = ""
"""Takes the place of an application's name."""


class RefusalKind(enum.Enum):
    """Why a call is refused."""

    INVALID = enum.auto()
    """The metadata is invalid."""
    UNKNOWN = enum.auto()
    """There is no such application or metric."""
    UNAVAILABLE = enum.auto()
    """The answer is not known now."""


class Refusal(Exception):
    """A call that is refused, and the reason in one line."""

    def __init__(self, kind: RefusalKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Spec(msgspec.Struct, frozen=True):
    """One metric of an application: its name for KEDA, and the target for one replica."""

    name: str
    metric: Metric
    target: float


class Subject(msgspec.Struct, frozen=True):
    """What a trigger asks about, an application or ALL_APPS, and its metrics."""

    app: str
    specs: tuple[Spec, ...]

    def __str__(self) -> str:
        return f"application {self.app}" if self.app else "the fleet"


def subject_of(table: RoutingTable | None, namespace: str, metadata: Mapping[str, str], *, fleet_namespace: str = "") -> Subject:
    """The subject of a trigger. All applications may be asked about only from `fleet_namespace`, or from every namespace if it
    is empty. Raises Refusal."""
    if metadata.get(_FLEET_KEY, "").strip():
        if fleet_namespace not in ("", namespace):
            # The demand of all tenants must not be readable by one tenant.
            raise Refusal(RefusalKind.INVALID, f"scalerMetadata.{_FLEET_KEY}: not for ScaledObjects of namespace {namespace!r}")
        return Subject(ALL_APPS, (_fleet_spec(metadata),))
    route = route_of(table, app_of(namespace, metadata))
    return Subject(route.app, specs_of(route))


def app_of(namespace: str, metadata: Mapping[str, str]) -> str:
    """The application that a trigger names: `app` ("namespace/name" or a name), or `httpScaledObject` or `interceptorRoute` (a
    name). A name alone refers to the ScaledObject's namespace. Raises Refusal."""
    named = {key: metadata[key].strip() for key in (_APP_KEY, *_NAME_KEYS) if metadata.get(key, "").strip()}
    if not named:
        raise Refusal(
            RefusalKind.INVALID, "scalerMetadata names no application: it needs app, httpScaledObject or interceptorRoute"
        )
    apps = {_qualified(key, value, namespace) for key, value in named.items()}
    if len(apps) > 1:
        raise Refusal(RefusalKind.INVALID, f"scalerMetadata names different applications: {_shown(named)}")
    return apps.pop()


def route_of(table: RoutingTable | None, app: str) -> Route:
    """The route of an application. Raises Refusal."""
    if table is None:
        raise Refusal(RefusalKind.UNAVAILABLE, "the routing table was not read yet")
    route = table.apps.get(app)
    if route is None:
        raise Refusal(RefusalKind.UNKNOWN, f"no route for application {app[:_SHOWN]!r}")
    return route


def specs_of(route: Route) -> tuple[Spec, ...]:
    """The metrics of a route; never empty. The names are stable, because an HPA keeps asking for the names it was created
    with."""
    stem = "weir-" + route.app.replace("/", "-")
    specs = []
    if route.scaling.concurrency is not None or route.scaling.rate is None:
        specs.append(Spec(f"{stem}-concurrency", Metric.CONCURRENCY, _target(route.scaling.concurrency or float(TARGET))))
    if route.scaling.rate is not None:
        specs.append(Spec(f"{stem}-rate", Metric.RATE, _target(route.scaling.rate.target)))
    return tuple(specs)


def find_spec(subject: Subject, metric_name: str) -> Spec:
    """The metric of that name, ignoring case; without a name the only one. Raises Refusal."""
    specs = subject.specs
    if not metric_name and len(specs) == 1:
        return specs[0]
    for spec in specs:
        if spec.name == metric_name.lower():
            return spec
    names = ", ".join(spec.name for spec in specs)
    if not metric_name:
        raise Refusal(RefusalKind.INVALID, f"metricName is needed: {subject} has {names}")
    raise Refusal(RefusalKind.UNKNOWN, f"{subject} has no metric {metric_name[:_SHOWN]!r}; it has {names}")


def whole(value: float) -> int:
    """A value for clients that read only integers: rounded up, so that small demand does not become zero."""
    return min(ceil(value), _MAX_INT)


def _fleet_spec(metadata: Mapping[str, str]) -> Spec:
    named = [key for key in (_APP_KEY, *_NAME_KEYS) if metadata.get(key, "").strip()]
    if named:
        raise Refusal(RefusalKind.INVALID, f"scalerMetadata names an application and the fleet: {named[0]} and {_FLEET_KEY}")
    given = metadata[_FLEET_KEY].strip()
    try:
        target = float(given)
    except ValueError:
        target = 0.0
    if not 0.0 < target < _MAX_INT:  # false for NaN, too
        raise Refusal(RefusalKind.INVALID, f"scalerMetadata.{_FLEET_KEY}: {given[:_SHOWN]!r} is not a number above zero")
    return Spec(_FLEET_METRIC, Metric.CONCURRENCY, _target(target))


def _target(value: float) -> float:
    return max(round(value, 3), MIN_TARGET)


def _qualified(key: str, value: str, namespace: str) -> str:
    owner, slash, name = value.rpartition("/")
    if slash and (key != _APP_KEY or not owner or not name or "/" in owner):
        form = '"namespace/name" or a name' if key == _APP_KEY else "a name in the ScaledObject's namespace"
        raise Refusal(RefusalKind.INVALID, f"scalerMetadata.{key}: {value[:_SHOWN]!r} is not {form}")
    if slash and namespace and owner != namespace:
        # A tenant must neither scale by nor read the demand of another.
        raise Refusal(RefusalKind.INVALID, f"scalerMetadata.{key}: {value[:_SHOWN]!r} is not in namespace {namespace!r}")
    if not slash and not namespace:
        raise Refusal(
            RefusalKind.INVALID, f"scalerMetadata.{key}: {value[:_SHOWN]!r} has no namespace, and the reference has none"
        )
    return value if slash else f"{namespace}/{value}"


def _shown(named: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value[:_SHOWN]!r}" for key, value in named.items())
