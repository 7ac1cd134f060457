"""On random tables and requests, the table gives the same result as a matcher that checks every route."""

from __future__ import annotations

import random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.routing.claims import Claim
from fleet.routing.explanation import explain
from fleet.routing.match import METHOD
from fleet.routing.route import HeaderMatch, Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.support.full import examples
from tests.unit.fleet.routing.naive import conflict_key, naive_match

# Few and similar words, so that requests often match routes.
LABELS = st.sampled_from(["a", "b", "ab", "A"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
SPELLINGS = st.sampled_from(["{}", "{}", "{}.", "{}:80", "{}.:8080"])
SEGMENTS = st.sampled_from(["a", "b", "ab", "", "a b", "é", "*"])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda segments: "/" + "/".join(segments))
NAMES = st.sampled_from(["x", "X", "y", "z"])
VALUES = st.sampled_from(["", "1", "2"])
METHODS = st.sampled_from(["GET", "HEAD", "X"])


def _few(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=3).map(tuple)


@st.composite
def _patterns(draw: st.DrawFn) -> str:
    pattern = draw(st.sampled_from(["{}", "{}", "*.{}", "*"]))
    return pattern if pattern == "*" else draw(SPELLINGS).format(pattern.format(draw(HOSTS)))


HEADERS = st.builds(HeaderMatch, NAMES, st.none() | VALUES)
RULES = st.builds(Rule, _few(_patterns()), _few(PATHS), st.lists(HEADERS, max_size=3).map(tuple), _few(METHODS))
APPS = st.sampled_from(["a/x", "a/y", "a-b/x", "b/x", "b/y", "c/x", "c/y", "d/x"])


@st.composite
def _routes(draw: st.DrawFn) -> list[Route]:
    apps = draw(st.lists(APPS, unique=True, max_size=8))
    target = Target("a/service", 80)
    ages = st.sampled_from([0.0, 1.0, 2.5])
    return [Route(app, target, tuple(draw(st.lists(RULES, max_size=3))), created=draw(ages)) for app in apps]


class Request(NamedTuple):
    """A request as the naive matcher reads it, and as it was sent."""

    host: str
    path: str
    headers: list[tuple[str, str]]
    raw_host: bytes
    raw_path: bytes
    method: str

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        return [*((name.encode(), value.encode()) for name, value in self.headers), (METHOD, self.method.encode())]


@st.composite
def _requests(draw: st.DrawFn) -> Request:
    host, path = draw(HOSTS), draw(PATHS)
    headers = draw(st.lists(st.tuples(NAMES.map(str.lower), VALUES), max_size=4))
    escape = draw(st.sets(st.integers(0, 20)))
    raw_path = b"".join(
        b"%%%02x" % byte if position in escape or byte == ord("%") else bytes([byte])
        for position, byte in enumerate(path.encode())
    )
    return Request(host, path, headers, draw(SPELLINGS).format(host).encode(), raw_path, draw(METHODS))


@settings(max_examples=examples(150), deadline=None)
@given(_routes(), st.lists(_requests(), min_size=1, max_size=8))
def test_match_equals_naive(routes: list[Route], requests: list[Request]) -> None:
    table = RoutingTable(routes)
    for request in requests:
        expected = naive_match(routes, request.host, request.path, request.headers, request.method)
        found = table.match(request.raw_host, request.raw_path, request.raw_headers)
        assert (found.app if found else None) == expected


@settings(max_examples=examples(80), deadline=None)
@given(_routes(), st.lists(_requests(), min_size=1, max_size=8))
def test_explanation_finds_what_match_finds(routes: list[Route], requests: list[Request]) -> None:
    table = RoutingTable(routes)
    for request in requests:
        arguments = (request.raw_host, request.raw_path, request.raw_headers)
        explanation = explain(table, *arguments)
        assert explanation.route is table.match(*arguments)
        last = explanation.steps[-1]
        assert last.endswith(f"taken by {explanation.route.app}" if explanation.route else "no route")


@settings(max_examples=examples(80), deadline=None)
@given(_routes(), _requests(), st.integers())
def test_order_of_routes_says_nothing(routes: list[Route], request: Request, seed: int) -> None:
    shuffled = list(routes)
    random.Random(seed).shuffle(shuffled)
    one, other = RoutingTable(routes), RoutingTable(shuffled)
    assert (one.version, one.routes, one.conflicts) == (other.version, other.routes, other.conflicts)
    arguments = (request.raw_host, request.raw_path, request.raw_headers)
    assert one.match(*arguments) == other.match(*arguments)


@settings(max_examples=examples(80), deadline=None)
@given(_routes())
def test_conflicts_are_the_claims_that_older_routes_hold(routes: list[Route]) -> None:
    owners: dict[object, str] = {}
    expected: set[tuple[str, object, str]] = set()
    for route in sorted(routes, key=lambda route: (route.created, route.app)):
        for rule in route.rules:
            for host in rule.hosts or ("*",):
                for path in rule.paths or ("/",):
                    for method in rule.methods or ("",):
                        key = conflict_key(host, path, rule.headers, method)
                        owner = owners.setdefault(key, route.app)
                        if owner != route.app:
                            expected.add((route.app, key, owner))
    conflicts = RoutingTable(routes).conflicts
    claims = [(c.app, c.claim, c.winner) for c in conflicts if isinstance(c.claim, Claim)]
    found = {(app, conflict_key(one.host, one.path, one.headers, one.method), winner) for app, one, winner in claims}
    assert found == expected
    assert len(conflicts) == len(found)
