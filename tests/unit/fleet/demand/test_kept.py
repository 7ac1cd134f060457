"""Leases of backends that go on working after their answers, as demand: in the ledger, and merged over members."""

from __future__ import annotations

import pytest

from fleet.demand.ledger import Ledger, QueueSize
from fleet.demand.merge import AppPolicy, FleetDemand, Metric

APP = "a/web"


@pytest.fixture
def edges() -> list[str]:
    return []


@pytest.fixture
def ledger(edges: list[str]) -> Ledger:
    return Ledger(on_edge=edges.append)


def test_it_is_demand_and_no_request(ledger: Ledger) -> None:
    entry = ledger.entry(APP)
    request = entry.acquire(0.0)
    lease = entry.keep(1.0)
    request.release(1.0)
    assert (entry.busy, entry.in_flight, entry.requests_total, ledger.outstanding) == (1, 0, 1, 0)
    assert not ledger.balanced()
    assert entry.size(5.0) == QueueSize(APP, requests_total=1, concurrency_seconds_total=5.0, generation=1, busy=1)
    lease.release(6.0)
    lease.release(7.0)
    assert ledger.balanced()
    assert entry.size(9.0).concurrency_seconds_total == 6.0


def test_other_steps_of_a_request_do_not_touch_it(ledger: Ledger) -> None:
    entry = ledger.entry(APP)
    lease = entry.keep(0.0)
    lease.admit(1.0)
    lease.hold(1.0)
    lease.upgrade(1.0)
    assert (entry.busy, entry.held, entry.in_flight, entry.connections) == (1, 0, 0, 0)
    lease.release(2.0)
    assert ledger.balanced()


def test_scalers_hear_of_its_end_and_not_of_the_requests_before(ledger: Ledger, edges: list[str]) -> None:
    entry, cursor = ledger.entry(APP), ledger.watch()
    request = entry.acquire(0.0)
    lease = entry.keep(0.5)
    assert [size.busy for size in cursor.take(0.6)] == [1]
    edges.clear()
    request.release(1.0)
    assert edges == [], "the level is not zero"
    assert [size.busy for size in cursor.take(2.0)] == [1], "its integral grows, so it is sent each time"
    lease.release(3.0)
    assert edges == [APP]
    assert [(size.busy, size.in_flight) for size in cursor.take(3.0)] == [(0, 0)]
    assert cursor.take(4.0) == []


def test_the_end_of_a_request_is_no_end_while_it_lasts(ledger: Ledger, edges: list[str]) -> None:
    entry, cursor = ledger.entry(APP), ledger.watch()
    lease, waiting = entry.keep(0.0), entry.hold(0.0)
    cursor.take(0.1)
    edges.clear()
    waiting.release(2.0)
    assert edges == []
    lease.release(4.0)
    assert edges == [APP]


def test_a_forgotten_one_counts_for_nobody_later(ledger: Ledger) -> None:
    lease = ledger.entry(APP).keep(0.0)
    ledger.retain(())
    again = ledger.entry(APP)
    assert not ledger.balanced()
    ledger.retain({APP})
    lease.release(1.0)
    assert again.busy == 0
    assert ledger.balanced()


def test_whose_lease_it_is(ledger: Ledger) -> None:
    entry, other = ledger.entry(APP), ledger.entry("a/other")
    lease = entry.acquire(0.0)
    assert lease.counts_for(entry)
    assert not lease.counts_for(other)


# -- merged ------------------------------------------------------------------------------------------------------------


def busy(count: int, seconds: float = 0.0) -> QueueSize:
    return QueueSize(APP, requests_total=1, concurrency_seconds_total=seconds, generation=1, busy=count)


@pytest.fixture
def fleet() -> FleetDemand:
    fleet = FleetDemand(concurrency_window=10.0)
    fleet.configure({APP: AppPolicy(activity_period=15.0)})
    return fleet


def test_an_app_is_active_for_as_long_and_for_its_activity_period_after(fleet: FleetDemand) -> None:
    fleet.snapshot("one", "i", [], 0.0)
    fleet.update("one", "i", [busy(1)], 1.0)
    fleet.update("one", "i", [busy(1, 999.0)], 1000.0)
    found = fleet.app(APP, 1000.0)
    assert found is not None
    assert (found.active, found.busy, found.in_flight, found.held) == (True, 1, 0, 0)
    fleet.update("one", "i", [busy(0, 1000.0)], 1001.0)
    assert fleet.active(APP, 1015.9)
    assert not fleet.active(APP, 1016.1)


def test_each_counts_as_one_request_at_once(fleet: FleetDemand) -> None:
    fleet.snapshot("one", "i", [], 0.0)
    fleet.snapshot("two", "j", [], 0.0)
    fleet.update("one", "i", [busy(2)], 1.0)
    fleet.update("two", "j", [busy(1)], 1.0)
    assert (fleet.level(APP), fleet.value(APP, Metric.CONCURRENCY, 1.0), fleet.held(APP)) == (3, 3.0, 0)


def test_a_silent_member_keeps_its_own_and_one_that_is_gone_does_not(fleet: FleetDemand) -> None:
    """So a killed interceptor takes its leases with it, as soon as discovery says so, and no other ones."""
    fleet.snapshot("one", "i", [], 0.0)
    fleet.snapshot("two", "j", [], 0.0)
    fleet.update("one", "i", [busy(1)], 1.0)
    fleet.update("two", "j", [busy(1)], 1.0)
    fleet.broken("one", 2.0)
    assert fleet.level(APP) == 2
    fleet.member_left("one", 3.0)
    assert fleet.level(APP) == 1


def test_a_member_that_is_silent_for_too_long_is_counted_no_more(fleet: FleetDemand) -> None:
    fleet.snapshot("one", "i", [], 0.0)
    fleet.update("one", "i", [busy(1)], 1.0)
    assert fleet.expire(100.0, 30.0) == ["one"]
    assert fleet.level(APP) == 0
    fleet.update("one", "i", [busy(1, 100.0)], 101.0)
    assert fleet.level(APP) == 1, "it is there again"


def test_a_snapshot_without_it_ends_it(fleet: FleetDemand) -> None:
    fleet.snapshot("one", "i", [busy(1)], 0.0)
    assert fleet.level(APP) == 1, "a gauge counts at once"
    fleet.snapshot("one", "i", [], 1.0)
    assert fleet.level(APP) == 0
