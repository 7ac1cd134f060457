"""Whether the answers that need no backend are fit for a table: static routes, placeholders, maintenance. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.routing.check_rules import MAX_CLAIMS, check_rules, check_target, claims
from fleet.routing.faults import Fail, check_count, check_path, check_sendable, check_token
from fleet.routing.route import ColdStart, Route, StaticResponse, StaticRoute

__all__ = [
    "MAX_AGENT",
    "MAX_AGENTS",
    "MAX_ANSWER_BYTES",
    "MAX_FILES",
    "MAX_RESPONSE_HEADERS",
    "MAX_STATIC_ROUTES",
    "answer_bytes",
    "check_agent",
    "check_answers",
    "check_header_name",
    "check_status",
]

MAX_STATIC_ROUTES = 100
"""Of one route. Each that fits a path is looked at, so they are a part of what a request costs."""
MAX_AGENTS = 100
"""Patterns of user agents in one static route; each is compared with the header."""
MAX_AGENT = 256
"""Characters of one pattern. Longer than the user agents that there are."""
MAX_FILES = 1000
"""Of one response: more than a page needs."""
MAX_ANSWER_BYTES = 1 << 20
"""Bodies of one route together: what a ConfigMap holds. Every interceptor keeps them all in memory."""
MAX_RESPONSE_HEADERS = 100
"""As many as clients are used to take."""

_NOT_OURS = frozenset(
    {
        "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""RFC 9110 section 7.6.1: of the connection, not of the answer; and the length, which follows from the body."""


_NOTHING = ColdStart()


def check_answers(route: Route, fail: Fail) -> None:
    """What a request may meet instead of a backend."""
    if route.static_routes:
        _check_statics(route, fail)
    if route.cold_start != _NOTHING:
        _check_cold_start(route, fail)
    if route.maintenance is not None:
        _check_response(route.maintenance, "maintenance", fail)
    _check_size(route, fail)


def _check_statics(route: Route, fail: Fail) -> None:
    if len(route.static_routes) > MAX_STATIC_ROUTES:
        raise fail("static_routes", f"{len(route.static_routes)} of them, at most {MAX_STATIC_ROUTES} are possible")
    for position, static in enumerate(route.static_routes):
        _check_static(static, f"static_routes[{position}]", fail)
    if sum(claims(static.rules) for static in route.static_routes) > MAX_CLAIMS:
        raise fail("static_routes", f"more than {MAX_CLAIMS} combinations of host, path and method")


def answer_bytes(route: Route) -> int:
    """Size of all bodies of a route."""
    return sum(_size(response) for _, response in _responses(route))


def _check_size(route: Route, fail: Fail) -> None:
    size = 0
    for field, response in _responses(route):
        size += _size(response)
        if size > MAX_ANSWER_BYTES:
            raise fail(field, f"{size} bytes of bodies, at most {MAX_ANSWER_BYTES} are possible")


def _responses(route: Route) -> Iterator[tuple[str, StaticResponse]]:
    """Every answer, and the field that it stands in."""
    for static in route.static_routes:
        yield "static_routes", static.response
    if route.cold_start.placeholder is not None:
        yield "cold_start", route.cold_start.placeholder.response
    if route.maintenance is not None:
        yield "maintenance", route.maintenance


def _size(response: StaticResponse) -> int:
    return len(response.body or b"") + sum(len(file.body) for file in response.files)


def _check_static(static: StaticRoute, field: str, fail: Fail) -> None:
    check_rules(static.rules, f"{field}.rules", fail)
    if len(static.user_agents) > MAX_AGENTS:
        raise fail(f"{field}.user_agents", f"{len(static.user_agents)} patterns, at most {MAX_AGENTS} are possible")
    for position, pattern in enumerate(static.user_agents):
        check_agent(pattern, f"{field}.user_agents[{position}]", fail)
    _check_response(static.response, f"{field}.response", fail)


def check_agent(pattern: str, field: str, fail: Fail) -> None:
    if not pattern:
        raise fail(field, 'is empty; "*" is any user agent')
    if len(pattern) > MAX_AGENT:
        raise fail(field, f"longer than {MAX_AGENT} characters")
    check_sendable(pattern, field, fail, what="request")


def _check_cold_start(route: Route, fail: Fail) -> None:
    cold = route.cold_start
    if cold.placeholder is not None:
        _check_response(cold.placeholder.response, "cold_start.placeholder.response", fail)
    if cold.fallback is not None:
        check_target(cold.fallback, "cold_start.fallback", fail)
        if cold.fallback == route.target:
            raise fail("cold_start.fallback", "is the target itself")
    _check_waiting(cold, fail)


def _check_waiting(cold: ColdStart, fail: Fail) -> None:
    for name, bound in (("max_held", cold.max_held), ("max_held_bytes", cold.max_held_bytes)):
        if bound is not None:
            check_count(bound, f"cold_start.{name}", fail)
    if cold.overflow_placeholder and cold.placeholder is None:
        raise fail("cold_start.overflow_placeholder", "there is no placeholder")


def _check_response(response: StaticResponse, field: str, fail: Fail) -> None:
    if response.status is not None:
        check_status(response.status, f"{field}.status", fail)
    if len(response.headers) > MAX_RESPONSE_HEADERS:
        raise fail(f"{field}.headers", f"{len(response.headers)} headers, at most {MAX_RESPONSE_HEADERS} are possible")
    for position, (name, value) in enumerate(response.headers):
        _check_header(name, value, f"{field}.headers[{position}]", fail)
    if response.files and response.body is not None:
        raise fail(f"{field}.files", "there is a body as well")
    _check_files(response, field, fail)


def check_status(status: int, field: str, fail: Fail) -> None:
    if not 200 <= status <= 599:
        # 1xx announces another answer, which would never come.
        raise fail(field, f"{status} is not the status of an answer, from 200 to 599")


def check_header_name(name: str, field: str, fail: Fail) -> None:
    """Of an answer."""
    check_token(name, field, fail)
    if name.lower() in _NOT_OURS:
        raise fail(field, f"{name} belongs to the connection, and is the interceptor's own")


def _check_header(name: str, value: str, field: str, fail: Fail) -> None:
    check_header_name(name, field, fail)
    check_sendable(value, field, lambda at, reason: fail(at, f"{name}: {reason}"))


def _check_files(response: StaticResponse, field: str, fail: Fail) -> None:
    if len(response.files) > MAX_FILES:
        raise fail(f"{field}.files", f"{len(response.files)} files, at most {MAX_FILES} are possible")
    seen = set()
    for position, file in enumerate(response.files):
        at = f"{field}.files[{position}]"
        check_path(file.path, f"{at}.path", fail)
        if file.path in seen:
            raise fail(f"{at}.path", f"{file.path!r} is there twice")
        seen.add(file.path)
        if file.content_type is not None:
            check_sendable(file.content_type, f"{at}.content_type", fail)
