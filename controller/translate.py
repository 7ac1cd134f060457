"""From the spec of a custom resource to the route that it asks for. Pure; knows one object at a time.

Meanings are those of the KEDA HTTP add-on. Errors name the field as the object's author wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from controller.answers import (
    MAINTENANCE,
    Reference,
    cold_start_of,
    header_matches,
    maintenance_of,
    paths_of,
    port_of,
    references_of,
    rule_of,
    static_routes_of,
)
from controller.durations import seconds
from controller.schema.answers import Affinity as AffinitySpec
from controller.schema.answers import Treatment
from controller.schema.common import ScalingMetric
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.interceptor_route import InterceptorRouteSpec
from fleet.routing.check import RouteError, check_route
from fleet.routing.route import Affinity, ColdStart, Protection, RateTarget, Route, Rule, Scaling, Target, Timeouts

__all__ = ["Named", "Problem", "Translation", "of_http_scaled_object", "of_interceptor_route"]

DEFAULT_CONCURRENCY = 100.0
"""Requests at once per replica, where nothing is said."""
FALLBACK_READINESS_SECONDS = 30.0
"""How long a request waits before it goes to a fallback, where nothing or 0 is said."""

_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_Names = Sequence[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]
"""What a route calls its fields, and what an object does."""
_HTTP_FIELDS: _Names = (
    (re.compile(r"^rules\[0\]\.paths"), "pathPrefixes"),
    (re.compile(r"^rules\[0\]\."), ""),
    (re.compile(r"^rules$"), "hosts and pathPrefixes"),
    (re.compile(r"^target\."), "scaleTargetRef."),
)
_FAILOVER_FIELDS: _Names = ((re.compile(r"^cold_start\.fallback"), "coldStartTimeoutFailoverRef"),)
_BOTH_FIELDS: _Names = (
    (re.compile(r"(\.paths\[\d+\])$"), r"\1.value"),
    (re.compile(r"^cold_start\.fallback\.service"), "coldStart.fallback.service.name"),
    (re.compile(r"^cold_start\.fallback\.port"), "coldStart.fallback.service.port"),
    (re.compile(r"^cold_start\.max_held_bytes"), "coldStart.maxPendingBytes"),
    (re.compile(r"^cold_start\.max_held"), "coldStart.maxPendingRequests"),
    (re.compile(r"^cold_start\.overflow_placeholder"), "coldStart.overflow"),
    (re.compile(r"\.response\.status$"), ".response.statusCode"),
    (re.compile(r"\.response\.headers\[\d+\]$"), ".response.headers"),
    (re.compile(r"^protection\."), ""),
    (re.compile(r"^scaling\.concurrency"), "scalingMetric.concurrency.targetValue"),
    (re.compile(r"^scaling\.rate\.target"), "scalingMetric.requestRate.targetValue"),
    (re.compile(r"^scaling\.rate"), "scalingMetric.requestRate"),
    (re.compile(r"^scaling\.activity_period"), "activityPeriod"),
    (re.compile(r"_([a-z])"), lambda match: match[1].upper()),
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
    @property
    def annotations(self) -> dict[str, str] | None: ...


class Translation(msgspec.Struct, frozen=True):
    """A route, found valid, and the bodies that it still needs."""

    route: Route
    references: tuple[Reference, ...] = ()


def of_http_scaled_object(meta: Named, spec: HTTPScaledObjectSpec) -> Translation:
    """Raises Problem."""
    target, failover = spec.scale_target_ref, spec.cold_start_timeout_failover_ref
    cold = cold_start_of(meta.namespace, spec.cold_start)
    if failover is not None:
        fallback = Target(f"{meta.namespace}/{failover.service}", port_of(failover.port, failover.port_name))
        cold = msgspec.structs.replace(cold, fallback=fallback)
    route = Route(
        app=f"{meta.namespace}/{meta.name}",
        target=Target(f"{meta.namespace}/{target.service}", port_of(target.port, target.port_name)),
        rules=(Rule(spec.hosts or (), paths_of(spec.path_prefixes or ()), header_matches(spec.headers)),),
        scaling=_scaling(spec.scaling_metric, spec.activity_period, spec.target_pending_requests),
        timeouts=_http_timeouts(spec),
        created=meta.created,
    )
    return _whole(meta, spec, route, cold, (*_HTTP_FIELDS, *(_FAILOVER_FIELDS if failover else ()), *_BOTH_FIELDS))


def of_interceptor_route(meta: Named, spec: InterceptorRouteSpec) -> Translation:
    """Raises Problem."""
    route = Route(
        app=f"{meta.namespace}/{meta.name}",
        target=Target(f"{meta.namespace}/{spec.target.service}", port_of(spec.target.port, spec.target.port_name)),
        rules=tuple(rule_of(rule) for rule in spec.rules or ()),
        scaling=_scaling(spec.scaling_metric, spec.activity_period, None),
        timeouts=_route_timeouts(spec),
        created=meta.created,
    )
    return _whole(meta, spec, route, cold_start_of(meta.namespace, spec.cold_start), _BOTH_FIELDS)


def _whole(meta: Named, spec: Treatment, route: Route, cold: ColdStart, names: _Names) -> Translation:
    """With the fields that both kinds of objects have."""
    maintenance, page = maintenance_of(meta)
    route = msgspec.structs.replace(
        route,
        static_routes=static_routes_of(spec.static_routes),
        cold_start=cold,
        maintenance=maintenance,
        affinity=None if spec.affinity is None else _affinity(spec.affinity),
        protection=Protection(spec.backend_concurrency, spec.max_requests, spec.readiness_path),
        server_timing=spec.server_timing,
        answer_half_closed=spec.answer_half_closed,
    )
    _check(route, names)
    return Translation(route, (*references_of(meta.namespace, spec.cold_start, spec.static_routes), *page))


def _affinity(given: AffinitySpec) -> Affinity:
    return Affinity(given.cookie, given.header, _optional("spec.affinity.maxAge", given.max_age))


def _check(route: Route, names: _Names) -> None:
    try:
        check_route(route)
    except RouteError as error:
        field = error.field
        if field.startswith("maintenance"):
            raise Problem(f"metadata.annotations[{MAINTENANCE}]", error.reason) from error
        for pattern, name in names:
            field = pattern.sub(name, field)
        raise Problem(f"spec.{field}", error.reason) from error


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
    readiness = _with_fallback(readiness, spec)
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
    readiness = _with_fallback(readiness, spec)
    if given is None:
        return Timeouts(readiness=readiness)
    return Timeouts(
        readiness=readiness,
        connect=_optional("spec.timeouts.connect", given.connect),
        response_header=_optional("spec.timeouts.responseHeader", given.response_header),
        request=_optional("spec.timeouts.request", given.request),
        idle=_optional("spec.timeouts.idle", given.idle),
    )


def _with_fallback(readiness: float | None, spec: Treatment) -> float | None:
    """Without a limit, a fallback would never get anything."""
    has_fallback = spec.cold_start is not None and spec.cold_start.fallback is not None
    return FALLBACK_READINESS_SECONDS if readiness == 0 and has_fallback else readiness


def _optional(field: str, text: str | None) -> float | None:
    return None if text is None else _seconds(field, text)


def _seconds(field: str, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise Problem(field, str(error)) from error
