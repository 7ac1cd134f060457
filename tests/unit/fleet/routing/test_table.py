"""The rules of the routing table, one by one."""

from __future__ import annotations

import pytest

from fleet.routing.claims import Claim
from fleet.routing.explanation import explain
from fleet.routing.route import HeaderMatch, Route, Rule, Scaling, Target
from fleet.routing.table import Conflict, RouteError, RoutingTable


def route(app: str, *rules: Rule, created: float = 0.0) -> Route:
    return Route(f"shop/{app}", Target(f"shop/{app}", 80), rules, created=created)


def at(*hosts: str, paths: tuple[str, ...] = (), **headers: str | None) -> Rule:
    return Rule(hosts, paths, tuple(HeaderMatch(name.replace("_", "-"), value) for name, value in headers.items()))


def found(table: RoutingTable, host: str, path: str = "/", **headers: str) -> str | None:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    match = table.match(host.encode(), path.encode(), pairs)
    return match.app.removeprefix("shop/") if match else None


def test_empty_table_matches_nothing() -> None:
    table = RoutingTable()
    assert table.match(b"a.test", b"/", []) is None
    assert (table.routes, dict(table.apps), table.conflicts) == ((), {}, ())


def test_route_without_rules_is_known_and_matches_nothing() -> None:
    table = RoutingTable([route("idle")])
    assert found(table, "a.test") is None
    assert table.apps["shop/idle"].app == "shop/idle"


def test_exact_host_before_longest_wildcard_before_any() -> None:
    table = RoutingTable([
        route("any", at("*")),
        route("short", at("*.test")),
        route("long", at("*.b.test")),
        route("exact", at("a.b.test")),
    ])  # fmt: skip
    assert found(table, "a.b.test") == "exact"
    assert found(table, "x.a.b.test") == "long"
    assert found(table, "b.test") == "short"
    assert found(table, "test") == "any"
    assert found(table, "") == "any"


def test_wildcard_does_not_take_its_own_suffix() -> None:
    assert found(RoutingTable([route("a", at("*.b.test"))]), "b.test") is None


@pytest.mark.parametrize("host", ["A.Test", "a.test:8080", "a.test.", "A.TEST.:443", "a.test:"])
def test_case_port_and_trailing_dot_say_nothing(host: str) -> None:
    assert found(RoutingTable([route("a", at("a.test"))]), host) == "a"
    assert found(RoutingTable([route("a", at("*.test"))]), host) == "a"


@pytest.mark.parametrize("written", ["A.Test", "a.test:8080", "a.test."])
def test_hosts_of_rules_are_normalised_alike(written: str) -> None:
    assert found(RoutingTable([route("a", at(written))]), "a.test") == "a"


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8080", "[0:0::1]:8080", "::1"])
@pytest.mark.parametrize("written", ["::1", "[::1]", "[0:0:0::1]:80"])
def test_ipv6_literals_compare_by_value(written: str, host: str) -> None:
    assert found(RoutingTable([route("a", at(written))]), host) == "a"


@pytest.mark.parametrize("host", ["[a.test]", "[a.test]:80", "a.test..", "a.test:80:80", "[" + "1:" * 4000 + "]", "*", "[::1"])
def test_malformed_hosts_fall_to_any_host_only(host: str) -> None:
    assert found(RoutingTable([route("a", at("a.test", "::1"))]), host) is None
    assert found(RoutingTable([route("a", at("a.test")), route("any", at("*"))]), host) == "any"


def test_longest_prefix_on_segment_boundaries() -> None:
    table = RoutingTable([
        route("root", at("a.test")),
        route("api", at("a.test", paths=("/api",))),
        route("deep", at("a.test", paths=("/api/v1/",))),
    ])  # fmt: skip
    assert found(table, "a.test", "/api") == "api"
    assert found(table, "a.test", "/api/") == "api"
    assert found(table, "a.test", "/api/v1") == "deep"
    assert found(table, "a.test", "/api/v1/x") == "deep"
    assert found(table, "a.test", "/api/v10") == "api"
    assert found(table, "a.test", "/apis") == "root"
    assert found(table, "a.test", "/API") == "root"
    assert found(table, "a.test", "*") == "root"
    assert found(table, "a.test", "") == "root"


def test_paths_compare_decoded() -> None:
    table = RoutingTable([route("api", at("a.test", paths=("/api v/ü",)))])
    assert found(table, "a.test", "/%61pi%20v%2F%C3%BC/x") == "api"
    assert found(table, "a.test", "/%zz%2") is None


def test_exact_host_without_a_fitting_path_leaves_the_request_to_wildcards() -> None:
    table = RoutingTable([route("exact", at("a.test", paths=("/x",))), route("wild", at("*.test")), route("any", at("*"))])
    assert found(table, "a.test", "/x") == "exact"
    assert found(table, "a.test", "/y") == "wild"


def test_longer_prefix_that_fails_on_headers_leaves_the_request_to_a_shorter_one() -> None:
    table = RoutingTable([route("root", at("a.test")), route("beta", at("a.test", paths=("/api",), x_beta="1"))])
    assert found(table, "a.test", "/api", x_beta="1") == "beta"
    assert found(table, "a.test", "/api", x_beta="2") == "root"
    assert found(table, "a.test", "/api") == "root"


