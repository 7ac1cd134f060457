"""Whether a route is fit for a table. Pure; says what is wrong with one route, knows nothing of others."""

from __future__ import annotations

import re

from fleet.routing.check_answers import check_answers
from fleet.routing.check_rules import MAX_CLAIMS, MAX_HEADERS, check_rules, check_target
from fleet.routing.faults import (
    MAX_PATH,
    Fail,
    RouteError,
    check_count,
    check_name,
    check_number,
    check_positive,
    check_token,
)
from fleet.routing.route import Affinity, Protection, RateTarget, Route

__all__ = [
    "MAX_BUCKETS",
    "MAX_CLAIMS",
    "MAX_HEADERS",
    "MAX_PATH",
    "MIN_GRANULARITY",
    "RouteError",
    "check_rate",
    "check_readiness_path",
    "check_route",
]

MAX_BUCKETS = 100_000
"""Window divided by granularity: what a scaler keeps in memory for one application. A day in seconds fits."""
MIN_GRANULARITY = 0.001
"""Seconds. Finer than any clock that the counts come from."""

_REQUEST_TARGET = re.compile(r"/[!\"$-~]*")  # sent as it is: no spaces, no fragment


def check_route(route: Route) -> None:
    """Raise RouteError for the first thing that is wrong with a route."""

    def fail(field: str, reason: str) -> RouteError:
        return RouteError(route.app, field, reason)

    check_name(route.app, "app", fail)
    check_target(route.target, "target", fail)
    check_rules(route.rules, "rules", fail)
    _check_scaling(route, fail)
    _check_timeouts(route, fail)
    check_number(route.created, "created", fail)
    check_answers(route, fail)
    if route.affinity is not None:
        _check_affinity(route.affinity, fail)
    _check_protection(route.protection, fail)


def _check_scaling(route: Route, fail: Fail) -> None:
    scaling = route.scaling
    if scaling.concurrency is not None:
        check_positive(scaling.concurrency, "scaling.concurrency", fail)
    if scaling.rate is not None:
        check_rate(scaling.rate, fail)
    check_number(scaling.activity_period, "scaling.activity_period", fail)


def check_rate(rate: RateTarget, fail: Fail) -> None:
    check_positive(rate.target, "scaling.rate.target", fail)
    check_positive(rate.window, "scaling.rate.window", fail)
    field = "scaling.rate.granularity"
    check_number(rate.granularity, field, fail)
    if rate.granularity < MIN_GRANULARITY:
        raise fail(field, f"{rate.granularity} s is less than {MIN_GRANULARITY} s")
    if rate.granularity > rate.window:
        raise fail(field, f"{rate.granularity} s is more than the window of {rate.window} s")
    if rate.window > rate.granularity * MAX_BUCKETS:
        raise fail(field, f"{rate.granularity} s splits a window of {rate.window} s into more than {MAX_BUCKETS} parts")


def _check_timeouts(route: Route, fail: Fail) -> None:
    timeouts = route.timeouts
    for name in timeouts.__struct_fields__:
        value: float | None = getattr(timeouts, name)
        if value is not None:
            check_number(value, f"timeouts.{name}", fail)


def _check_affinity(affinity: Affinity, fail: Fail) -> None:
    if (affinity.cookie is None) == (affinity.header is None):
        raise fail("affinity", "is either by a cookie or by a header")
    if affinity.cookie is not None:
        check_token(affinity.cookie, "affinity.cookie", fail, what="the name of a cookie")
    if affinity.header is not None:
        check_token(affinity.header, "affinity.header", fail)
    if affinity.max_age is not None:
        check_number(affinity.max_age, "affinity.max_age", fail)
        if affinity.cookie is None:
            raise fail("affinity.max_age", "is of a cookie, and there is none")


def _check_protection(protection: Protection, fail: Fail) -> None:
    for name in ("backend_concurrency", "max_requests"):
        value: int | None = getattr(protection, name)
        if value is not None:
            check_count(value, f"protection.{name}", fail)
    if protection.readiness_path is not None:
        check_readiness_path(protection.readiness_path, "protection.readiness_path", fail)


def check_readiness_path(path: str, field: str, fail: Fail) -> None:
    if not (_REQUEST_TARGET.fullmatch(path) and len(path) <= MAX_PATH):
        raise fail(field, f'{path[:100]!r} is not a path that starts with "/", without spaces')
