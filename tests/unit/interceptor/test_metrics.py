"""The interceptor's metrics: which applications have series, size in bytes, and number of steps."""

from __future__ import annotations

from time import thread_time

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from fleet.demand.ledger import Ledger
from fleet.discovery.fixed import FixedBackends
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from fleet.runtime.exposition import FIXED_BYTES, OTHERS
from interceptor.app.stats import READY
from interceptor.http1.dialer import Http1Dialer
from interceptor.metrics import Metrics
from interceptor.proxy import Proxy
from interceptor.settings import InterceptorSettings
from interceptor.transport.tcp import Outbox
from tests.support.full import FULL

APPS = 10_000 if FULL else 1_000
TURN_SECONDS = 0.010
"""Limit of CPU time in one turn of the event loop."""
MOST_BYTES = FIXED_BYTES + 290 * APPS


def a_proxy(apps: int = APPS) -> Proxy:
    outbox = Outbox()
    proxy = Proxy(InterceptorSettings.load(), Ledger(), FixedBackends({}), lambda: 0.0, outbox=outbox, dialer=Http1Dialer(outbox))
    proxy.set_table(
        RoutingTable([Route(app=app, rules=(Rule(hosts=(f"{app[5:]}.test",)),), target=Target(app)) for app in names(apps)])
    )
    return proxy


def names(apps: int) -> list[str]:
    return [f"load/app-{number:05d}" for number in range(apps)]


def touch(proxy: Proxy, app: str, *, times: int = 1) -> None:
    stats = proxy.apps[app].stats
    for _ in range(times):
        stats.answered(b"GET", 200, 0.01)
        stats.held.observe(0.3)
        stats.cold[READY].observe(0.3)
        stats.own["readiness_timeout", 504] += 1
        stats.cut["backend"] += 1
        stats.fallbacks += 1
    proxy.apps[app].entry.hold(0.0)
    proxy.apps[app].entry.acquire(0.0)


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def text_of(metrics: Metrics) -> str:
    return "".join(metrics.parts())


def test_applications_without_requests_are_left_out() -> None:
    proxy = a_proxy()
    text = text_of(Metrics(proxy, 3_000_000))
    assert "load" not in text
    assert len(text) < 10_000
    touch(proxy, "load/app-00003")
    told = families(text_of(Metrics(proxy, 3_000_000)))
    labels = [sample.labels for family in told.values() for sample in family.samples if "namespace" in sample.labels]
    assert {(each["namespace"], each["app"]) for each in labels} == {("load", "app-00003")}
    assert told["weir_interceptor_routes"].samples[0].value == APPS


def test_a_document_is_bounded_when_every_application_has_everything() -> None:
    """All applications have their own request counters by method and code; not all have their own histograms."""
    proxy = a_proxy()
    metrics = Metrics(proxy, MOST_BYTES)
    for times in (1, 2):
        for app in names(APPS):
            touch(proxy, app)
        text = text_of(metrics)
        assert len(text.encode()) < MOST_BYTES
        told = families(text)
        requests = {sample.labels["app"]: sample.value for sample in told["weir_interceptor_requests"].samples}
        assert len(requests) > 0.8 * APPS
        assert sum(requests.values()) == times * APPS
        for name in ("request_duration_seconds", "held_duration_seconds", "cold_start_duration_seconds"):
            counts = {
                sample.labels["app"]: sample.value
                for sample in told[f"weir_interceptor_{name}"].samples
                if sample.name.endswith("_count")
            }
            assert sum(counts.values()) == times * APPS, name
            assert 10 < len(counts) < APPS
            assert OTHERS in counts
        for name in ("held_requests", "in_flight_requests"):
            assert sum(sample.value for sample in told[f"weir_interceptor_{name}"].samples) == times * APPS


def test_no_part_takes_longer_than_ten_milliseconds() -> None:
    """CPU time of this thread per part, with 10,000 applications at full size, because the loop does other work between parts.
    The best of three documents, because one may contain a garbage collection."""
    proxy = a_proxy()
    for app in names(APPS)[::10]:
        touch(proxy, app)
    metrics = Metrics(proxy, 3_000_000)
    assert min(longest_part(metrics) for _ in range(3)) < TURN_SECONDS


def longest_part(metrics: Metrics) -> float:
    longest, began = 0.0, thread_time()
    for _ in metrics.parts():
        longest, began = max(longest, thread_time() - began), thread_time()
    return longest


def test_no_part_is_of_more_than_one_series() -> None:
    proxy = a_proxy(100)
    for app in names(100):
        touch(proxy, app)
    parts = list(Metrics(proxy, 3_000_000).parts())
    assert max(part.count("\n") for part in parts) < 20
    assert len(parts) > 11 * 100


def test_applications_without_requests_are_steps_as_well() -> None:
    assert len(list(Metrics(a_proxy(100), 3_000_000).parts())) > 100


def test_an_application_may_come_and_go_between_two_parts() -> None:
    proxy = a_proxy(3)
    for app in names(3):
        touch(proxy, app)
    metrics = Metrics(proxy, 3_000_000)
    parts = metrics.parts()
    text = [next(parts) for _ in range(6)]
    proxy.set_table(RoutingTable([]))
    text.extend(parts)
    told = families("".join(text))
    assert len(told["weir_interceptor_requests"].samples) == 3
    assert told["weir_interceptor_routes"].samples[0].value == 0
    assert not families(text_of(metrics))["weir_interceptor_requests"].samples


def test_an_answer_that_no_scaler_hears_of_is_reported() -> None:
    proxy = a_proxy(3)
    proxy.apps["load/app-00001"].stats.timeless(b"GET", 503)
    (sample,) = families(text_of(Metrics(proxy, 3_000_000)))["weir_interceptor_requests"].samples
    assert (sample.labels["app"], sample.labels["code"], sample.value) == ("app-00001", "503", 1.0)


@pytest.mark.parametrize("most", [200_000, 3_000_000])
def test_every_family_is_named_whatever_the_room(most: int) -> None:
    told = families(text_of(Metrics(a_proxy(1), most)))
    assert {"weir_interceptor_requests", "weir_interceptor_held_duration_seconds", "weir_interceptor_tasks"} <= told.keys()
