"""Methods in rules: which requests they select, their cost for tables without methods, and how they are shown."""

from __future__ import annotations

import pytest

from fleet.routing.check import RouteError
from fleet.routing.codec import decode_json, decode_yaml, encode_json, encode_yaml
from fleet.routing.explanation import explain
from fleet.routing.match import METHOD
from fleet.routing.route import HeaderMatch, Route, Rule, StaticResponse, StaticRoute, Target
from fleet.routing.static import StaticRoutes
from fleet.routing.table import RoutingTable


def route(name: str, *rules: Rule, created: float = 0.0) -> Route:
    return Route(f"shop/{name}", Target("shop/a", 80), rules, created=created)


def method(name: str) -> list[tuple[bytes, bytes]]:
    return [(METHOD, name.encode())]


READ = Rule(("a.test",), methods=("GET", "HEAD"))
TABLE = RoutingTable([route("all", Rule(("a.test",))), route("read", READ, created=5.0)])


@pytest.mark.parametrize(("name", "app"), [("GET", "read"), ("HEAD", "read"), ("POST", "all"), ("get", "all"), ("", "all")])
def test_a_rule_with_a_method_wins_and_what_it_does_not_take_goes_on(name: str, app: str) -> None:
    found = TABLE.match(b"a.test", b"/", method(name))
    assert found is not None
    assert found.app == f"shop/{app}"


def test_no_other_method_reaches_a_route_that_says_some() -> None:
    table = RoutingTable([route("read", READ)])
    assert table.match(b"a.test", b"/", method("POST")) is None
    steps = explain(table, b"a.test", b"/", method("POST")).steps
    assert "GET a.test/: not shop/read, the method is another" in steps


def test_a_method_counts_more_than_headers() -> None:
    headed = Rule(("a.test",), headers=(HeaderMatch("x-a", "1"), HeaderMatch("x-b", "1")))
    table = RoutingTable([route("headed", headed), route("read", READ, created=5.0)])
    found = table.match(b"a.test", b"/", [(b"x-a", b"1"), (b"x-b", b"1"), *method("GET")])
    assert found is not None
    assert found.app == "shop/read"


def test_equal_methods_of_one_host_are_in_conflict_and_others_are_not() -> None:
    younger = route("younger", Rule(("a.test",), methods=("HEAD", "POST")), created=9.0)
    (conflict,) = RoutingTable([route("read", READ), younger]).conflicts
    assert (conflict.app, str(conflict.claim), conflict.winner) == ("shop/younger", "HEAD a.test/", "shop/read")


def test_tables_without_methods_read_none() -> None:
    plain = RoutingTable([route("all", Rule(("a.test",)))])
    assert (plain.reads_methods, plain.reads_fields) == (False, False)
    assert plain.index.whole == {b"a.test": plain.routes[0]}
    headed = RoutingTable([route("all", Rule(headers=(HeaderMatch("x"),)))])
    assert (headed.reads_methods, headed.reads_fields) == (False, True)
    assert (TABLE.reads_headers, TABLE.reads_methods, TABLE.reads_fields) == (False, True, True)


def test_a_static_route_by_method() -> None:
    routes = StaticRoutes([StaticRoute(StaticResponse(204), (Rule(methods=("OPTIONS",)),))])
    assert (routes.reads_headers, routes.reads_fields) == (False, True)
    assert routes.find(b"a.test", b"/x", method("OPTIONS")) is not None
    assert routes.find(b"a.test", b"/x", method("GET")) is None


def test_methods_go_through_the_codecs() -> None:
    assert decode_json(encode_json(TABLE)).routes == TABLE.routes
    assert decode_yaml(encode_yaml(TABLE)).routes == TABLE.routes
    assert b"methods" not in encode_json(RoutingTable([route("all", Rule(("a.test",)))]))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("get", "another method than 'GET'"), ("", "is not a method"), ("A B", "is not a method"), ("a\r\nB: c", "is not a method")],
)
def test_what_is_no_method(name: str, reason: str) -> None:
    with pytest.raises(RouteError, match=reason) as error:
        RoutingTable([route("read", Rule(methods=(name,)))])
    assert error.value.field == "rules[0].methods[0]"


def test_methods_multiply_claims() -> None:
    many = Rule(tuple(f"a{n}.test" for n in range(101)), methods=tuple(f"M{n}" for n in range(100)))
    with pytest.raises(RouteError, match="10100 combinations of host, path and method"):
        RoutingTable([route("many", many)])
