"""Which applications of a table wake together."""

from __future__ import annotations

import time

from fleet.routing.dependencies import MAX_OF_NAMESPACE
from fleet.routing.depends import Dependency
from fleet.routing.route import ColdStart, Route, Rule, Target, WeightedTarget
from fleet.routing.table import RoutingTable
from fleet.routing.together import MOST_KEPT, MOST_REACHED, Declared


def route(name: str, *needs: str, **fields: object) -> Route:
    dependencies = tuple(Dependency(f"a/{each}") for each in needs)
    made = {"rules": (Rule(hosts=(f"{name}.example",)),), "target": Target(f"a/{name}"), "depends_on": dependencies}
    return Route(f"a/{name}", **(made | fields))  # type: ignore[arg-type]


def of(*routes: Route) -> Declared:
    table = RoutingTable(routes)
    return Declared(lambda: table)


def test_chains_wake_together() -> None:
    declared = of(route("web", "api"), route("api", "db"), route("db"), route("log"))
    woken = [other for other in ("api", "db", "log", "web") if declared.wakes("a/web", f"a/{other}")]
    assert woken == ["api", "db", "web"], "it is awake itself"
    assert not declared.wakes("a/db", "a/web")
    assert not declared.wakes("a/unknown", "a/web")
    assert not declared.wakes("a/web", "a/unknown")


def test_what_may_be_declared() -> None:
    declared = of(route("web", "api"), route("api", "db"), route("db"), route("log"))
    assert declared.may_need("a/web", "a/log")
    assert not any(declared.may_need("a/web", f"a/{other}") for other in ("api", "db", "unknown"))
    assert not declared.may_need("a/db", "a/web"), "it would be a circle"
    assert not declared.may_need("a/unknown", "a/web")
    nothing = Declared(lambda: None)
    assert not nothing.may_need("a/web", "a/log")
    assert not nothing.wakes("a/web", "a/api")


def test_what_is_named_and_refused_is_not_suggested() -> None:
    declared = of(route("web", "api"), route("api", "web"))
    assert not declared.wakes("a/web", "a/api")
    assert not declared.may_need("a/web", "a/api")
    full = [route(f"x{number}", *(f"y{other}" for other in range(1000))) for number in range(MAX_OF_NAMESPACE // 1000)]
    declared = of(*full, route("z-web", "z-db"), route("z-db"), route("z-log"))
    assert not declared.may_need("a/z-web", "a/z-log"), "there is no room for another one"


def test_requests_that_go_to_the_other_one_wake_it() -> None:
    to_other = Rule(hosts=("web.example",), backends=(WeightedTarget("a/canary"),))
    declared = of(route("web", rules=(to_other,)), route("canary"), route("edge", target=Target("a/canary")), route("log"))
    assert declared.wakes("a/web", "a/canary")
    assert declared.wakes("a/edge", "a/canary")
    assert not declared.may_need("a/canary", "a/web")
    assert declared.may_need("a/web", "a/log")
    declared = of(route("web", cold_start=ColdStart(fallback=Target("a/page"))), route("page"))
    assert not declared.may_need("a/web", "a/page")


def test_another_table_is_looked_at_anew() -> None:
    tables = [RoutingTable([route("web", "api"), route("api")]), RoutingTable([route("web"), route("api")])]
    declared = Declared(lambda: tables[0])
    assert declared.wakes("a/web", "a/api")
    tables.pop(0)
    assert not declared.wakes("a/web", "a/api")
    assert declared.may_need("a/web", "a/api")


def test_a_long_chain_is_looked_at_only_in_part() -> None:
    count = 1000
    chain = [route(f"x{number}", *([f"x{number + 1}"] if number + 1 < count else [])) for number in range(count)]
    table = RoutingTable(chain)
    _ = table.dependencies
    declared, began = Declared(lambda: table), time.process_time()
    for number in range(count - 1):
        assert declared.wakes(f"a/x{number}", f"a/x{number + 1}")
        assert len(declared._woken) <= MOST_KEPT
    assert time.process_time() - began < 2
    assert declared.wakes("a/x0", f"a/x{MOST_REACHED}")
    assert not declared.wakes("a/x0", f"a/x{MOST_REACHED + 1}")
