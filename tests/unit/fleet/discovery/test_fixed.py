"""Fixed sources report changes, and nothing else."""

from __future__ import annotations

import logging

import pytest

from fleet.discovery.fixed import FixedBackends, FixedMembers, FixedRoutes
from fleet.discovery.sources import Backend, Member
from fleet.routing.route import Route, Target
from fleet.routing.table import RoutingTable

A, B = Backend("127.0.0.1", 8001), Backend("127.0.0.1", 8002)
ONE = [Route(app="default/web", target=Target(service="default/web"))]


async def test_routes() -> None:
    source = FixedRoutes()
    told: list[RoutingTable] = []
    source.subscribe(told.append)
    await source.start()
    assert source.current is None
    source.set(RoutingTable(ONE))
    source.set(RoutingTable(ONE))
    await source.refresh()
    assert [table.routes for table in told] == [tuple(ONE)]
    assert source.current is told[0]
    await source.close()


def test_backends() -> None:
    source = FixedBackends({"default/web": [A]})
    told: list[str] = []
    source.subscribe(told.append)
    source.set("default/web", [A])
    source.set("default/web", [A, B])
    source.set("default/other", [])
    assert told == ["default/web"]
    assert source.get("default/web") == (A, B)
    assert source.get("default/unknown") == ()


def test_members_and_the_end_of_a_subscription() -> None:
    source = FixedMembers([Member("a", "127.0.0.1:1")])
    told: list[tuple[Member, ...]] = []
    unsubscribe = source.subscribe(told.append)
    source.set([])
    unsubscribe()
    unsubscribe()
    source.set([Member("b", "127.0.0.1:2")])
    assert told == [()]
    assert source.current == (Member("b", "127.0.0.1:2"),)


def test_a_subscriber_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("broken")

    source = FixedBackends()
    told: list[str] = []
    source.subscribe(fail)
    source.subscribe(told.append)
    with caplog.at_level(logging.ERROR):
        source.set("default/web", [A])
    assert told == ["default/web"]
    assert "a subscriber failed" in caplog.text


def test_a_subscriber_may_leave_while_it_is_called() -> None:
    source = FixedBackends()
    told: list[str] = []

    def once(key: str) -> None:
        told.append(key)
        unsubscribe()

    unsubscribe = source.subscribe(once)
    source.subscribe(told.append)
    source.set("default/web", [A])
    source.set("default/web", [B])
    assert told == ["default/web"] * 3
