"""Converts the targets and durations of a custom resource to those of its route. Pure.

The add-on's schemas hardly validate these fields. A field with a meaningless value is treated as not set, and noted for the
status; requests are routed all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.durations import seconds
from controller.problem import Problem
from controller.schema.answers import Treatment
from controller.schema.common import Rate, ScalingMetric
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from controller.schema.http_scaled_object import Rate as HttpRate
from controller.schema.http_scaled_object import ScalingMetric as HttpScalingMetric
from controller.schema.interceptor_route import InterceptorRouteSpec
from fleet.defaults import ACTIVITY_PERIOD, FAILOVER_SECONDS, TARGET
from fleet.routing.check import MAX_BUCKETS
from fleet.routing.kinds import MIN_GRANULARITY
from fleet.routing.route import RateTarget, Scaling, Timeouts

__all__ = [
    "Notes",
    "duration",
    "for_keda",
    "http_timeouts",
    "note_for_keda",
    "note_patterns",
    "route_timeouts",
    "scaling_of",
]

_USUAL = "the interceptors' setting holds"
_MAX_SHOWN = 40
"""Characters of a value that are repeated in a note."""
_DEFAULT_RATE = RateTarget(float(TARGET))


_INT32 = range(-(1 << 31), 1 << 31)
"""The range that KEDA can parse. The API server accepts larger numbers, but then KEDA fails to decode the list of all
ScaledObjects."""


class Notes:
    """Ignored fields of one object, each with the reason and the value used instead."""

    def __init__(self) -> None:
        self.ignored: list[Problem] = []

    def ignore(self, field: str, why: str) -> None:
        self.ignored.append(Problem(f"spec.{field}", why))


def for_keda(number: int | None) -> int | None:
    """A number for a ScaledObject; None when KEDA could not parse it."""
    return number if number is None or number in _INT32 else None


def note_for_keda(notes: Notes, spec: HTTPScaledObjectSpec) -> None:
    """Note the numbers that are used only in the ScaledObject, and are left out there."""
    replicas = spec.replicas
    numbers = {
        "replicas.min": replicas.min if replicas else None,
        "replicas.max": replicas.max if replicas else None,
        "scaledownPeriod": spec.scaledown_period,
        "initialCooldownPeriod": spec.initial_cooldown_period,
        "pollingInterval": spec.polling_interval,
    }
    for field, number in numbers.items():
        if number != for_keda(number):
            notes.ignore(field, f"{number} is more than 32 bits; KEDA's default holds")


def note_patterns(notes: Notes, field: str, prefixes: Sequence[str]) -> None:
    """Note prefixes that look like patterns: prefixes match whole segments, and have no wildcards."""
    for number, prefix in enumerate(prefixes):
        if "?" in prefix or "#" in prefix:
            notes.ignore(f"{field}[{number}]", f"{_shown(prefix)} has a ? or a #, which no path has: no request fits")
        elif "*" in prefix:
            notes.ignore(f"{field}[{number}]", f"{_shown(prefix)} has a *, which stands for itself: a prefix takes all below it")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")


def duration(field: str, text: str | None) -> float | None:
    """A duration of one of our own fields, in seconds, as checked by the schema. Raises Problem for objects that bypassed the
    schema."""
    if text is None:
        return None
    try:
        return seconds(text)
    except ValueError as error:
        raise Problem(f"spec.{field}", str(error)) from error


def scaling_of(
    notes: Notes,
    metric: ScalingMetric | HttpScalingMetric | None,
    activity_period: str | None,
    max_busy: str | None,
    pending: int | None,
) -> Scaling:
    """`pending` is the older form of a concurrency target. Raises Problem."""
    concurrency = None
    rate = None
    if metric is not None and metric.concurrency is not None:
        concurrency = _target(notes, "scalingMetric.concurrency.targetValue", metric.concurrency.target_value)
    if metric is not None and metric.request_rate is not None:
        rate = _rate(notes, metric.request_rate)
    if concurrency is None and rate is None:
        concurrency = _target(notes, "targetPendingRequests", TARGET if pending is None else pending)
    active, busy = duration("activityPeriod", activity_period), duration("maxBusy", max_busy)
    return Scaling(concurrency, rate, ACTIVITY_PERIOD if active is None else active, busy or 0.0)


def _target(notes: Notes, field: str, value: int) -> float:
    if value >= 1:
        return float(value)
    notes.ignore(field, f"{value} is less than 1; the target is {TARGET}")
    return float(TARGET)


def _rate(notes: Notes, given: Rate | HttpRate) -> RateTarget:
    field = "scalingMetric.requestRate"
    target = _target(notes, f"{field}.targetValue", given.target_value)
    usual = _DEFAULT_RATE.window
    window = _any_duration(notes, f"{field}.window", given.window, f"the window is {usual:g} s")
    if window is not None and window < MIN_GRANULARITY:
        notes.ignore(f"{field}.window", f"{given.window!r} is less than {MIN_GRANULARITY:g} s; the window is {usual:g} s")
        window = None
    window = usual if window is None else window
    return RateTarget(target, window, _granularity(notes, f"{field}.granularity", given.granularity, window))


def _granularity(notes: Notes, field: str, text: str, window: float) -> float:
    """The nearest granularity that a window of this length can have."""
    usual = _DEFAULT_RATE.granularity
    size = _any_duration(notes, field, text, f"the window's parts are {usual:g} s, if it is that long")
    wanted = usual if size is None else size
    # one bucket less than the maximum, because the quotient is rounded
    possible = min(max(wanted, MIN_GRANULARITY, window / (MAX_BUCKETS - 1)), window)
    if size is not None and possible != wanted:
        notes.ignore(field, f"{text!r} does not split a window of {window:g} s; its parts are {possible:g} s")
    return possible


def http_timeouts(notes: Notes, spec: HTTPScaledObjectSpec) -> Timeouts:
    """Raises Problem."""
    given, failover = spec.timeouts, spec.cold_start_timeout_failover_ref
    readiness = _limit(notes, "timeouts.conditionWait", given.condition_wait if given else None)
    if failover is not None:
        readiness = _failover(notes, failover.timeout_seconds)
    readiness = _with_fallback(readiness, spec)
    if given is None:
        return Timeouts(readiness=readiness)
    return Timeouts(
        readiness=readiness,
        connect=duration("timeouts.connect", given.connect),
        response_header=_limit(notes, "timeouts.responseHeader", given.response_header),
        request=duration("timeouts.request", given.request),
        idle=duration("timeouts.idle", given.idle),
    )


def route_timeouts(notes: Notes, spec: InterceptorRouteSpec) -> Timeouts:
    """Raises Problem."""
    given = spec.timeouts
    readiness = _limit(notes, "timeouts.readiness", given.readiness if given else None)
    readiness = _with_fallback(readiness, spec)
    if given is None:
        return Timeouts(readiness=readiness)
    return Timeouts(
        readiness=readiness,
        connect=duration("timeouts.connect", given.connect),
        response_header=_limit(notes, "timeouts.responseHeader", given.response_header),
        request=_limit(notes, "timeouts.request", given.request),
        idle=duration("timeouts.idle", given.idle),
    )


def _failover(notes: Notes, given: int) -> float:
    if given < 0:
        notes.ignore(
            "coldStartTimeoutFailoverRef.timeoutSeconds",
            f"{given} is less than 0; requests wait {FAILOVER_SECONDS} s",
        )
    return float(given) if given > 0 else float(FAILOVER_SECONDS)


def _with_fallback(readiness: float | None, spec: Treatment) -> float | None:
    """A default limit for routes with a fallback: without one, the fallback would never be used."""
    has_fallback = spec.cold_start is not None and spec.cold_start.fallback is not None
    return float(FAILOVER_SECONDS) if readiness == 0 and has_fallback else readiness


def _limit(notes: Notes, field: str, text: str | None) -> float | None:
    """A time limit of the add-on. A negative one means no limit, as in the add-on."""
    limit = None if text is None else _any_duration(notes, field, text, _USUAL)
    if limit is not None and limit < 0:
        notes.ignore(field, f"{text!r} is less than 0; there is no limit")
        return 0.0
    return limit


def _any_duration(notes: Notes, field: str, text: str, instead: str) -> float | None:
    """A duration in seconds, possibly negative; None when the text is not a duration."""
    try:
        size = seconds(text[1:] if text[:1] in ("-", "+") else text)
    except ValueError:
        notes.ignore(field, f'{_shown(text)} is not a duration such as "500ms", "30s" or "1m30s"; {instead}')
        return None
    return -size if text.startswith("-") else size
