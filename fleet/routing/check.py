"""Whether a route is fit for a table. Pure; says what is wrong with one route, knows nothing of others."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable

from fleet.routing.claims import normal_host
from fleet.routing.route import HeaderMatch, RateTarget, Route, Rule, Target

__all__ = ["MAX_BUCKETS", "MAX_CLAIMS", "MAX_HEADERS", "MAX_PATH", "MIN_GRANULARITY", "RouteError", "check_route"]

MAX_CLAIMS = 10_000
"""Hosts times paths, summed over the rules of one route: a small object must not become a table of millions."""
MAX_HEADERS = 100
"""Headers in one rule. Interceptors take about as many in a whole request, so more could never match."""
MAX_PATH = 8192
"""Characters of one path prefix. Longer request targets are refused by most servers, so more could never match."""
MAX_BUCKETS = 100_000
"""Window divided by granularity: what a scaler keeps in memory for one application. A day in seconds fits."""
MIN_GRANULARITY = 0.001
"""Seconds. Finer than any clock that the counts come from."""

_HOST_BYTES = 253  # RFC 1035 section 2.3.4, in text form
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # RFC 1123 section 2.1, and the underscore that is in use
_HOST = re.compile(rf"(?:\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\.?)(?::\d{{1,5}})?", re.ASCII | re.IGNORECASE)
_IPV6 = re.compile(r"\[([0-9a-f:.]+)\](?::\d{1,5})?|([0-9a-f:.]+)", re.ASCII | re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and lone surrogates: no bytes of a request stand for them
_UNSENDABLE = re.compile(r"^[ \t]|[ \t]$|[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # RFC 9110 section 5.5
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")  # names of Kubernetes objects


class RouteError(ValueError):
    """A route that no table takes. The message names the application and the field."""

    def __init__(self, app: str, field: str, reason: str) -> None:
        super().__init__(f"route {app!r}: {field}: {reason}")
        self.app = app
        self.field = field
        self.reason = reason


_Fail = Callable[[str, str], RouteError]


def check_route(route: Route) -> None:
    """Raise RouteError for the first thing that is wrong with a route."""

    def fail(field: str, reason: str) -> RouteError:
        return RouteError(route.app, field, reason)

    _check_name(route.app, "app", fail)
    _check_target(route.target, fail)
    for position, rule in enumerate(route.rules):
        _check_rule(rule, f"rules[{position}]", fail)
    claims = sum(max(1, len(rule.hosts)) * max(1, len(rule.paths)) for rule in route.rules)
    if claims > MAX_CLAIMS:
        raise fail("rules", f"{claims} combinations of host and path, at most {MAX_CLAIMS} are possible")
    _check_scaling(route, fail)
    _check_timeouts(route, fail)
    _check_number(route.created, "created", fail)


def _check_name(text: str, field: str, fail: _Fail) -> None:
    namespace, slash, name = text.partition("/")
    if not slash or not _NAME.fullmatch(namespace) or not _NAME.fullmatch(name):
        raise fail(field, f'{text!r} is not "namespace/name"')


def _check_target(target: Target, fail: _Fail) -> None:
    _check_name(target.service, "target.service", fail)
    port = target.port
    if isinstance(port, int) and not 1 <= port <= 65535:
        raise fail("target.port", f"{port} is not between 1 and 65535")
    if isinstance(port, str) and not _NAME.fullmatch(port):
        raise fail("target.port", f"{port!r} is not the name of a port")


def _check_rule(rule: Rule, field: str, fail: _Fail) -> None:
    for position, host in enumerate(rule.hosts):
        _check_host(host, f"{field}.hosts[{position}]", fail)
    for position, path in enumerate(rule.paths):
        _check_path(path, f"{field}.paths[{position}]", fail)
    if len(rule.headers) > MAX_HEADERS:
        raise fail(f"{field}.headers", f"{len(rule.headers)} headers, at most {MAX_HEADERS} are possible")
    for position, header in enumerate(rule.headers):
        _check_header(header, f"{field}.headers[{position}]", fail)


def _check_host(host: str, field: str, fail: _Fail) -> None:
    if not host.isascii():
        raise fail(field, f"{host!r} is not ASCII; write the form with xn-- that clients send")
    fits = len(normal_host(host.encode())) <= _HOST_BYTES and (_HOST.fullmatch(host) or _is_ipv6(host))
    if not fits:
        raise fail(field, f'{host!r} is not a host, a wildcard such as "*.example.com", or "*"')


def _is_ipv6(host: str) -> bool:
    literal = _IPV6.fullmatch(host)
    try:
        return literal is not None and bool(ipaddress.IPv6Address(literal[1] or literal[2]))
    except ValueError:
        return False


def _check_path(path: str, field: str, fail: _Fail) -> None:
    if not path.startswith("/"):
        raise fail(field, f'{path!r} does not start with "/"')
    if _CONTROL.search(path):
        raise fail(field, f"{path!r} has control characters")
    if len(path) > MAX_PATH:
        raise fail(field, f"longer than {MAX_PATH} characters")


def _check_header(header: HeaderMatch, field: str, fail: _Fail) -> None:
    if not _TOKEN.fullmatch(header.name):
        raise fail(f"{field}.name", f"{header.name!r} is not the name of a header")
    if header.value is not None and _UNSENDABLE.search(header.value):
        raise fail(f"{field}.value", "no request can carry it: spaces at an end, or control characters")


def _check_scaling(route: Route, fail: _Fail) -> None:
    scaling = route.scaling
    if scaling.concurrency is not None:
        _check_positive(scaling.concurrency, "scaling.concurrency", fail)
    if scaling.rate is not None:
        _check_rate(scaling.rate, fail)
    _check_number(scaling.activity_period, "scaling.activity_period", fail)


def _check_rate(rate: RateTarget, fail: _Fail) -> None:
    _check_positive(rate.target, "scaling.rate.target", fail)
    _check_positive(rate.window, "scaling.rate.window", fail)
    field = "scaling.rate.granularity"
    _check_number(rate.granularity, field, fail)
    if rate.granularity < MIN_GRANULARITY:
        raise fail(field, f"{rate.granularity} s is less than {MIN_GRANULARITY} s")
    if rate.granularity > rate.window:
        raise fail(field, f"{rate.granularity} s is more than the window of {rate.window} s")
    if rate.window > rate.granularity * MAX_BUCKETS:
        raise fail(field, f"{rate.granularity} s splits a window of {rate.window} s into more than {MAX_BUCKETS} parts")


def _check_timeouts(route: Route, fail: _Fail) -> None:
    timeouts = route.timeouts
    for name in timeouts.__struct_fields__:
        value: float | None = getattr(timeouts, name)
        if value is not None:
            _check_number(value, f"timeouts.{name}", fail)


def _check_number(value: float, field: str, fail: _Fail) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise fail(field, f"{value} is not a number from 0 up")


def _check_positive(value: float, field: str, fail: _Fail) -> None:
    if not (math.isfinite(value) and value > 0):
        raise fail(field, f"{value} is not a number above 0")
