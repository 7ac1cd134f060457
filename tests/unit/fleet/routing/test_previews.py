"""Previews in the table: which base and which copy a request belongs to, conflicts of hosts, and what a thousand of them cost."""

from __future__ import annotations

import sys
from functools import partial

import msgspec
import pytest

from fleet.routing.check import RouteError
from fleet.routing.codec import decode_json, encode_json
from fleet.routing.explanation import explain
from fleet.routing.previews import DASH, DOT, HOST_PATTERNS, MAX_COPIES, Copy, Previews, is_copy_name
from fleet.routing.route import Route, Rule, Target, WeightedTarget
from fleet.routing.table import RoutingTable
from tests.support.growth import count

BASE = "shop/web"


def base(*names: str, host: str = "example.com", app: str = BASE, created: float = 5.0, **more: object) -> Route:
    copies = tuple(Copy(name, f"{app}--{name}", Target(f"{app}--{name}"), created=created) for name in names)
    previews = Previews(copies=copies, **more)  # type: ignore[arg-type]
    return Route(app, Target(app), (Rule((host,)),), created=created, previews=previews)


def other(host: str, *, created: float, app: str = "other/app", paths: tuple[str, ...] = ()) -> Route:
    return Route(app, Target(app), (Rule((host,), paths),), created=created)


def found(table: RoutingTable, host: bytes, path: bytes = b"/") -> tuple[str | None, bytes]:
    """The application, and the name of a preview that the host says."""
    route = table.match(host, path, ())
    if route is None or table.previews is None:
        return (None if route is None else route.app, b"")
    by_host = table.previews.by_host(route, host, path, ())
    return route.app, b"" if by_host is None else by_host.name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"example.com", b""),
        (b"f1.example.com", b"f1"),
        (b"F1.Example.com.:8080", b"f1"),
        (b"f1--example.com", b"f1"),
        (b"nothing.example.com", b"nothing"),
    ],
)
def test_hosts_of_previews_belong_to_their_base(host: bytes, name: bytes) -> None:
    assert found(RoutingTable([base("f1", hosts=HOST_PATTERNS)]), host) == (BASE, name)


@pytest.mark.parametrize(
    "host",
    [
        *[b"a.f1.example.com", b"-f1.example.com", b"f1-.example.com", b"f_1.example.com", b"f1.evil.com", b"f1example.com"],
        *[b".example.com", b"..example.com", b"--example.com", b"f1--", b"f1--.example.com", b"xn--example.com", b"f1", b""],
        *[b"[::1]", b"f1---example.com", b"a--b--example.com", b"x" * 64 + b".example.com", b"f1.", b"f1\xff.example.com"],
        *[b"f1%2eexample.com", b"." * 60_000, b"-" * 60_000, b"f1." * 20_000 + b"example.com"],
    ],
)
def test_other_hosts_belong_to_nobody(host: bytes) -> None:
    assert found(RoutingTable([base("f1", hosts=HOST_PATTERNS)]), host) == (None, b"")


def test_a_base_has_only_the_hosts_that_it_asks_for() -> None:
    table = RoutingTable([base("f1", hosts=(DASH,))])
    assert found(table, b"f1--example.com") == (BASE, b"f1")
    assert found(table, b"f1.example.com") == (None, b"")
    assert found(RoutingTable([base("f1", hosts=())]), b"f1.example.com") == (None, b"")


def test_bases_that_share_a_host_by_path() -> None:
    api = Route("shop/api", Target("shop/api"), (Rule(("example.com",), ("/api",)),), created=9.0, previews=Previews())
    plain = other("example.com", created=9.0, paths=("/plain",))
    table = RoutingTable([base("f1"), api, plain])
    assert found(table, b"f1.example.com", b"/api/x") == ("shop/api", b"f1")  # it has no copy, and falls back with the name
    assert found(table, b"f1.example.com", b"/x") == (BASE, b"f1")
    assert found(table, b"f1.example.com", b"/plain") == (None, b"")


def test_a_known_preview_comes_before_wildcards_and_an_unknown_one_after_them() -> None:
    table = RoutingTable([base("f1"), other("*.example.com", created=1.0), other("*", created=1.0, app="any/app")])
    assert found(table, b"f1.example.com") == (BASE, b"f1")
    assert found(table, b"f2.example.com") == ("other/app", b"")
    assert found(table, b"elsewhere.org") == ("any/app", b"")
    assert found(RoutingTable([base("f1"), other("*", created=1.0)]), b"f2.example.com") == (BASE, b"f2")


