"""The hints for a request without a route: the most similar hosts and paths."""

from __future__ import annotations

from fleet.routing.nearest import nearest
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable


def _table(*routes: tuple[str, Rule]) -> RoutingTable:
    return RoutingTable([Route(app, Target(app), rules=(rule,)) for app, rule in routes])


SHOP = ("default/shop", Rule(hosts=("shop.localhost",), paths=("/api", "/admin")))
WILD = ("default/wild", Rule(hosts=("*.wild.localhost",), paths=("/x",)))


def test_a_host_that_is_misspelt() -> None:
    assert nearest(_table(SHOP, WILD), b"SHOPP.localhost:8080") == ("did you mean shop.localhost (default/shop)?",)


def test_a_name_in_another_domain() -> None:
    for typed in (b"shop", b"shop.example.com"):
        assert nearest(_table(SHOP, WILD), typed) == ("did you mean shop.localhost (default/shop)?",)


def test_the_domain_that_all_are_in_makes_none_nearer() -> None:
    table = _table(
        *((f"default/{name}", Rule(hosts=(f"{name}.localhost",))) for name in ("hello", "slow", "env", "daemon", "hallo"))
    )
    assert nearest(table, b"helo.localhost") == (
        "did you mean hello.localhost (default/hello) or hallo.localhost (default/hallo)?",
    )


def test_a_path_that_is_not_there() -> None:
    assert nearest(_table(SHOP, WILD), b"shop.localhost") == (
        "shop.localhost has routes for /api (default/shop), /admin (default/shop)",
    )
    assert nearest(_table(SHOP, WILD), b"a.wild.localhost") == ("*.wild.localhost has routes for /x (default/wild)",)


def test_a_host_like_no_other() -> None:
    assert nearest(_table(SHOP, WILD), b"\xff") == ("there are routes for *.wild.localhost, shop.localhost",)


def test_no_routes_at_all() -> None:
    assert nearest(_table(), b"shop.localhost") == ("there are no routes",)


def test_a_large_table_is_not_told_whole() -> None:
    table = _table(*((f"default/a{index}", Rule(hosts=(f"host-{index}.test",))) for index in range(50)))
    (line,) = nearest(table, b"1.2.3.4")
    assert line.endswith(" and 45 more")
