"""Which rule of a route a request has come by: always one whose claim the table has chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.routing.claims import claims_of
from fleet.routing.host import normal_host
from fleet.routing.match import METHOD
from fleet.routing.route import HeaderMatch, Rewrite, Route, Rule, Target
from fleet.routing.rules import RuleFinder, treats
from fleet.routing.table import RoutingTable

GET = [(METHOD, b"GET")]


def test_one_rule_with_one_path_needs_no_search() -> None:
    finder = RuleFinder([Rule(hosts=("a", "b"), paths=("/api/",), methods=("GET",))])
    assert not finder.reads_fields
    found = finder.find(b"a", b"/api/x", ())
    assert found is not None
    assert (found.number, found.path, found.segments) == (0, "/api", b"api")


@pytest.mark.parametrize(
    ("path", "fields", "number", "prefix"),
    [
        (b"/grpc/x", GET, 0, "/grpc"),
        (b"/grpc.web/x", GET, 0, "/grpc.web"),
        (b"/grpc/x", [*GET, (b"x-test", b"1")], 2, "/grpc"),
        (b"/x", GET, 1, "/"),
        (b"/put/x", [(METHOD, b"PUT")], 3, "/put"),
        (b"/put/x", GET, 1, "/"),
    ],
)
def test_the_best_claim_decides(path: bytes, fields: list[tuple[bytes, bytes]], number: int, prefix: str) -> None:
    finder = RuleFinder(
        [
            Rule(paths=("/grpc", "/grpc.web")),
            Rule(),
            Rule(paths=("/grpc",), headers=(HeaderMatch("X-Test"),)),
            Rule(paths=("/put",), methods=("PUT",)),
        ]
    )
    assert (finder.reads_fields, finder.reads_headers, finder.reads_methods) == (True, True, True)
    found = finder.find(b"a.test", path, fields)
    assert found is not None
    assert (found.number, found.path) == (number, prefix)


def test_of_equal_rules_the_first() -> None:
    found = RuleFinder([Rule(paths=("/a",)), Rule(paths=("/a/",)), Rule()]).find(b"h", b"/a", ())
    assert found is not None
    assert found.number == 0


def test_a_request_of_no_rule() -> None:
    assert RuleFinder([Rule(paths=("/a",)), Rule(paths=("/b",))]).find(b"h", b"/c", ()) is None


def test_routes_without_more_than_matches() -> None:
    assert not treats(Route("n/a", Target("n/a"), (Rule(hosts=("a",)),)))
    assert treats(Route("n/a", Target("n/a"), (Rule(hosts=("a",)), Rule(rewrite=Rewrite("/")))))


_HEADERS = st.lists(st.sampled_from([HeaderMatch("X-A"), HeaderMatch("X-A", "1"), HeaderMatch("X-B")]), max_size=2).map(tuple)
_RULES = st.builds(
    Rule,
    st.lists(st.sampled_from(["a.test", "*.test", "*"]), max_size=2).map(tuple),
    st.lists(st.sampled_from(["/", "/a", "/a/b", "/b/"]), max_size=2).map(tuple),
    _HEADERS,
    st.lists(st.sampled_from(["GET", "PUT"]), max_size=1).map(tuple),
)


@given(
    st.lists(_RULES, min_size=1, max_size=4),
    st.lists(_RULES, max_size=3),
    st.sampled_from([b"a.test", b"b.test", b"c"]),
    st.sampled_from([b"/", b"/a", b"/a/b/c", b"/b", b"/%61/x"]),
    st.lists(st.sampled_from([(b"x-a", b"1"), (b"x-a", b"2"), (b"x-b", b"")]), max_size=2),
)
def test_the_rule_is_the_one_of_the_claim_that_the_table_chose(
    own: list[Rule], others: list[Rule], host: bytes, path: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    """Also beside another route, older or younger, that has some of the claims."""
    headers = [*fields, (METHOD, b"GET")]
    for created in (0.0, 2.0):
        mine = Route("n/mine", Target("n/mine"), tuple(own), created=1.0)
        table = RoutingTable([mine, Route("n/other", Target("n/other"), tuple(others), created=created)])
        route = table.match(host, path, headers)
        if route is None or route.app != "n/mine":
            continue
        claim = next(each.claim for each in table.index.candidates(normal_host(host), path) if each.is_met(headers))
        found = RuleFinder(own).find(host, path, headers)
        assert found is not None
        assert found.path == claim.path
        assert claim in claims_of([found.rule])
