"""The interceptor's metrics for Prometheus, made from what the proxy counts anyway, when somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import monotonic

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fleet.demand.ledger import Ledger
from interceptor.proxy import Proxy
from interceptor.stats import Histogram

__all__ = ["create_registry"]

_APP = ("namespace", "app")


def create_registry(proxy: Proxy, ledger: Ledger) -> CollectorRegistry:
    """A registry with the proxy's metrics and those of the process."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(_ProxyCollector(proxy, ledger))
    return registry


class _ProxyCollector(Collector):
    def __init__(self, proxy: Proxy, ledger: Ledger) -> None:
        self._proxy = proxy
        self._ledger = ledger

    def describe(self) -> list[Metric]:
        return []  # what there is depends on the applications

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._demand()
        yield from self._connections()
        yield from self._pressure()

    def _requests(self) -> Iterator[Metric]:
        apps = list(self._proxy.apps.values())
        answers = CounterMetricFamily(
            "weir_interceptor_requests", "Requests answered; code 499 is a client that left", labels=(*_APP, "method", "code")
        )
        for app in apps:
            for key, count in app.stats.answers().items():
                answers.add_metric([*_split(app.name), *key], count)
        yield answers
        own = CounterMetricFamily(
            "weir_interceptor_own_answers",
            "Requests answered in the backends' place, and why; among weir_interceptor_requests",
            labels=(*_APP, "reason", "code"),
        )
        for app in apps:
            for (reason, status), count in list(app.stats.own.items()):
                own.add_metric([*_split(app.name), reason, str(status)], count)
        yield own
        cut = CounterMetricFamily(
            "weir_interceptor_cut_answers", "Answers that had begun and were ended with a reset", labels=(*_APP, "reason")
        )
        for app in apps:
            for reason, count in list(app.stats.cut.items()):
                cut.add_metric([*_split(app.name), reason], count)
        yield cut
        seconds = HistogramMetricFamily("weir_interceptor_request_duration_seconds", "Whole exchanges", labels=_APP)
        held = HistogramMetricFamily(
            "weir_interceptor_held_duration_seconds", "Time that requests waited for a backend", labels=_APP
        )
        cold = HistogramMetricFamily(
            "weir_interceptor_cold_start_duration_seconds",
            "Time to a connected backend of requests that found none ready; its count is that of cold starts",
            labels=_APP,
        )
        fallbacks = CounterMetricFamily("weir_interceptor_fallbacks", "Requests that went to the fallback", labels=_APP)
        for app in apps:
            _add(seconds, app.name, app.stats.duration)
            _add(cold, app.name, app.stats.cold)
            fallbacks.add_metric(_split(app.name), app.stats.fallbacks)
            _add(held, app.name, app.stats.held)
        yield seconds
        yield held
        yield cold
        yield fallbacks
        refused = CounterMetricFamily(
            "weir_interceptor_refused", "Requests of no application, answered here", labels=("reason", "code")
        )
        for (reason, status), count in list(self._proxy.refusals.items()):
            refused.add_metric([reason, str(status)], count)
        yield refused

    def _demand(self) -> Iterator[Metric]:
        held = GaugeMetricFamily("weir_interceptor_held_requests", "Requests that wait for a backend", labels=_APP)
        in_flight = GaugeMetricFamily("weir_interceptor_in_flight_requests", "Requests a backend works on", labels=_APP)
        tunnels = GaugeMetricFamily("weir_interceptor_tunnels", "Upgraded connections", labels=_APP)
        for size in self._ledger.sizes(monotonic()):
            labels = _split(size.app)
            held.add_metric(labels, size.held)
            in_flight.add_metric(labels, size.in_flight)
            tunnels.add_metric(labels, size.connections)
        held_bytes = GaugeMetricFamily("weir_interceptor_held_bytes", "Kept in memory for requests that wait", labels=_APP)
        for app in list(self._proxy.apps.values()):
            held_bytes.add_metric(_split(app.name), app.room.held_bytes)
        yield from (held, in_flight, tunnels, held_bytes)

    def _connections(self) -> Iterator[Metric]:
        proxy = self._proxy
        yield GaugeMetricFamily("weir_interceptor_client_connections", "Open client connections", len(proxy.clients))
        idle = sum(len(endpoint.idle) for endpoints in proxy.endpoint_sets for endpoint in endpoints.endpoints)
        yield GaugeMetricFamily("weir_interceptor_idle_backend_connections", "Connections kept for the next request", idle)
        aside = sum(len(endpoints) - len(endpoints.ready) for endpoints in proxy.endpoint_sets)
        yield GaugeMetricFamily("weir_interceptor_backends_set_aside", "Backends that have to pass a probe first", aside)
        probes = CounterMetricFamily("weir_interceptor_backend_probes", "Probes of backends", labels=("result",))
        probes.add_metric(["passed"], proxy.probes.passes)
        probes.add_metric(["failed"], proxy.probes.failures)
        yield probes
        yield GaugeMetricFamily("weir_interceptor_routes", "Routes in the table", len(proxy.apps))

    def _pressure(self) -> Iterator[Metric]:
        """How near the interceptor is to what it can take."""
        proxy, early = self._proxy, self._proxy.early
        yield GaugeMetricFamily("weir_interceptor_client_connections_limit", "Client connections at most", proxy.most_clients)
        yield GaugeMetricFamily("weir_interceptor_accepting", "1 while connections are accepted", int(not proxy.crowded))
        yield CounterMetricFamily(
            "weir_interceptor_accept_pauses", "Times that the limit of client connections was reached", proxy.crowdings
        )
        yield GaugeMetricFamily("weir_interceptor_early_bytes", "Bytes of requests that have not begun", early.total)
        yield CounterMetricFamily(
            "weir_interceptor_crowded_out", "Connections that had to give up bytes of requests not begun", early.crowded_out
        )
        lag = HistogramMetricFamily(
            "weir_interceptor_event_loop_lag_seconds",
            "How late the event loop came back, ten times a second",
        )
        lag.add_metric([], list(proxy.lag.cumulative()), proxy.lag.sum)
        yield lag
        yield GaugeMetricFamily("weir_interceptor_tasks", "Tasks of the event loop: they must not grow with time", _tasks())


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # only the names are asked for, and no event loop runs
        return 0


def _split(app: str) -> list[str]:
    namespace, _, name = app.partition("/")
    return [namespace, name]


def _add(family: HistogramMetricFamily, app: str, histogram: Histogram) -> None:
    family.add_metric(_split(app), list(histogram.cumulative()), histogram.sum)
