"""Leases by calls: their document, and how they count as demand."""

from __future__ import annotations

import pytest

from fleet.demand.busy import MAX_LEASES, MAX_OF_NAMESPACE, Leases, TooMany, changed, decode_leases, encode_leases
from fleet.demand.ledger import QueueSize
from fleet.demand.merge import AppPolicy, FleetDemand, Metric

APP = "a/web"


def test_a_lease_is_made_renewed_and_freed() -> None:
    leases = changed({}, APP, "one", 10.0, 0.0)
    leases = changed(leases, APP, "two", 5.0, 0.0)
    leases = changed(leases, "a/other", "one", 4.0, 0.0)
    assert leases == {APP: {"one": 10.0, "two": 5.0}, "a/other": {"one": 4.0}}
    leases = changed(leases, APP, "one", 20.0, 4.0)
    assert leases == {APP: {"one": 20.0, "two": 5.0}}, "what has ended is left out"
    assert changed(changed(leases, APP, "two", 0.0, 4.5), APP, "one", 4.5, 4.5) == {}
    assert decode_leases(encode_leases(leases)) == leases


def test_there_is_room_for_so_many_and_renewals_need_none() -> None:
    leases: Leases = {APP: {str(number): 10.0 for number in range(MAX_LEASES)}}  # of a version before the bound of a namespace
    with pytest.raises(TooMany):
        changed(leases, "b/other", "x", 10.0, 0.0)
    assert changed(leases, APP, "7", 20.0, 0.0)[APP]["7"] == 20.0
    assert changed(leases, "b/other", "x", 20.0, 11.0) == {"b/other": {"x": 20.0}}


def test_no_namespace_takes_the_room_of_all_others() -> None:
    leases: Leases = {}
    for number in range(MAX_OF_NAMESPACE):
        leases = {**leases, f"a/{number}": {"one": 10.0}}
    with pytest.raises(TooMany, match="namespace a has 1000 leases already"):
        changed(leases, "a/more", "one", 10.0, 0.0)
    with pytest.raises(TooMany):
        changed(leases, "a/1", "two", 10.0, 0.0)
    assert changed(leases, "a/1", "one", 20.0, 0.0)["a/1"] == {"one": 20.0}
    assert "a/1" not in changed(leases, "a/1", "one", 0.0, 0.0)
    assert changed(leases, "a/none", "one", 0.0, 0.0) == leases
    assert changed(leases, "ab/web", "one", 10.0, 0.0)["ab/web"] == {"one": 10.0}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"leases": {"a": {"b": "c"}}}',
        b'{"leases": []}',
        encode_leases({APP: dict.fromkeys(map(str, range(2001)), 1.0)}),
    ],
)
def test_other_documents_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_leases(data)


def fleet(woken: list[str]) -> FleetDemand:
    demand = FleetDemand(on_wake=woken.append)
    demand.configure({APP: AppPolicy(activity_period=5.0)})
    demand.snapshot("m", "1", (), 0.0)
    return demand


def test_it_is_demand_wakes_and_ends_with_the_activity_period() -> None:
    woken: list[str] = []
    demand = fleet(woken)
    demand.leased.keep(APP, 2, 1.0)
    assert (woken, demand.level(APP), demand.active(APP, 100.0)) == ([APP], 2, True)
    assert demand.value(APP, Metric.CONCURRENCY, 1.0) == 2.0
    demand.leased.keep(APP, 2, 2.0)
    assert woken == [APP]
    demand.leased.keep(APP, 0, 10.0)
    assert demand.active(APP, 14.9)
    assert not demand.active(APP, 15.0)


def test_a_replica_that_says_it_both_ways_is_one() -> None:
    demand = fleet([])
    demand.update("m", "1", [QueueSize(APP, busy=1, generation=1)], 1.0)
    demand.leased.keep(APP, 1, 1.0)
    assert demand.level(APP) == 1
    found = demand.app(APP, 1.0)
    assert found is not None
    assert found.busy == 1


def test_when_the_last_request_was() -> None:
    demand = fleet([])
    assert demand.leased.last_request(APP) == float("-inf")
    demand.leased.keep(APP, 1, 1.0)
    assert demand.leased.last_request(APP) == float("-inf"), "a lease is no request"
    demand.update("m", "1", [QueueSize(APP, requests_total=1, generation=1)], 2.0)
    assert demand.leased.last_request(APP) == 2.0
    demand.update("m", "1", [QueueSize(APP, in_flight=1, requests_total=2, generation=1)], 3.0)
    demand.update("m", "1", [QueueSize(APP, requests_total=2, busy=1, generation=1)], 9.0)
    assert demand.leased.last_request(APP) == 9.0, "it lasted until then"
    demand.update("m", "1", [QueueSize(APP, requests_total=2, busy=1, generation=1)], 12.0)
    assert demand.leased.last_request(APP) == 9.0
