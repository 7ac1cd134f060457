"""Which applications wake which others: what exists, in no circle, of the same namespace."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.routing.codec import decode_json, encode_json
from fleet.routing.dependencies import MAX_OF_NAMESPACE, circles_of, words_of
from fleet.routing.depends import MAX_DEPENDENCIES, Dependency
from fleet.routing.route import Copy, Previews, Route, Rule, Target
from fleet.routing.table import RouteError, RoutingTable
from tests.support.growth import STEP, grows
from tests.support.growth import count as steps


def route(name: str, *needs: str | Dependency, **fields: object) -> Route:
    depends_on = tuple(each if isinstance(each, Dependency) else Dependency(f"a/{each}") for each in needs)
    return Route(f"a/{name}", Target(f"a/{name}", 80), rules=(Rule((f"{name}.test",)),), depends_on=depends_on, **fields)  # type: ignore[arg-type]


def wakes(*routes: Route) -> dict[str, list[str]]:
    found = RoutingTable(routes).dependencies.needs
    return {app: [each.app for each in named] for app, named in found.items()}


def test_what_each_wakes_goes_through_the_table() -> None:
    table = RoutingTable([route("web", Dependency("a/api", keep_awake=False), "db"), route("api", "db"), route("db")])
    again = decode_json(encode_json(table))
    assert again.version == table.version
    found = again.dependencies
    assert found.needs == {"a/web": (Dependency("a/api", keep_awake=False), Dependency("a/db")), "a/api": (Dependency("a/db"),)}
    assert (found.missing, found.circles) == ({}, {})


def test_a_table_without_dependencies_encodes_as_before() -> None:
    assert b"depends_on" not in encode_json(RoutingTable([route("web")]))


def test_what_is_missing_is_named_unless_it_is_optional() -> None:
    found = RoutingTable([route("web", "api", Dependency("a/cache", optional=True), "db"), route("db")]).dependencies
    assert found.missing == {"a/web": ("a/api",)}
    assert found.needs == {"a/web": (Dependency("a/db"),)}


def test_a_circle_is_refused_whole_and_nothing_else_is() -> None:
    routes = [route("web", "api"), route("api", "db", "log"), route("db", "api"), route("log")]
    found = RoutingTable(routes).dependencies
    assert found.circles == dict.fromkeys(("a/api", "a/db"), ("a/api", "a/db", "a/api"))
    assert wakes(*routes) == {"a/web": ["a/api"], "a/api": ["a/log"]}
    assert wakes(*reversed(routes)) == wakes(*routes)


@pytest.mark.parametrize(
    ("needs", "field", "words"),
    [
        (Dependency("b/api"), "depends_on[0]", "another namespace"),
        (Dependency("a/web"), "depends_on[0]", "itself"),
        (Dependency("api"), "depends_on[0].app", "namespace/name"),
        (Dependency("a/../b"), "depends_on[0].app", "namespace/name"),
    ],
)
def test_what_a_route_may_not_say(needs: Dependency, field: str, words: str) -> None:
    with pytest.raises(RouteError, match=words) as refused:
        RoutingTable([route("web", needs)])
    assert refused.value.field == field


def test_no_more_than_the_most_and_none_twice() -> None:
    with pytest.raises(RouteError, match="twice"):
        RoutingTable([route("web", "api", "api")])
    with pytest.raises(RouteError, match="at most"):
        RoutingTable([route("web", *(f"a{number}" for number in range(MAX_DEPENDENCIES + 1)))])


def test_copies_wake_the_copies_of_their_name() -> None:
    def copies(base: str, *names: str) -> Previews:
        return Previews(copies=tuple(Copy(name, f"a/{base}--{name}", Target(f"a/{base}--{name}", 80)) for name in names))

    found = wakes(
        route("web", "api", "db", previews=copies("web", "f1", "f2")),
        route("api", "db", previews=copies("api", "f1")),
        route("db"),
    )
    assert found == {
        "a/web": ["a/api", "a/db"],
        "a/web--f1": ["a/api--f1", "a/db"],
        "a/web--f2": ["a/api", "a/db"],
        "a/api": ["a/db"],
        "a/api--f1": ["a/db"],
    }


def test_a_namespace_has_no_more_than_the_most() -> None:
    names = [f"d{number}" for number in range(MAX_DEPENDENCIES)]
    full = MAX_OF_NAMESPACE // MAX_DEPENDENCIES
    many = [route(f"w{number:02}", *names, created=float(number)) for number in range(full)]
    late = [route("late", "d0", created=100.0), Route("b/web", Target("b/web"), depends_on=(Dependency("b/db"),), created=200.0)]
    found = RoutingTable([*late, *many, route("d0"), Route("b/db", Target("b/db"))]).dependencies
    assert found.too_many == {"a/late"}
    assert found.needs.keys() == {*(each.app for each in many), "b/web"}
    assert "a/late" not in found.missing


def test_words_for_people() -> None:
    routes = [route("web", "api", "gone"), route("api", "db"), route("db"), route("job", "db"), route("x", "y"), route("y", "x")]
    found = RoutingTable(routes).dependencies
    assert list(words_of(found, "a/web")) == [
        "wakes together with it: a/api, a/db",
        "cannot wake with it, because there is no such application: a/gone",
    ]
    assert list(words_of(found, "a/db")) == ["also wakes for: a/api, a/job, a/web"]
    assert list(words_of(found, "a/x")) == ["dependencies in a circle are left out: x -> y -> x"]
    assert list(words_of(found, "a/none")) == []


def _reach(edges: Mapping[str, Sequence[str]], start: str) -> set[str]:
    found: set[str] = set()
    open_ = [*edges.get(start, ())]
    while open_:
        node = open_.pop()
        if node not in found:
            found.add(node)
            open_ += edges.get(node, ())
    return found


_nodes = st.sampled_from("abcdefgh")


@given(st.dictionaries(_nodes, st.lists(_nodes, max_size=4, unique=True)))
def test_circles_equal_those_of_a_naive_search(edges: dict[str, list[str]]) -> None:
    group, circles = circles_of(edges)
    reach = {node: _reach(edges, node) for node in "abcdefgh"}
    assert set(group) == {node for node in reach if node in reach[node]}
    for one in group:
        for other in group:
            assert (group[one] == group[other]) == (one == other or (other in reach[one] and one in reach[other]))
        circle = circles[one]
        assert circle[0] == circle[-1]
        assert all(after in edges[before] for before, after in pairwise(circle))


def _large(count: int) -> Callable[[], None]:
    """Finds the circles of a chain, a fan and a circle of so many."""
    shuffled = random.Random(1).sample(range(count), count)
    chain = {f"n{number}": [f"n{number + 1}"] for number in shuffled}
    fan = {"root": [f"n{number}" for number in shuffled]}
    circle = {f"n{number}": [f"n{(number + 1) % count}"] for number in shuffled}

    def work() -> None:
        for edges in (chain, fan, circle):
            circles_of(edges)

    return work


def test_it_is_linear_in_the_number_of_applications() -> None:
    few, many = 250, 2000
    assert many == STEP * few
    assert steps(_large(many)) < 1.1 * STEP * steps(_large(few))
    assert grows(_large, (few, many)) is None, "what instructions do not show: a loop in C"
