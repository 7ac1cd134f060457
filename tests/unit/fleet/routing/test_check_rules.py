"""What is wrong with what a rule says of its requests, by its field."""

from __future__ import annotations

import pytest

from fleet.routing.check import RouteError, check_route
from fleet.routing.route import (
    HeaderChanges,
    Redirect,
    Rewrite,
    Route,
    Rule,
    StaticResponse,
    StaticRoute,
    Target,
    WeightedTarget,
)
from fleet.routing.target import TargetTls

A, B = WeightedTarget("n/a"), WeightedTarget("n/b")


def checked(*rules: Rule, **more: object) -> None:
    check_route(Route("n/app", Target("n/app"), rules, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rule",
    [
        Rule(rewrite=Rewrite("/")),
        Rule(rewrite=Rewrite("/a/b/")),
        Rule(rewrite=Rewrite("/a%20b;c=1")),
        Rule(request_headers=HeaderChanges(set=(("X-A", "1"), ("Authorization", "")), add=(("Via", "é"),), remove=("Cookie",))),
        Rule(response_headers=HeaderChanges(set=(("Server", "ours"),), remove=("X_Powered_By",))),
        Rule(redirect=Redirect(path="/")),
        Rule(redirect=Redirect(host="b.test", status=308)),
        Rule(hosts=("a.test",), paths=("/a",), redirect=Redirect(prefix="/a", host="b.test")),
        Rule(hosts=("a.test",), paths=("/a",), redirect=Redirect(prefix="/a", scheme="https")),
        Rule(paths=("/a",), redirect=Redirect(prefix="/")),
        Rule(hosts=("*.test",), redirect=Redirect(scheme="https")),
        Rule(backends=(A, B)),
        Rule(backends=(A, WeightedTarget("n/a", 81), WeightedTarget("n/b", weight=0))),
    ],
)
def test_good_rules(rule: Rule) -> None:
    checked(rule, Rule())


def names(*given: str) -> HeaderChanges:
    return HeaderChanges(remove=given)


@pytest.mark.parametrize(
    ("rule", "field", "reason"),
    [
        (Rule(rewrite=Rewrite("a")), "rewrite.prefix", "is not a path"),
        (Rule(rewrite=Rewrite("/a b")), "rewrite.prefix", "is not a path"),
        (Rule(rewrite=Rewrite("/a\r\nX: 1")), "rewrite.prefix", "is not a path"),
        (Rule(rewrite=Rewrite("/é")), "rewrite.prefix", "is not a path"),
        (Rule(rewrite=Rewrite("/a?b")), "rewrite.prefix", "is not a path"),
        (Rule(rewrite=Rewrite("/a\\b")), "rewrite.prefix", "is not a path"),
        (Rule(rewrite=Rewrite("//a")), "rewrite.prefix", "empty segments"),
        (Rule(rewrite=Rewrite("/%2e%2e/a")), "rewrite.prefix", "empty segments"),
        *((Rule(request_headers=names(name)), "request_headers.remove[0]", "cannot be changed") for name in (
            "Connection", "content-length", "Transfer_Encoding", "TE", "Upgrade", "Expect", "Sec-WebSocket-Key", "Trailer",
        )),
        (Rule(request_headers=names("X", "hOST")), "request_headers.remove[1]", "as the client sent it"),
        (Rule(request_headers=names(":path")), "request_headers.remove[0]", "is not the name of a header"),
        (Rule(response_headers=names("")), "response_headers.remove[0]", "is not the name of a header"),
        (Rule(response_headers=HeaderChanges(set=(("X", "a\r\nY: 1"),))), "response_headers.set[0]", "X: no message"),
        (Rule(response_headers=HeaderChanges(add=(("X", "a\0"),))), "response_headers.add[0]", "X: no message"),
        (Rule(response_headers=HeaderChanges(add=(("X", " a"),))), "response_headers.add[0]", "X: no message"),
        (Rule(response_headers=HeaderChanges(add=(("X", "a" * 4097),))), "response_headers.add[0]", "more than 4096"),
        (Rule(request_headers=names(*(f"X-{n}" for n in range(33)))), "request_headers.remove", "33 headers, at most 32"),
        (Rule(request_headers=HeaderChanges(add=(("X-A", ""),), remove=("x_a",))), "request_headers.remove", "x_a is there"),
        (Rule(redirect=Redirect()), "redirect", "leads nowhere else"),
        (Rule(redirect=Redirect(status=307)), "redirect", "leads nowhere else"),
        (Rule(redirect=Redirect(path="/a", status=304)), "redirect.status", "304 is not one of"),
        (Rule(redirect=Redirect(path="/a", prefix="/b")), "redirect.prefix", "there is a path as well"),
        (Rule(redirect=Redirect(path="//evil.test")), "redirect.path", "empty segments"),
        (Rule(redirect=Redirect(prefix="/")), "redirect.prefix", "would lead back to itself"),
        (Rule(paths=("/a", "/b/"), redirect=Redirect(prefix="/b", status=308)), "redirect.prefix", "would lead back to itself"),
        (Rule(redirect=Redirect(scheme="ftp")), "redirect.scheme", "neither http nor https"),
        (Rule(redirect=Redirect(host="*.test")), "redirect.host", "is not the name of one host"),
        (Rule(redirect=Redirect(host="a.test:80")), "redirect.host", "is not the name of one host"),
        (Rule(redirect=Redirect(host="a.test/x")), "redirect.host", "is not a host"),
        (Rule(redirect=Redirect(host="a.test", port=70000)), "redirect.port", "is not between"),
        (Rule(redirect=Redirect(scheme="https")), "redirect.host", "is needed"),
        (Rule(hosts=("a.test", "*"), redirect=Redirect(port=81)), "redirect.host", "is needed"),
        (Rule(redirect=Redirect(path="/a"), backends=(A,)), "backends", "are redirected"),
        (Rule(redirect=Redirect(path="/a"), rewrite=Rewrite("/")), "rewrite", "are redirected"),
        (Rule(backends=(A, B, A)), "backends[2]", "n/a is there twice"),
        (
            Rule(backends=(WeightedTarget("n/a", app_protocol="grpc"), B, WeightedTarget("n/a", app_protocol="http"))),
            "backends[2]",
            "n/a is there twice: a rule speaks to a backend in one way",
        ),
        (
            Rule(backends=(WeightedTarget("n/a", tls=TargetTls()), WeightedTarget("n/a"))),
            "backends[1]",
            "n/a is there twice: a rule speaks to a backend in one way",
        ),
        (Rule(backends=(WeightedTarget("n/a", weight=-1),)), "backends[0].weight", "-1 is not a weight from 0 to 1000000"),
        (Rule(backends=(WeightedTarget("n/a", weight=0),)), "backends", "every weight is 0"),
        (Rule(backends=(WeightedTarget("a"),)), "backends[0].service", 'is not "namespace/name"'),
        (Rule(backends=tuple(WeightedTarget(f"n/{n}") for n in range(17))), "backends", "17 of them, at most 16"),
    ],
)  # fmt: skip
def test_broken_rules(rule: Rule, field: str, reason: str) -> None:
    with pytest.raises(RouteError) as caught:
        checked(Rule(), rule)
    assert caught.value.field == f"rules[1].{field}"
    assert reason in caught.value.reason


def test_static_routes_have_none_of_it() -> None:
    for rule, field in ((Rule(rewrite=Rewrite("/")), "rewrite"), (Rule(backends=(A,)), "backends")):
        with pytest.raises(RouteError) as caught:
            checked(static_routes=(StaticRoute(StaticResponse(), (rule,)),))
        assert caught.value.field == f"static_routes[0].rules[0].{field}"
