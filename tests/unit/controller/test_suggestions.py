"""The finding about a dependency that wakes suggest."""

from __future__ import annotations

import msgspec
import pytest

from controller.finding import Finding
from controller.resources import Resource
from controller.schema.common import Condition
from controller.schema.http_scaled_object import HTTPScaledObjectStatus
from controller.suggestions import LATE_SECONDS, SUGGESTED, Suggestions
from fleet.demand.pair import LEAST_WAKES
from fleet.events.lifecycle import Kind
from fleet.routing.table import RoutingTable
from tests.unit.controller.objects import http

WORDS = (
    "web seems to call api (in about 100 % of its wakes), which woke before web was ready or within 2 s of that: "
    "add dependsOn: [api]"
)
FOUND = Finding("True", "WokeAfter", WORDS)


class Term:
    def __init__(self, *resources: Resource) -> None:
        self.table: RoutingTable | None = None
        self.looked: list[str] = []
        self.suggestions = Suggestions(lambda: self.table, self.looked.append)
        self.now = 0.0
        if resources:
            self.put(*resources)

    def put(self, *resources: Resource) -> None:
        self.table = RoutingTable(one.route for one in resources if one.route is not None)
        self.suggestions.read()

    def chain(self, *names: str, gap: float = 1.0) -> None:
        for name in names:
            for kind in (Kind.WAKE, Kind.FAILED, Kind.READY):
                self.suggestions.heard(kind, f"shop/{name}", self.now, at=self.now, asked=True)
                self.now += gap
        for name in names:
            self.suggestions.heard(Kind.SLEEP, f"shop/{name}", self.now, at=self.now, asked=True)

    def chains(self, *names: str, gap: float = 1.0) -> None:
        for _ in range(LEAST_WAKES):
            self.chain(*names, gap=gap)

    def found(self, resource: Resource) -> Finding | None:
        found = self.suggestions.findings(resource)
        assert found.keys() <= {SUGGESTED}
        return found.get(SUGGESTED)


def with_condition(resource: Resource, message: str = WORDS) -> Resource:
    condition = Condition(SUGGESTED, "True", "WokeAfter", message, 1, "2026-01-01T00:00:00Z")
    return msgspec.structs.replace(resource, status=HTTPScaledObjectStatus(conditions=(condition,)))


def test_what_was_seen() -> None:
    web, api = http("web"), http("api")
    term = Term(web, api)
    assert term.found(web) is None
    term.chains("web", "api")
    assert term.found(web) == FOUND
    assert term.found(api) is None
    assert "shop/web" in term.looked
    term.looked.clear()
    term.put(web, api, http("log"))
    assert term.looked == [], "dependencies are as before"
    term.put(http("web", dependsOn=["api"]), api)
    assert term.looked == ["shop/web"]
    assert term.found(web) is None
    term.put(web, api)
    assert term.found(web) == FOUND
    term.suggestions.forget("shop/api")
    assert term.found(web) is None


def test_what_is_seen_late_may_have_been_at_once() -> None:
    web, api = http("web"), http("api")
    term = Term(web, api)
    for _ in range(LEAST_WAKES):
        for name in ("web", "api"):
            term.suggestions.heard(Kind.WAKE, f"shop/{name}", term.now, at=term.now, asked=True)
            term.now += LATE_SECONDS - 1
        term.now += 10.0
        for kind in (Kind.READY, Kind.SLEEP):
            for name in ("web", "api"):
                term.suggestions.heard(kind, f"shop/{name}", term.now, at=term.now, asked=True)
    found = [term.found(one) for one in (web, api)]
    assert [one.reason if one is not None else "" for one in found] == ["WokeTogether", "WokeTogether"]


@pytest.mark.parametrize(
    ("message", "others", "is_kept"),
    [
        (WORDS, [http("api")], True),
        (WORDS, [], False),
        (WORDS.replace("[api]", "[api, db]"), [http("api")], False),
        ("", [http("api")], False),
        ("[../x]", [http("api")], False),
        ("no names", [http("api")], False),
    ],
)
def test_the_finding_of_an_earlier_term_stays(message: str, others: list[Resource], is_kept: bool) -> None:
    web = with_condition(http("web"), message)
    assert (Term(web, *others).found(web) is not None) is is_kept


def test_it_stays_until_enough_was_seen_anew() -> None:
    web, api = with_condition(http("web")), http("api")
    term = Term()
    assert term.found(web) == FOUND, "without a table nothing is known"
    term.put(web, api)
    for _ in range(LEAST_WAKES):
        assert term.found(web) == FOUND
        term.chain("web")
    assert term.found(web) is None
    assert term.looked == ["shop/web"], "it is looked at then"
    declared = with_condition(http("web", dependsOn=["api"]))
    assert Term(declared, api).found(declared) is None
