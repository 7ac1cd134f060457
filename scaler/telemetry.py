"""What the scaler knows, for people and for Prometheus. Reads the demand when it is asked and counts nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleet.demand.merge import FleetDemand
from scaler.service import ExternalScalerServicer

__all__ = ["pages", "registry"]

_APP_GAUGES = (
    ("active", "Whether KEDA is told that the application is active."),
    ("held", "Requests that wait for a backend, over all interceptors."),
    ("in_flight", "Requests that backends work on, over all interceptors."),
    ("concurrency", "Requests at once: the larger of now and the mean over the window."),
    ("rate", "Requests per second: the mean over the window."),
)


class _Demand(Collector):
    def __init__(self, demand: FleetDemand, service: ExternalScalerServicer, clock: Callable[[], float]) -> None:
        self._demand = demand
        self._service = service
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is shows at each collection."""
        return ()

    def collect(self) -> Iterable[Metric]:
        now = self._clock()
        apps = [*self._demand.apps(now)]
        for name, meaning in _APP_GAUGES:
            family = GaugeMetricFamily(f"weir_scaler_app_{name}", meaning, labels=["app"])
            for app in apps:
                family.add_metric([app.app], float(getattr(app, name)))
            yield family
        connected = GaugeMetricFamily("weir_scaler_member_connected", "Whether the member's stream is open.", labels=["member"])
        for member in self._demand.members(now):
            connected.add_metric([member.member], float(member.connected))
        yield connected
        yield GaugeMetricFamily("weir_scaler_activity_streams", "Open StreamIsActive calls.", float(self._service.streams))
        yield CounterMetricFamily("weir_scaler_pushes", "Activations pushed to KEDA.", float(self._service.pushes))


def registry(demand: FleetDemand, service: ExternalScalerServicer, clock: Callable[[], float]) -> CollectorRegistry:
    """For /metrics."""
    made = CollectorRegistry()
    made.register(_Demand(demand, service, clock))
    return made


def pages(demand: FleetDemand, clock: Callable[[], float]) -> Mapping[str, Callable[[], Any]]:
    """/demand: every application; /members: every interceptor."""
    return {"/demand": lambda: [*demand.apps(clock())], "/members": lambda: [*demand.members(clock())]}
