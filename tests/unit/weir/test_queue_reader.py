"""Rates of apps from two readings of their queues."""

from __future__ import annotations

from protos.weir.interceptor.v1.queue_pb2 import QueueSize
from weir.queue_reader import AppDemand, rates


def _demand(total: int) -> dict[str, AppDemand]:
    return {"default/web": AppDemand("default/web", requests_total=total)}


def test_what_every_interceptor_tells_of_is_not_added_up() -> None:
    demand = AppDemand("default/web")
    for busy, by_call in ((1, 2), (2, 3), (0, 0)):  # one of them does not know of the last request
        demand.add(QueueSize(app="default/web", busy=busy, busy_by_call=by_call))
    assert (demand.busy, demand.busy_by_call) == (3, 3)


def test_requests_per_second() -> None:
    assert rates(_demand(10), _demand(30), 4.0) == {"default/web": 5.0}


def test_an_app_seen_for_the_first_time_counts_from_zero() -> None:
    assert rates({}, _demand(6), 2.0) == {"default/web": 3.0}


def test_a_counter_that_began_anew_is_no_negative_rate() -> None:
    assert rates(_demand(10), _demand(3), 1.0) == {"default/web": 0.0}


def test_no_time_is_no_rate() -> None:
    assert rates(_demand(1), _demand(2), 0.0) == {"default/web": 0.0}
