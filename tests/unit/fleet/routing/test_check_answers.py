"""Invalid local answers, and their error messages."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fleet.routing.check import MAX_CLAIMS, RouteError, check_route
from fleet.routing.check_answers import MAX_ANSWER_BYTES, answer_bytes
from fleet.routing.kinds import MAX_AGENT, MAX_PATH
from fleet.routing.route import (
    MAX_AGENTS,
    MAX_FILES,
    MAX_RESPONSE_HEADERS,
    MAX_STATIC_ROUTES,
    Affinity,
    ColdStart,
    HeaderMatch,
    Placeholder,
    Previews,
    Protection,
    Route,
    Rule,
    StaticFile,
    StaticResponse,
    StaticRoute,
    Target,
)

TARGET = Target("shop/web", 80)
PAGE = StaticResponse(503, (("Content-Type", "text/html"), ("X-Why", "asleep ü")), b"<p>soon")


def routed(**fields: Any) -> Route:
    return Route("shop/web", TARGET, **fields)


def static(response: StaticResponse = StaticResponse(), **fields: Any) -> Route:  # noqa: B008  frozen
    return routed(static_routes=(StaticRoute(StaticResponse()), StaticRoute(response, **fields)))


def cold(**fields: Any) -> Route:
    return routed(cold_start=ColdStart(**fields))


def files(*given: StaticFile) -> Route:
    return static(StaticResponse(files=given))


def body(size: int) -> StaticResponse:
    return StaticResponse(body=bytes(size))


GOOD: list[Route] = [
    static(PAGE, rules=(Rule(("a.test",), ("/healthz",)),), user_agents=("kube-probe/*", "*"), always=True),
    *(static(StaticResponse(status)) for status in (200, 204, 304, 599)),
    static(user_agents=("a" * MAX_AGENT,) * MAX_AGENTS),
    files(StaticFile("/index.html", b"x", "text/html"), StaticFile("/a", b"")),
    static(StaticResponse(body=b"", headers=(("X-A", ""), ("x-a", "again")))),
    routed(static_routes=(StaticRoute(PAGE),) * MAX_STATIC_ROUTES),
    routed(maintenance=PAGE),
    routed(maintenance=StaticResponse()),
    routed(maintenance=body(MAX_ANSWER_BYTES)),
    cold(placeholder=Placeholder(PAGE, browsers_only=True), overflow_placeholder=True, max_held=0, max_held_bytes=0),
    cold(fallback=Target("shop/sorry", "http")),
    cold(fallback=Target("shop/web", 81)),
    routed(affinity=Affinity(cookie="weir_session", max_age=0)),
    routed(affinity=Affinity(header="X-Session")),
    routed(protection=Protection(0, 0, "/healthz?full=1")),
    routed(server_timing=True),
    routed(answer_half_closed=True),
    routed(answer_half_closed=False),
]

AT = "static_routes[1]"
BAD: list[tuple[str, Route]] = [
    *((f"{AT}.response.status", static(StaticResponse(status))) for status in (0, -1, 99, 100, 101, 199, 600)),
    *(
        (f"{AT}.response.headers[0]", static(StaticResponse(headers=((name, "x"),))))
        for name in ("", "a b", "ü", "x\n", ":status")
    ),
    *(
        (f"{AT}.response.headers[1]", static(StaticResponse(headers=(("x", "y"), (name, "0")))))
        for name in (
            "Connection",
            "content-length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Upgrade",
            "Keep-Alive",
            "Proxy-Connection",
        )
    ),
    *(
        (f"{AT}.response.headers[0]", static(StaticResponse(headers=(("x", value),))))
        for value in ("a\r\nSet-Cookie: b", " a", "a ", "\x00", "\ud800")
    ),
    (f"{AT}.response.headers", static(StaticResponse(headers=(("x", "y"),) * (MAX_RESPONSE_HEADERS + 1)))),
    (f"{AT}.response.files", static(StaticResponse(body=b"", files=(StaticFile("/a", b""),)))),
    (f"{AT}.response.files", files(*(StaticFile(f"/{n}", b"") for n in range(MAX_FILES + 1)))),
    (f"{AT}.response.files[0].path", files(StaticFile("a", b""))),
    (f"{AT}.response.files[0].path", files(StaticFile("/" + "a" * MAX_PATH, b""))),
    (f"{AT}.response.files[1].path", files(StaticFile("/a", b""), StaticFile("/a", b"x"))),
    (f"{AT}.response.files[0].content_type", files(StaticFile("/a", b"", "text/html\r\n"))),
    (f"{AT}.rules[0].hosts[0]", static(rules=(Rule(("a b",)),))),
    (f"{AT}.rules[1].paths[0]", static(rules=(Rule(), Rule(paths=("a",))))),
    (f"{AT}.rules[0].headers[0].name", static(rules=(Rule(headers=(HeaderMatch("a b"),)),))),
    (f"{AT}.rules", static(rules=(Rule(("a.test",) * 101, ("/",) * 100),))),
    *((f"{AT}.user_agents[0]", static(user_agents=(agent,))) for agent in ("", "a\n", " a", "a" * (MAX_AGENT + 1))),
    (f"{AT}.user_agents", static(user_agents=("a",) * (MAX_AGENTS + 1))),
    ("static_routes", routed(static_routes=(StaticRoute(StaticResponse()),) * (MAX_STATIC_ROUTES + 1))),
    ("static_routes", routed(static_routes=(StaticRoute(StaticResponse(), (Rule(("a.test",) * MAX_CLAIMS),)),) * 2)),
    ("static_routes", routed(static_routes=(StaticRoute(body(MAX_ANSWER_BYTES)), StaticRoute(body(1))))),
    ("static_routes", files(StaticFile("/a", bytes(MAX_ANSWER_BYTES)), StaticFile("/b", b"x"))),
    ("cold_start", cold(placeholder=Placeholder(body(MAX_ANSWER_BYTES + 1)))),
    ("maintenance", routed(maintenance=body(MAX_ANSWER_BYTES + 1))),
    ("maintenance.status", routed(maintenance=StaticResponse(103))),
    ("cold_start.placeholder.response.status", cold(placeholder=Placeholder(StaticResponse(1)))),
    ("cold_start.fallback.service", cold(fallback=Target("sorry"))),
    ("cold_start.fallback.port", cold(fallback=Target("shop/sorry", 0))),
    ("cold_start.fallback", cold(fallback=TARGET)),
    ("cold_start.overflow_placeholder", cold(overflow_placeholder=True)),
    ("cold_start.max_held", cold(max_held=-1)),
    ("cold_start.max_held_bytes", cold(max_held_bytes=-1)),
    ("cold_start.max_held_bytes", cold(max_held_bytes=1 << 64)),
    ("affinity", routed(affinity=Affinity())),
    ("affinity", routed(affinity=Affinity(cookie="a", header="b"))),
    *(("affinity.cookie", routed(affinity=Affinity(cookie=name))) for name in ("", "a b", "a=b", "a;b", "ü")),
    ("affinity.header", routed(affinity=Affinity(header="a b"))),
    ("previews.cookie", routed(affinity=Affinity(cookie="s"), previews=Previews(cookie="s"))),
    *(("affinity.max_age", routed(affinity=Affinity(cookie="a", max_age=age))) for age in (-1, math.inf, math.nan)),
    ("affinity.max_age", routed(affinity=Affinity(header="a", max_age=1))),
    ("protection.backend_concurrency", routed(protection=Protection(backend_concurrency=-1))),
    ("protection.max_requests", routed(protection=Protection(max_requests=-1))),
    ("protection.max_requests", routed(protection=Protection(max_requests=10**30))),
    *(
        ("protection.readiness_path", routed(protection=Protection(readiness_path=path)))
        for path in ("", "healthz", "/a b", "/a\r\nHost: b", "/ü", "/a#b", "/" + "a" * MAX_PATH)
    ),
]


@pytest.mark.parametrize("route", GOOD, ids=range(len(GOOD)))
def test_good_answers_pass(route: Route) -> None:
    check_route(route)


@pytest.mark.parametrize(("field", "route"), BAD, ids=range(len(BAD)))
def test_bad_answers_are_refused_with_their_field(field: str, route: Route) -> None:
    with pytest.raises(RouteError) as raised:
        check_route(route)
    assert raised.value.field == field
    assert "\n" not in str(raised.value)


def test_bodies_count_wherever_they_stand() -> None:
    route = Route(
        "shop/web",
        TARGET,
        static_routes=(StaticRoute(body(1)), StaticRoute(StaticResponse(files=(StaticFile("/a", b"ab"),)))),
        cold_start=ColdStart(placeholder=Placeholder(body(4))),
        maintenance=body(8),
    )
    assert answer_bytes(route) == 15
