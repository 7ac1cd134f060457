"""How long a scaler counts leases by calls."""

from __future__ import annotations

from fleet.demand.busy import Leases
from fleet.demand.ledger import QueueSize
from fleet.demand.merge import FleetDemand
from fleet.discovery.busy import NoBusy
from scaler.busy import BusyLeases

APP = "a/web"
EPOCH = 1e9


class _Stage:
    def __init__(self, most: float) -> None:
        self.now = 0.0
        self.demand = FleetDemand()
        self.demand.snapshot("m", "1", (), 0.0)
        self.leases: Leases = {}
        self.busy = BusyLeases(self.demand, NoBusy(), clock=lambda: self.now, wall=lambda: EPOCH + self.now)
        self.busy.configure({APP: most} if most else {})

    def at(self, now: float) -> int:
        self.now = now
        self.busy.count(self.leases)
        return self.demand.level(APP)

    def lease(self, holder: str, until: float) -> None:
        self.leases = {APP: {**self.leases.get(APP, {}), holder: EPOCH + until}}

    def request(self, now: float) -> None:
        self.demand.update("m", "1", [QueueSize(APP, requests_total=int(now), generation=1)], now)


def test_each_ends_at_its_time() -> None:
    stage = _Stage(100.0)
    stage.lease("one", 10.0)
    stage.lease("two", 20.0)
    assert [stage.at(now) for now in (1.0, 9.9, 10.0, 19.9, 20.0)] == [2, 2, 1, 1, 0]


def test_renewals_last_until_the_maximum_after_the_last_request() -> None:
    stage = _Stage(30.0)
    stage.request(5.0)
    for now in range(6, 60):
        stage.lease("one", now + 1000.0)
        assert stage.at(now) == (1 if now < 35 else 0), now
    stage.request(60.0)
    assert stage.at(61.0) == 1, "a request begins it anew"


def test_before_any_request_it_counts_from_the_start_of_the_scaler() -> None:
    stage = _Stage(30.0)
    stage.lease("one", 1000.0)
    assert [stage.at(now) for now in (1.0, 29.0, 30.0)] == [1, 1, 0]


def test_without_a_maximum_nothing_counts_and_taking_it_away_ends_it() -> None:
    stage = _Stage(0.0)
    stage.lease("one", 1000.0)
    assert stage.at(1.0) == 0
    other = _Stage(30.0)
    other.lease("one", 1000.0)
    assert other.at(1.0) == 1
    other.busy.configure({})
    assert other.at(1.0) == 0