def test_exact_host_that_fails_on_headers_leaves_the_request_to_wildcards() -> None:
    table = RoutingTable([route("exact", at("a.test", x="1")), route("wild", at("*.test"))])
    assert found(table, "a.test") == "wild"


def test_most_headers_then_most_values_then_age_then_name() -> None:
    table = RoutingTable([
        route("none", at("a.test"), created=0),
        route("present", at("a.test", x=None), created=1),
        route("value", at("a.test", x="1"), created=5),
        route("two", at("a.test", x=None, y=None), created=9),
        route("older", at("a.test", z="1"), created=2),
        route("younger", at("a.test", w="1"), created=3),
        route("young-b", at("a.test", v="1"), created=4),
        route("young-a", at("a.test", u="1"), created=4),
    ])  # fmt: skip
    assert found(table, "a.test") == "none"
    assert found(table, "a.test", x="2") == "present"
    assert found(table, "a.test", x="1") == "value"
    assert found(table, "a.test", x="1", y="") == "two"
    assert found(table, "a.test", z="1", w="1") == "older"
    assert found(table, "a.test", u="1", v="1") == "young-a"


def test_every_header_is_wanted_and_any_of_its_values_will_do() -> None:
    table = RoutingTable([route("a", at("a.test", x="1", y=None))])
    pairs = [(b"x", b"2"), (b"x", b"1"), (b"y", b"")]
    assert table.match(b"a.test", b"/", pairs) is not None
    assert table.match(b"a.test", b"/", pairs[1:]) is not None
    assert table.match(b"a.test", b"/", pairs[:1] + pairs[2:]) is None
    assert table.match(b"a.test", b"/", pairs[:2]) is None


def test_header_names_compare_without_case_and_values_with() -> None:
    table = RoutingTable([route("a", Rule(("a.test",), headers=(HeaderMatch("X-Env", "Prod"),)))])
    assert found(table, "a.test", x_env="Prod") == "a"
    assert found(table, "a.test", x_env="prod") is None


def test_any_of_several_rules_leads_to_the_route() -> None:
    table = RoutingTable([route("a", at("a.test", paths=("/x",)), at("b.test"))])
    assert [found(table, "a.test", "/x"), found(table, "b.test"), found(table, "a.test")] == ["a", "a", None]


def test_older_route_wins_a_claim_and_the_other_is_reported() -> None:
    old, young = route("old", at("A.test", paths=("/api/",)), created=1), route("new", at("a.test", paths=("/api",)), created=2)
    table = RoutingTable([young, old])
    assert found(table, "a.test", "/api") == "old"
    assert table.conflicts == (Conflict("shop/new", Claim("a.test", "/api"), "shop/old"),)


def test_equal_age_goes_by_name() -> None:
    table = RoutingTable([route("b", at("a.test")), route("a", at("a.test"))])
    assert found(table, "a.test") == "a"
    assert [conflict.app for conflict in table.conflicts] == ["shop/b"]


def test_a_route_that_says_a_thing_twice_has_no_conflict() -> None:
    table = RoutingTable([route("a", at("a.test", "A.TEST", paths=("/x", "/x/")), at("a.test", paths=("/x",)))])
    assert table.conflicts == ()


def test_two_routes_of_one_application_are_refused() -> None:
    with pytest.raises(RouteError, match=r"shop/a.*two routes") as raised:
        RoutingTable([route("a"), route("a", at("a.test"))])
    assert (raised.value.app, raised.value.field) == ("shop/a", "app")


def test_version_follows_content() -> None:
    one = RoutingTable([route("a", at("a.test")), route("b", at("b.test"))])
    same = RoutingTable([route("b", at("b.test")), route("a", at("a.test"))])
    other = RoutingTable([route("a", at("a.test")), route("b", at("c.test"))])
    assert one.version == same.version
    assert one.version != other.version
    assert RoutingTable().version != one.version


def test_version_does_not_tell_whole_numbers_from_floats() -> None:
    whole = Route("shop/a", Target("shop/a", 80), scaling=Scaling(concurrency=10), created=5)
    floating = Route("shop/a", Target("shop/a", 80), scaling=Scaling(concurrency=10.0), created=5.0)
    assert RoutingTable([whole]).version == RoutingTable([floating]).version


def test_explanation_tells_what_was_tried() -> None:
    table = RoutingTable([
        route("beta", at("a.test", paths=("/api",), x_beta="1")),
        route("wild", at("*.test", paths=("/other",))),
        route("any", at("*")),
    ])  # fmt: skip
    explanation = explain(table, b"A.test:80", b"/api/v1", [(b"x-beta", b"secret")])
    assert explanation.route is table.apps["shop/any"]
    assert explanation.steps == (
        "host a.test, path /api/v1",
        "host a.test: path prefixes that fit: /api",
        "a.test/api [x-beta: 1]: not shop/beta, header x-beta has another value",
        "host *.test: no path prefix fits",
        "host *: path prefixes that fit: /",
        "*/: taken by shop/any",
    )


def test_explanation_of_no_route() -> None:
    explanation = explain(RoutingTable([route("a", at("a.test", x=None))]), b"a.test", b"/\xff", [])
    assert explanation.route is None
    assert "a.test/ [x]: not shop/a, header x is missing" in explanation.steps
    assert explanation.steps[0] == r"host a.test, path /\xff"
    assert explanation.steps[-1] == "no host pattern is left: no route"
