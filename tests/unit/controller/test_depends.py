"""`dependsOn` of objects: what it becomes, what is refused, and what the status says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.dependents import MAX_LOOKED, Dependents
from controller.depends import dependency_finding
from controller.resources import Resource
from fleet.routing.dependencies import Dependencies
from fleet.routing.route import Dependency
from fleet.routing.table import RoutingTable
from tests.unit.controller.objects import http, route


def told(*resources: Resource) -> dict[str, tuple[str, str, str] | None]:
    """The findings about these objects."""
    table = RoutingTable(resource.route for resource in resources if resource.route is not None)
    dependencies = table.dependencies
    found = {route.app: dependency_finding(route, dependencies) for route in table.routes}
    return {app: None if one is None else (one.status, one.reason, one.message) for app, one in found.items()}


@pytest.mark.parametrize("made", [http, route])
def test_names_and_objects(made: Any) -> None:
    resource = made(dependsOn=["api", {"name": "db", "keepAwake": False}, {"name": "cache", "optional": True}])
    assert resource.problem is None
    assert resource.route.depends_on == (
        Dependency("shop/api"), Dependency("shop/db", keep_awake=False), Dependency("shop/cache", optional=True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["other/api"], "spec.dependsOn[0]: 'other/api': only applications of the same namespace"),
        (["../other/api"], "only applications of the same namespace"),
        ([{"name": "x/y"}], "only applications of the same namespace"),
        (["db", "web"], "spec.dependsOn[1]: is the application itself"),
        (["db", "db"], "spec.dependsOn[1]: shop/db is there twice"),
        (["Not A Name"], "spec.dependsOn[0]: 'shop/Not A Name' is not"),
        (["x" * 100_000], "spec.dependsOn[0]"),
        ([{"name": "db", "optinal": True}], "optinal"),
        ([{}], "name"),
        ([5], "dependsOn[0]"),
        ([["db"]], "dependsOn[0]"),
        ("db", "dependsOn"),
        ([f"a{number}" for number in range(1001)], "dependsOn"),
    ],
)
def test_what_is_refused(given: Any, words: str) -> None:
    for made in (http, route):
        resource = made(dependsOn=given)
        assert resource.route is None
        assert words in str(resource.problem)


def test_the_status_of_what_is_there() -> None:
    assert told(http("web", dependsOn=["api", "db"]), http("api"), route("db")) == {
        "shop/web": ("True", "Found", "wakes with this: api, db"), "shop/api": None, "shop/db": None,
    }  # fmt: skip


def test_the_status_of_what_is_missing() -> None:
    missing = ("False", "NotFound", "nothing of the name api is served in this namespace; it cannot wake")
    assert told(http("web", dependsOn=["api", "db"]), http("db"), http("api", "other"))["shop/web"] == missing
    optional = http("web", dependsOn=[{"name": "api", "optional": True}])
    assert told(optional)["shop/web"] == ("True", "Found", "nothing of it is there, and all is optional")


def test_the_status_of_a_circle() -> None:
    found = told(http("web", dependsOn=["api"]), http("api", dependsOn=["db"]), http("db", dependsOn=["api"]))
    circle = ("False", "Circle", "what these need of each other is left out, for all of them: api -> db -> api")
    assert found == {"shop/web": ("True", "Found", "wakes with this: api"), "shop/api": circle, "shop/db": circle}


class World:
    """A table, and what KEDA says."""

    def __init__(self, *resources: Resource) -> None:
        self.active: set[str] = set()
        self.looked: list[str] = []
        self.table = RoutingTable()
        self.dependents = Dependents(lambda: self.table, self.active.__contains__, self.looked.append)
        self.put(*resources)

    def put(self, *resources: Resource) -> list[str]:
        """Another table; returns what is looked at again by that."""
        self.table = RoutingTable(resource.route for resource in resources if resource.route is not None)
        self.resources = {resource.key.app: resource for resource in resources}
        self.looked.clear()
        self.dependents.read()
        return sorted(self.looked)

    def findings(self, app: str) -> dict[str, tuple[str, str, str]]:
        found = self.dependents.findings(self.resources[app])
        return {kind: (one.status, one.reason, one.message) for kind, one in found.items()}


def test_what_needs_it_keeps_an_application_awake() -> None:
    world = World(http("web", dependsOn=["api", {"name": "log", "keepAwake": False}]), http("api", dependsOn=["db"]), http("db"))
    asleep = ("False", "NoDemand", "no application that needs it is active")
    assert world.findings("shop/db") == {"Needed": asleep}
    assert world.findings("shop/web") == {
        "Dependencies": ("False", "NotFound", "nothing of the name log is served in this namespace; it cannot wake")
    }
    world.looked.clear()
    world.active.add("shop/web")
    assert world.findings("shop/web")
    assert world.looked == ["shop/api", "shop/db"], "they are looked at again when KEDA says that the other one is active"
    assert world.findings("shop/api")["Needed"] == ("True", "AwakeFor", "awake for web")
    assert world.findings("shop/db") == {"Needed": ("True", "AwakeFor", "awake for web")}
    world.active.update(("shop/api", "shop/db"))
    assert world.findings("shop/db") == {"Needed": ("True", "AwakeFor", "awake for api, web")}
    world.active.clear()
    world.looked.clear()
    assert world.findings("shop/web")
    assert world.looked == ["shop/api", "shop/db"]
    assert world.findings("shop/db") == {"Needed": asleep}


def test_another_table_has_the_others_looked_at_again() -> None:
    web, api, db = http("web", dependsOn=["api"]), http("api", dependsOn=["db"]), http("db")
    world = World(web, api)
    assert world.put(web, api, db) == ["shop/api", "shop/db"]
    assert world.put(web, api, db) == []
    assert world.put(web, api, http("db", dependsOn=["web"])) == ["shop/api", "shop/db", "shop/web"]
    assert world.findings("shop/web")["Dependencies"][1] == "Circle"
    assert world.put(api, db) == ["shop/api", "shop/db", "shop/web"]
    assert "Needed" not in world.findings("shop/api")


def test_a_long_chain_is_looked_at_only_in_part() -> None:
    count = 1000
    world = World(*(http(f"a{number}", dependsOn=[f"a{number + 1}"] if number + 1 < count else []) for number in range(count)))
    asked = 0

    def is_active(app: str) -> bool:
        nonlocal asked
        asked += 1
        return app != f"shop/a{count - 1}"

    dependents = Dependents(lambda: world.table, is_active, lambda app: None)
    found = dependents.findings(world.resources[f"shop/a{count - 1}"])["Needed"]
    assert found.message == "awake for a998, a997, a996 and 97 more"
    assert asked <= MAX_LOOKED


def test_the_status_of_what_has_no_room() -> None:
    web = http("web", dependsOn=["db"])
    finding = dependency_finding(web.route, Dependencies({}, {}, {}, frozenset({"shop/web"})))
    assert finding is not None
    assert (finding.status, finding.reason) == ("False", "TooMany")


def test_messages_are_bounded() -> None:
    count = 1000
    found = told(*(http(f"a{number}", dependsOn=[f"a{(number + 1) % count}"]) for number in range(count)))
    assert max(len(json.dumps(one)) for one in found.values()) < 300
    many = told(http(dependsOn=[f"a{number}" for number in range(count)]))["shop/web"]
    assert many is not None
    assert "and 997 more" in many[2]


def test_a_preview_has_those_of_its_base() -> None:
    resource = http(dependsOn=["db"], hosts=None, previewOf={"base": "shop", "name": "f1"})
    assert resource.route is not None
    assert resource.route.depends_on == ()
    assert [str(each) for each in resource.ignored] == ["spec.dependsOn: is that of the base (previewOf)"]
