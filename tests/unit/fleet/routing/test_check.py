"""Invalid routes, and their error messages."""

from __future__ import annotations

import math

import pytest

from fleet.routing.check import MAX_BUCKETS, MAX_CLAIMS, RouteError, check_route
from fleet.routing.kinds import MAX_PATH
from fleet.routing.route import MAX_HEADERS, HeaderMatch, RateTarget, Route, Rule, Scaling, Target, Timeouts

TARGET = Target("shop/web", 80)


def ruled(rule: Rule) -> Route:
    return Route("shop/web", TARGET, (Rule(), rule))


def headed(name: str, value: str | None = None) -> Route:
    return ruled(Rule(headers=(HeaderMatch(name, value),)))


def scaled(concurrency: float | None = None, rate: RateTarget | None = None, activity_period: float = 15.0) -> Route:
    return Route("shop/web", TARGET, scaling=Scaling(concurrency, rate, activity_period))


GOOD: list[Route] = [
    Route("shop/web", Target("shop/web")),
    Route("shop/web", Target("other-1/a.b", "http")),
    ruled(Rule(("a.test", "A_b.Test:80", "*.test", "*", "*:80", "10.0.0.1", "[::1]:80", "::1", "xn--bcher-kva.test", "a.test."))),
    ruled(Rule(paths=("/", "/a b/ü", "//", "/%2F?", "/" + "a" * (MAX_PATH - 1)))),
    headed("X-Any_Token!"),
    headed("x", ""),
    headed("x", "a\tb ü"),
    scaled(0.5),
    scaled(1, RateTarget(1, window=0.5, granularity=0.001)),
    scaled(rate=RateTarget(1, window=1, granularity=1), activity_period=0),
    scaled(rate=RateTarget(1, window=MAX_BUCKETS, granularity=1)),
    Route("shop/web", TARGET, timeouts=Timeouts(readiness=0, connect=0.5, request=3600)),
    ruled(Rule(tuple(f"a{n}.test" for n in range(MAX_CLAIMS - 1)))),
]

BAD: list[tuple[str, Route]] = [
    *(("app", Route(app, TARGET)) for app in ("web", "", "shop/", "/web", "a/b/c", "Shop/web", "shop/we b", "shop/w\n")),
    *(("target.service", Route("shop/web", Target(service))) for service in ("web", "shop/", "shop/-web")),
    *(("target.port", Route("shop/web", Target("shop/web", port))) for port in (0, -1, 65536, "", "a b")),
    *(
        ("rules[1].hosts[0]", ruled(Rule((host,))))
        for host in ("", ".", "a..test", "a b", "a*.test", "*.*.test", "*.", "*a", "-a.test", "bücher.test", "a/b", "[a.test]")
    ),
    *(
        ("rules[1].hosts[0]", ruled(Rule((host,))))
        for host in ("a" * 64 + ".test", "a." * 127 + "a", "a.test\n", "[::1", "1::2::3")
    ),
    *(
        ("rules[1].hosts[1]", ruled(Rule(("a.test", host))))
        for host in ("http://a.test", "a.test:b", "a.test:80:80", "[::1]x", "[::1]:b")
    ),
    *(("rules[1].paths[0]", ruled(Rule(paths=(path,)))) for path in ("", "a", "/a\nb", "/\x00", "/\ud800", "/" + "a" * MAX_PATH)),
    *(("rules[1].headers[0].name", headed(name)) for name in ("", "a b", "a:", ":path", "x\n", "ü")),
    *(("rules[1].headers[0].value", headed("x", value)) for value in (" a", "a ", "\ta", "a\r\nb", "\x00", "\ud800", "a\n")),
    ("rules[1].headers", ruled(Rule(headers=tuple(HeaderMatch(f"x{n}") for n in range(MAX_HEADERS + 1))))),
    ("rules", ruled(Rule(("a.test",) * 100, ("/",) * 100))),
    *(("scaling.concurrency", scaled(value)) for value in (0, -1, math.inf, math.nan)),
    *(("scaling.rate.target", scaled(rate=RateTarget(value))) for value in (0, -1, math.inf, math.nan)),
    *(("scaling.rate.window", scaled(rate=RateTarget(1, window=value))) for value in (0, -1, math.inf, math.nan)),
    *(
        ("scaling.rate.granularity", scaled(rate=RateTarget(1, granularity=value)))
        for value in (0, -1, 0.0009, 60.1, math.inf, math.nan)
    ),
    ("scaling.rate.granularity", scaled(rate=RateTarget(1, window=1.1 * MAX_BUCKETS))),
    *(("scaling.activity_period", scaled(activity_period=value)) for value in (-1, math.inf, math.nan)),
    *(("timeouts.idle", Route("shop/web", TARGET, timeouts=Timeouts(idle=value))) for value in (-1, math.inf, math.nan)),
    *(("created", Route("shop/web", TARGET, created=value)) for value in (-1, math.inf, math.nan)),
]


@pytest.mark.parametrize("route", GOOD, ids=range(len(GOOD)))
def test_good_routes_pass(route: Route) -> None:
    check_route(route)


@pytest.mark.parametrize(("field", "route"), BAD, ids=range(len(BAD)))
def test_bad_routes_are_refused_with_application_and_field(field: str, route: Route) -> None:
    with pytest.raises(RouteError) as raised:
        check_route(route)
    assert (raised.value.app, raised.value.field) == (route.app, field)
    message = str(raised.value)
    assert message.startswith(f"route {route.app!r}: {field}: ")
    assert "\n" not in message


def test_messages_say_what_is_possible() -> None:
    with pytest.raises(RouteError) as raised:
        check_route(ruled(Rule(("a.test", "shop test"))))
    assert str(raised.value) == (
        "route 'shop/web': rules[1].hosts[1]: 'shop test' is not a host, a wildcard such as \"*.example.com\", or \"*\""
    )
