"""Which replicas an interceptor shows as busy by a call: those that a scaler counts, as far as it knows of requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from fleet.demand.busy import Leases
from fleet.demand.ledger import Ledger
from fleet.discovery.busy import NoBusy
from fleet.routing.route import Scaling
from fleet.routing.table import RoutingTable
from interceptor import called as module
from interceptor.called import Called
from tests.support.loopback import route

APP, OTHER = "default/web", "default/other"
EPOCH = 1e9


class _Source(NoBusy):
    def __init__(self) -> None:
        super().__init__()
        self.leases: Leases = {}

    @property
    def current(self) -> Leases:
        return self.leases


class _Stage:
    def __init__(self, most: float) -> None:
        self.now = 100.0
        self.ledger, self.source = Ledger(), _Source()
        self.called = Called(self.source, self.ledger.entry, clock=lambda: self.now, wall=lambda: EPOCH + self.now)
        self.permit(most)

    def permit(self, most: float) -> None:
        permitted = replace(route(APP), scaling=Scaling(max_busy=most))
        self.called.set_table(RoutingTable([permitted, route(OTHER, "other.test")]))

    def lease(self, **until: float) -> None:
        self.source.leases = {app: {who: EPOCH + end for who, end in until.items()} for app in (APP, OTHER, "default/gone")}

    def at(self, now: float) -> Any:
        self.now = now
        return dict(self.called.replicas())


def test_each_ends_at_its_time_and_only_where_it_is_permitted() -> None:
    stage = _Stage(100.0)
    assert stage.at(101.0) == {}
    stage.lease(one=110.0, two=120.0)
    assert [stage.at(now) for now in (109.0, 110.0, 120.0)] == [{APP: 2}, {APP: 1}, {}]


def test_none_outlasts_the_maximum_after_the_last_request() -> None:
    stage = _Stage(30.0)
    stage.lease(one=1000.0)
    assert [stage.at(now) for now in (129.0, 130.0)] == [{APP: 1}, {}]
    request = stage.ledger.entry(APP).acquire(131.0)
    assert [stage.at(now) for now in (131.0, 200.0)] == [{APP: 1}, {APP: 1}], "it has one now"
    request.release(200.0)
    assert [stage.at(now) for now in (229.0, 230.0)] == [{APP: 1}, {}]


def test_a_changed_maximum_counts_at_once() -> None:
    stage = _Stage(30.0)
    stage.lease(one=1000.0)
    assert stage.at(110.0) == {APP: 1}
    stage.permit(5.0)
    assert stage.at(111.0) == {}
    stage.permit(60.0)
    assert stage.at(112.0) == {APP: 1}, "its last request is still known"
    stage.permit(0.0)
    assert stage.at(113.0) == {}


async def test_requests_between_two_looks_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks for the page meanwhile."""
    monkeypatch.setattr(module, "LOOK_AGAIN_SECONDS", 0.0)
    stage = _Stage(30.0)
    await stage.called.start()
    stage.lease(one=1000.0)
    stage.now = 120.0
    stage.ledger.entry(APP).acquire(stage.now).release(stage.now)
    for _ in range(20):
        await asyncio.sleep(0)
    assert [stage.at(now) for now in (149.0, 150.0)] == [{APP: 1}, {}]
    await stage.called.close()
