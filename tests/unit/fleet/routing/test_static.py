"""Which static route answers: the first that matches, by rules and by user agents."""

from __future__ import annotations

import fnmatch
import time
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.routing.route import HeaderMatch, Route, Rule, StaticResponse, StaticRoute, Target
from fleet.routing.static import StaticRoutes
from tests.support.full import examples
from tests.unit.fleet.routing.naive import naive_match

ANSWER = StaticResponse()


def test_nothing_fits_where_there_is_nothing() -> None:
    assert StaticRoutes(()).find(b"a.test", b"/", []) is None


def test_the_first_that_fits_wins_however_well_later_ones_fit() -> None:
    wide = StaticRoute(ANSWER, (Rule(paths=("/",)),), always=True)
    close = StaticRoute(ANSWER, (Rule(("a.test",), ("/healthz",), (HeaderMatch("x", "1"),)),))
    assert StaticRoutes([wide, close]).find(b"a.test", b"/healthz", [(b"x", b"1")]) is wide
    assert StaticRoutes([close, wide]).find(b"a.test", b"/healthz", [(b"x", b"1")]) is close
    assert StaticRoutes([close, wide]).find(b"a.test", b"/healthz", [(b"x", b"2")]) is wide


def test_hosts_and_paths_are_compared_as_those_of_routes_are() -> None:
    static = StaticRoute(ANSWER, (Rule(("*.A.test",), ("/api/",)),))
    routes = StaticRoutes([static])
    assert routes.find(b"x.a.TEST.:80", b"/%61pi/v1", []) is static
    assert routes.find(b"a.test", b"/api", []) is None
    assert routes.find(b"x.a.test", b"/apis", []) is None


def test_user_agents_alone_select_every_host_and_path() -> None:
    static = StaticRoute(ANSWER, user_agents=("kube-probe/*", "*Googlebot*"))
    routes = StaticRoutes([static])
    assert routes.find(b"a.test", b"/x", [(b"user-agent", b"Kube-Probe/1.31")]) is static
    assert routes.find(b"a.test", b"/x", [(b"accept", b"*"), (b"user-agent", b"Mozilla (compatible; googlebot/2.1)")]) is static
    assert routes.find(b"a.test", b"/x", [(b"user-agent", b"my kube-probe/1")]) is None
    assert routes.find(b"a.test", b"/x", [(b"x-agent", b"kube-probe/1")]) is None
    assert routes.find(b"a.test", b"/x", []) is None


def test_user_agents_and_rules_have_to_fit_both() -> None:
    static = StaticRoute(ANSWER, (Rule(paths=("/healthz",)),), ("curl*",))
    routes = StaticRoutes([static])
    assert routes.find(b"a.test", b"/healthz", [(b"user-agent", b"curl/8")]) is static
    assert routes.find(b"a.test", b"/healthz", [(b"user-agent", b"wget")]) is None
    assert routes.find(b"a.test", b"/", [(b"user-agent", b"curl/8")]) is None


def test_what_is_asked_of_a_request_is_reported() -> None:
    plain = StaticRoute(ANSWER, (Rule(paths=("/healthz",)),))
    headed = StaticRoute(ANSWER, (Rule(headers=(HeaderMatch("x"),)),), always=True)
    agent = StaticRoute(ANSWER, user_agents=("*",))
    assert not StaticRoutes([plain]).reads_headers
    assert StaticRoutes([plain, headed]).reads_headers
    assert StaticRoutes([plain, agent]).reads_headers
    assert not StaticRoutes([plain, agent]).always
    assert StaticRoutes([plain, headed]).always


def test_no_pattern_and_no_header_make_a_look_long() -> None:
    hostile = StaticRoutes([StaticRoute(ANSWER, user_agents=("*a" * 100 + "*b",))])
    began = time.process_time()
    assert hostile.find(b"a.test", b"/", [(b"user-agent", b"a" * 60_000)]) is None
    # A backtracking matcher would practically never finish.
    assert time.process_time() - began < 0.5


PATTERNS = st.text("abA*", min_size=1, max_size=6)
AGENTS = st.text("abA", max_size=6)


@given(PATTERNS, AGENTS)
def test_patterns_mean_what_shells_mean(pattern: str, agent: str) -> None:
    found = StaticRoutes([StaticRoute(ANSWER, user_agents=(pattern,))]).find(b"a", b"/", [(b"user-agent", agent.encode())])
    assert (found is not None) == fnmatch.fnmatchcase(agent.lower(), pattern.lower())


HOSTS = st.sampled_from(["a", "b.a", "c.b.a", "A", "b"])
PATHS = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=3).map(lambda segments: "/" + "/".join(segments))
NAMES = st.sampled_from(["x", "X", "y"])
VALUES = st.sampled_from(["", "1"])
RULES = st.builds(
    Rule,
    st.lists(HOSTS | HOSTS.map("*.{}".format) | st.just("*"), max_size=2).map(tuple),
    st.lists(PATHS, max_size=2).map(tuple),
    st.lists(st.builds(HeaderMatch, NAMES, st.none() | VALUES), max_size=2).map(tuple),
)
STATIC = st.builds(
    StaticRoute,
    st.just(ANSWER),
    st.lists(RULES, max_size=3).map(tuple),
    st.lists(st.sampled_from(["*", "a*", "*b", "a*b", "ab"]), max_size=2).map(tuple),
)


class Request(NamedTuple):
    host: str
    path: str
    headers: list[tuple[str, str]]


REQUESTS = st.builds(
    Request,
    HOSTS,
    PATHS,
    st.lists(st.tuples(NAMES.map(str.lower), VALUES) | st.tuples(st.just("user-agent"), AGENTS), max_size=4),
)


def naive_find(statics: list[StaticRoute], request: Request) -> StaticRoute | None:
    agents = [value.lower() for name, value in request.headers if name == "user-agent"][:1]
    for static in statics:
        alone = Route("a/a", Target("a/a"), static.rules or (Rule(),))
        suits = any(fnmatch.fnmatchcase(agent, pattern) for agent in agents for pattern in static.user_agents)
        if naive_match([alone], *request) and (suits or not static.user_agents):
            return static
    return None


@settings(max_examples=examples(120), deadline=None)
@given(st.lists(STATIC, max_size=6), st.lists(REQUESTS, min_size=1, max_size=6))
def test_find_equals_naive(statics: list[StaticRoute], requests: list[Request]) -> None:
    routes = StaticRoutes(statics)
    for request in requests:
        headers = [(name.encode(), value.encode()) for name, value in request.headers]
        found = routes.find(request.host.encode(), request.path.encode(), headers)
        assert found is naive_find(statics, request)
        if not routes.reads_headers:
            assert routes.find(request.host.encode(), request.path.encode(), ()) is found
