"""From the spec of a custom resource to the route that it asks for. Pure; knows one object at a time.

Meanings are those of the KEDA HTTP add-on. Errors name the field as the object's author wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from controller.durations import seconds
from controller.schema.common import Header, ScalingMetric
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.interceptor_route import InterceptorRouteSpec, RoutingRule
from fleet.routing.check import RouteError, check_route
from fleet.routing.route import HeaderMatch, RateTarget, Route, Rule, Scaling, Target, Timeouts

__all__ = ["Named", "Problem", "Translation", "of_http_scaled_object", "of_interceptor_route"]

DEFAULT_CONCURRENCY = 100.0
"""Requests at once per replica, where nothing is said."""
FALLBACK_READINESS_SECONDS = 30.0
"""How long a request waits before it goes to a fallback, where nothing or 0 is said."""

_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_HTTP_FIELDS = (
    (r"^rules\[0\]\.paths", "pathPrefixes"),
    (r"^rules\[0\]\.", ""),
    (r"^rules$", "hosts and pathPrefixes"),
    (r"^target\.", "scaleTargetRef."),
)
_ROUTE_FIELDS = ((r"(\.paths\[\d+\])$", r"\1.value"),)
_BOTH_FIELDS = (
    (r"^scaling\.concurrency", "scalingMetric.concurrency.targetValue"),
    (r"^scaling\.rate\.target", "scalingMetric.requestRate.targetValue"),
    (r"^scaling\.rate", "scalingMetric.requestRate"),
    (r"^scaling\.activity_period", "activityPeriod"),
    (r"_([a-z])", lambda match: match[1].upper()),
)


class Problem(ValueError):
    """What is wrong with an object: the field as its author wrote it, and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)

    @classmethod
    def of(cls, error: msgspec.ValidationError) -> Problem:
        """From what the decoder of a spec says."""
        text = str(error)
        at = _AT.search(text)
        if at is None:
            return cls("spec", text)
        return cls(f"spec.{at[1]}" if at[1] else "spec", text[: at.start()])


