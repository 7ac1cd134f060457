"""The cost of a match depends on the request, not on the number of routes, and no request can exceed a limit."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from time import process_time

import pytest

from fleet.routing.route import HeaderMatch, Route, Rule, StaticResponse, StaticRoute, Target
from fleet.routing.static import StaticRoutes
from fleet.routing.table import RoutingTable
from tests.support.full import FULL
from tests.support.growth import count as steps

MANY = 10_000 if FULL else 2_500
HEADERS = [(b"accept", b"*/*"), (b"x-env", b"prod"), (b"x-tenant", b"t0"), (b"user-agent", b"test")]


def _table(count: int, rule: Callable[[int], Rule]) -> RoutingTable:
    """Routes of which the first is the newest, so that a search in order of age would find it last."""
    return RoutingTable(Route(f"shop/a{n}", Target("shop/a", 80), (rule(n),), created=float(count - n)) for n in range(count))


def _tenant(number: int) -> Rule:
    return Rule(("one.test",), headers=(HeaderMatch("x-env", "prod"), HeaderMatch("X-Tenant", f"t{number}")))


RULES: dict[str, Callable[[int], Rule]] = {
    "hosts": lambda number: Rule((f"a{number}.test",)),
    "wildcards": lambda number: Rule((f"*.a{number}.test",)),
    "paths": lambda number: Rule(("one.test",), (f"/v1/p{number}",)),
    "headers": _tenant,
}
REQUESTS = {
    "hosts": (b"A0.test:80", b"/v1"),
    "wildcards": (b"x.a0.test", b"/v1"),
    "paths": (b"one.test", b"/v1/p0/x"),
    "headers": (b"one.test", b"/"),
}


def _time(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=1000, repeat=9, timer=process_time))


@pytest.mark.parametrize("kind", RULES)
def test_thousands_of_routes_match_as_fast_as_one(kind: str) -> None:
    host, path = REQUESTS[kind]
    one, many = _table(1, RULES[kind]), _table(MANY, RULES[kind])

    def of(table: RoutingTable) -> Callable[[], object]:
        return lambda: table.match(host, path, HEADERS)

    for table in (one, many):
        assert table.match(host, path, HEADERS) is table.apps["shop/a0"]
    assert steps(of(many)) == steps(of(one))
    # Counting bytecodes misses loops in C. Such a loop over the routes would be a hundred times slower; a busy machine is not.
    assert _time(of(many)) < 25 * _time(of(one))


def test_a_request_that_no_static_route_answers_costs_the_same_however_many_there_are() -> None:
    def statics(count: int) -> StaticRoutes:
        return StaticRoutes([StaticRoute(StaticResponse(), (Rule(paths=(f"/h{number}",)),)) for number in range(count)])

    one, many = statics(1), statics(100)
    assert one.find(b"one.test", b"/h0", HEADERS) is not None
    assert steps(lambda: many.find(b"one.test", b"/cart", HEADERS)) == steps(lambda: one.find(b"one.test", b"/cart", HEADERS))


def test_steps_are_counted() -> None:
    assert steps(lambda: [n for n in range(100)]) > 10 * steps(lambda: [n for n in range(3)])  # noqa: C416


def test_hostile_requests_cost_no_more_than_the_claims_are_deep() -> None:
    table = RoutingTable([Route("shop/a", Target("shop/a", 80), (Rule(("*.a.test", "b.test"), ("/x/x",)),))])
    dots = b"a." * 4000 + b"a.test"
    slashes = b"/x" * 4000
    assert table.match(dots, slashes, []) is not None
    assert steps(lambda: table.match(dots, slashes, [])) < 500
    assert steps(lambda: table.match(b"b.test", b"/" * 8000, [])) < 500
    # Splitting the whole path, which is a loop in C, would be a hundred times slower.
    assert _time(lambda: table.match(b"b.test", slashes, [])) < 25 * _time(lambda: table.match(b"b.test", b"/x/x/x", []))
    assert steps(lambda: table.match(b"[" + b":" * 8000 + b"]", b"/", [])) < 500