@pytest.mark.parametrize("created", [1.0, 5.0])
def test_an_older_route_keeps_its_host(created: float) -> None:
    table = RoutingTable([base("f1", "f2"), other("f1.example.com", created=created, paths=("/a",))])
    assert [(c.app, c.claim.host, c.winner) for c in table.conflicts if not hasattr(c.claim, "key")] == [
        (f"{BASE}--f1", "f1.example.com", "other/app")
    ]
    assert found(table, b"f1.example.com", b"/a") == ("other/app", b"")
    assert found(table, b"f1.example.com", b"/b") == (None, b"")
    assert found(table, b"f2.example.com") == (BASE, b"f2")


def test_an_older_preview_keeps_its_host() -> None:
    table = RoutingTable([base("f1"), other("f1.example.com", created=6.0, paths=("/a",))])
    assert [(c.app, c.winner) for c in table.conflicts] == [("other/app", f"{BASE}--f1")]
    assert found(table, b"f1.example.com", b"/a") == (BASE, b"f1")


def test_a_host_of_the_base_itself_is_no_preview() -> None:
    route = Route(
        BASE, Target(BASE), (Rule(("example.com", "www.example.com")),), created=9.0, previews=base("www", created=1.0).previews
    )
    table = RoutingTable([route])
    assert found(table, b"www.example.com") == (BASE, b"")
    assert [(c.app, c.winner) for c in table.conflicts] == [(f"{BASE}--www", BASE)]


def test_copies_are_treated_as_their_base() -> None:
    rule = Rule(("example.com",), backends=(WeightedTarget("shop/canary"),))
    route = Route(BASE, Target(BASE), (rule,), server_timing=True, previews=base("f1").previews)
    table = decode_json(encode_json(RoutingTable([route])))
    copy = table.apps[f"{BASE}--f1"]
    assert (copy.target, copy.server_timing, copy.previews) == (Target(f"{BASE}--f1"), True, None)
    assert copy.rules[0].backends == ()
    assert [each.app for each in table.routes] == [BASE]


def test_a_copy_with_a_route_of_its_own_uses_it_and_without_one_it_is_unknown() -> None:
    previews = Previews(copies=(Copy("f1", "shop/own"), Copy("f2", "shop/gone")))
    table = RoutingTable(
        [Route(BASE, Target(BASE), (Rule(("example.com",)),), previews=previews), Route("shop/own", Target("shop/x"))]
    )
    assert table.previews is not None
    assert table.previews.names[BASE] == {b"f1": "shop/own"}
    assert table.apps["shop/own"].target == Target("shop/x")


def test_a_copy_in_another_namespace_never_is_what_has_its_name_there() -> None:
    """Neither a route of that namespace, nor a copy of a base there, older or younger."""
    placed = Copy("f1", "qa/web--f1", Target("qa/web--f1"), elsewhere=True)
    base = Route(BASE, Target(BASE), (Rule(("example.com",)),), previews=Previews(copies=(placed,)))
    table = RoutingTable([base])
    assert table.previews is not None
    assert table.previews.names[BASE] == {b"f1": "qa/web--f1"}
    assert table.apps["qa/web--f1"].target == Target("qa/web--f1")
    own = Route("qa/web--f1", Target("qa/secret"), (Rule(("qa.example.com",)),))
    local = Copy("f1", "qa/web--f1", Target("qa/web--f1"))
    other = Route("qa/web", Target("qa/web"), (Rule(("b.example.com",)),), previews=Previews(copies=(local,)))
    for taken in (own, other):
        routes = [msgspec.structs.replace(one, created=created) for created, one in enumerate((taken, base))]
        table = RoutingTable(routes)
        assert table.previews is not None
        assert table.previews.names[BASE] == {}
        assert table.match(b"f1.example.com", b"/", ()) is table.apps[BASE], "the name is unknown: it is the base's"