class Named(Protocol):
    """The object that a route is named for."""

    @property
    def name(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def created(self) -> float: ...


class Translation(msgspec.Struct, frozen=True):
    """A route, found valid, and the fields that are set but that interceptors do not act on."""

    route: Route
    idle_fields: tuple[str, ...] = ()


def of_http_scaled_object(meta: Named, spec: HTTPScaledObjectSpec) -> Translation:
    """Raises Problem."""
    target = spec.scale_target_ref
    route = Route(
        app=f"{meta.namespace}/{meta.name}",
        target=Target(f"{meta.namespace}/{target.service}", _port(target.port, target.port_name)),
        rules=(Rule(spec.hosts or (), _paths(spec.path_prefixes or ()), _headers(spec.headers)),),
        scaling=_scaling(spec.scaling_metric, spec.activity_period, spec.target_pending_requests),
        timeouts=_http_timeouts(spec),
        created=meta.created,
    )
    _check(route, (*_HTTP_FIELDS, *_BOTH_FIELDS))
    idle = () if spec.cold_start_timeout_failover_ref is None else ("spec.coldStartTimeoutFailoverRef",)
    return Translation(route, idle)


def of_interceptor_route(meta: Named, spec: InterceptorRouteSpec) -> Translation:
    """Raises Problem."""
    route = Route(
        app=f"{meta.namespace}/{meta.name}",
        target=Target(f"{meta.namespace}/{spec.target.service}", _port(spec.target.port, spec.target.port_name)),
        rules=tuple(_rule(rule) for rule in spec.rules or ()),
        scaling=_scaling(spec.scaling_metric, spec.activity_period, None),
        timeouts=_route_timeouts(spec),
        created=meta.created,
    )
    _check(route, (*_ROUTE_FIELDS, *_BOTH_FIELDS))
    return Translation(route, tuple(_idle_fields(spec)))


def _check(route: Route, names: Sequence[tuple[str, object]]) -> None:
    try:
        check_route(route)
    except RouteError as error:
        field = error.field
        for pattern, name in names:
            field = re.sub(pattern, name, field)  # type: ignore[call-overload]
        raise Problem(f"spec.{field}", error.reason) from error


def _rule(rule: RoutingRule) -> Rule:
    return Rule(rule.hosts or (), _paths(path.value for path in rule.paths or ()), _headers(rule.headers))


def _paths(prefixes: Iterable[str]) -> tuple[str, ...]:
    # The add-on takes "api" for "/api", and an empty prefix for the root.
    return tuple(prefix if prefix.startswith("/") else f"/{prefix}" for prefix in prefixes)


def _headers(headers: Iterable[Header] | None) -> tuple[HeaderMatch, ...]:
    return tuple(HeaderMatch(header.name, header.value) for header in headers or ())


def _port(number: int | None, name: str | None) -> int | str | None:
    return number if number is not None else name


def _scaling(metric: ScalingMetric | None, activity_period: str | None, pending: int | None) -> Scaling:
    concurrency = None
    rate = None
    if metric is not None and metric.concurrency is not None:
        concurrency = float(metric.concurrency.target_value)
    if metric is not None and metric.request_rate is not None:
        given = metric.request_rate
        field = "spec.scalingMetric.requestRate"
        rate = RateTarget(
            float(given.target_value),
            _seconds(f"{field}.window", given.window),
            _seconds(f"{field}.granularity", given.granularity),
        )
    if concurrency is None and rate is None:
        concurrency = float(pending or DEFAULT_CONCURRENCY)
    active = _optional("spec.activityPeriod", activity_period)
    return Scaling(concurrency, rate) if active is None else Scaling(concurrency, rate, active)


def _http_timeouts(spec: HTTPScaledObjectSpec) -> Timeouts:
    given = spec.timeouts
    readiness = _optional("spec.timeouts.conditionWait", given.condition_wait if given else None)
    if spec.cold_start_timeout_failover_ref is not None:
        readiness = float(spec.cold_start_timeout_failover_ref.timeout_seconds) or FALLBACK_READINESS_SECONDS
    if given is None:
        return Timeouts(readiness=readiness)
    return Timeouts(
        readiness=readiness,
        connect=_optional("spec.timeouts.connect", given.connect),
        response_header=_optional("spec.timeouts.responseHeader", given.response_header),
        request=_optional("spec.timeouts.request", given.request),
        idle=_optional("spec.timeouts.idle", given.idle),
    )


def _route_timeouts(spec: InterceptorRouteSpec) -> Timeouts:
    given = spec.timeouts
    readiness = _optional("spec.timeouts.readiness", given.readiness if given else None)
    if readiness == 0 and spec.cold_start is not None and spec.cold_start.fallback is not None:
        readiness = FALLBACK_READINESS_SECONDS
    if given is None:
        return Timeouts(readiness=readiness)
    return Timeouts(
        readiness=readiness,
        connect=_optional("spec.timeouts.connect", given.connect),
        response_header=_optional("spec.timeouts.responseHeader", given.response_header),
        request=_optional("spec.timeouts.request", given.request),
        idle=_optional("spec.timeouts.idle", given.idle),
    )


def _idle_fields(spec: InterceptorRouteSpec) -> Iterable[str]:
    cold = spec.cold_start
    if cold is not None:
        for name, value in (
            ("fallback", cold.fallback),
            ("placeholder", cold.placeholder),
            ("maxPendingRequests", cold.max_pending_requests),
            ("overflow", cold.overflow),
        ):
            if value is not None:
                yield f"spec.coldStart.{name}"
    if spec.static_routes:
        yield "spec.staticRoutes"


def _optional(field: str, text: str | None) -> float | None:
    return None if text is None else _seconds(field, text)


def _seconds(field: str, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise Problem(field, str(error)) from error