@pytest.mark.parametrize(
    ("previews", "field"),
    [
        (Previews(copies=(Copy("f1", "evil/web", Target("evil/web")),)), "previews.copies[0].app"),
        (Previews(copies=(Copy("f1", "evil/web", elsewhere=True),)), "previews.copies[0].target"),
        (Previews(copies=(Copy("f1", "evil/web", Target("other/web"), elsewhere=True),)), "previews.copies[0].target"),
        (Previews(copies=(Copy("f1", BASE),)), "previews.copies[0].app"),
        (Previews(copies=(Copy("f1", "shop/a"), Copy("f1", "shop/b"))), "previews.copies[1].name"),
        (Previews(copies=(Copy("F1", "shop/a"),)), "previews.copies[0].name"),
        (Previews(copies=(Copy("a--b", "shop/a"),)), "previews.copies[0].name"),
        (Previews(copies=(Copy("xn", "shop/a"),)), "previews.copies[0].name"),
        (Previews(header="Host"), "previews.header"),
        (Previews(header="Cookie"), "previews.header"),
        (Previews(header="X-Forwarded-For"), "previews.header"),
        (Previews(header="a b"), "previews.header"),
        (Previews(baggage="a=b"), "previews.baggage"),
        (Previews(cookie="a;b"), "previews.cookie"),
        (Previews(set_cookie=True), "previews.set_cookie"),
        (Previews(hosts=("{name}.evil.com",)), "previews.hosts[0]"),
        (Previews(unknown="404"), "previews.unknown"),
    ],
)
def test_what_is_refused(previews: Previews, field: str) -> None:
    with pytest.raises(RouteError) as caught:
        RoutingTable([Route(BASE, Target(BASE), (Rule(("example.com",)),), previews=previews)])
    assert caught.value.field == field


def test_names_of_copies() -> None:
    assert all(map(is_copy_name, (b"f1", b"a", b"0", b"feature-1", b"x" * 63)))
    assert not any(map(is_copy_name, (b"", b"-a", b"a-", b"a--b", b"xn", b"A", b"a.b", b"a b", b"x" * 64, b"\xff")))


def test_a_thousand_previews_are_one_entry_and_cost_as_much_to_find_as_one() -> None:
    few, many = RoutingTable([base("f0")]), RoutingTable([base(*(f"f{number}" for number in range(1000)))])
    assert len(many.routes) == 1
    assert len(encode_json(many)) < 130_000
    assert _steps(few, b"f0.example.com") == _steps(many, b"f999.example.com")
    copy = many.apps[f"{BASE}--f7"]
    assert copy.rules is many.apps[f"{BASE}--f8"].rules
    assert sys.getsizeof(copy) < 400
    with pytest.raises(RouteError, match=f"at most {MAX_COPIES}"):
        RoutingTable([base(*(f"f{number}" for number in range(MAX_COPIES + 1)))])


def _steps(table: RoutingTable, host: bytes) -> int:
    work = partial(found, table, host)
    count(work)  # Python 3.12 does not report all instructions of code that was not traced before
    return count(work)


def test_the_explanation_names_the_copy() -> None:
    table = RoutingTable([base("f1", hosts=(DOT,), cookie="c"), other("*.example.com", created=1.0)])
    key = b"uber-ctx-key"
    for host, header, app, step in (
        (b"f1.example.com", b"", f"{BASE}--f1", "preview f1, by the host: taken by shop/web--f1"),
        (b"f2.example.com", b"", "other/app", "*.example.com/: taken by other/app"),
        (b"example.com", b"", BASE, "no preview of shop/web is named"),
        (b"example.com", b"f1", f"{BASE}--f1", "preview f1, by the header: taken by shop/web--f1"),
        (b"example.com", b"f2", BASE, "by the header: shop/web has no preview f2, taken by shop/web"),
        (b"example.com", b"F!", BASE, "by the header: is no name of a preview, taken by shop/web"),
        (b"nowhere.org", b"f1", None, "no host pattern is left: no route"),
    ):
        explained = explain(table, host, b"/", [(key, header)])
        assert (None if explained.route is None else explained.route.app, explained.steps[-1]) == (app, step)
    known, unknown = (explain(RoutingTable([base("f1")]), host, b"/", ()) for host in (b"f1.example.com", b"f2.example.com"))
    assert known.steps[1] == "f1.example.com: the host of preview f1 of shop/web"
    assert unknown.steps[1:] == ("by the host: shop/web has no preview f2, taken by shop/web",)
    refusing = RoutingTable([base("f1", unknown="refuse")])
    assert explain(refusing, b"example.com", b"/", [(key, b"f2")]).route is None
