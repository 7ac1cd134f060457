"""The scaler's metrics and diagnostics pages. Reads the demand when asked; keeps no counts of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fleet.demand.merge import AppDemand, FleetDemand
from fleet.runtime.documents import Rows
from fleet.runtime.exposition import Family, Kind, Row, document
from scaler.service import ExternalScalerServicer

__all__ = ["FAMILIES", "Metrics", "pages"]

_APP_GAUGES = tuple(
    Family(f"weir_scaler_app_{name}", Kind.GAUGE, meaning, ("app",), weight=2)
    for name, meaning in (
        ("active", "Whether KEDA is told that the application is active."),
        ("held", "Requests that wait for a backend, over all interceptors."),
        ("in_flight", "Requests that backends work on, over all interceptors."),
        ("busy", "Backends that keep the application awake after their answers, over all interceptors."),
        ("concurrency", "Requests at once: the larger of now and the mean over the window."),
        ("rate", "Requests per second: the mean over the window."),
    )
)
_CONNECTED = Family("weir_scaler_member_connected", Kind.GAUGE, "Whether the member's stream is open.", ("member",))
_STREAMS = Family("weir_scaler_activity_streams", Kind.GAUGE, "Open StreamIsActive calls.")
_PUSHES = Family("weir_scaler_pushes", Kind.COUNTER, "Activations pushed to KEDA.")

FAMILIES = (*_APP_GAUGES, _CONNECTED, _STREAMS, _PUSHES)
"""All metric families."""


class Metrics:
    """The metrics of one scaler, in documents of at most `most_bytes`. One document is generated at a time."""

    def __init__(
        self, demand: FleetDemand, service: ExternalScalerServicer, clock: Callable[[], float], *, most_bytes: int
    ) -> None:
        self._demand = demand
        self._service = service
        self._clock = clock
        self._series = document(FAMILIES, most_bytes)

    def parts(self) -> Iterator[str]:
        """A document in Prometheus' text format, in parts of one series each."""
        apps = []
        for app in _apps(self._demand, self._clock):
            apps.append(app)
            yield ""
        for family in _APP_GAUGES:
            yield from self._series[family.name].parts(_gauges(apps, family.name.removeprefix("weir_scaler_app_")))
        members = [*self._demand.members(self._clock())]
        yield from self._series[_CONNECTED.name].parts(((one.member,), float(one.connected)) for one in members)
        yield from self._series[_STREAMS.name].parts([((), self._service.streams)])
        yield from self._series[_PUSHES.name].parts([((), self._service.pushes)])


def _apps(demand: FleetDemand, clock: Callable[[], float]) -> Iterator[AppDemand]:
    """One at a time, each with its current values."""
    for name in demand.names():
        if (app := demand.app(name, clock())) is not None:
            yield app


def _gauges(apps: Iterable[AppDemand], name: str) -> Iterator[Row]:
    for app in apps:
        yield (app.app,), float(getattr(app, name))


def pages(demand: FleetDemand, clock: Callable[[], float]) -> Mapping[str, Callable[[], Any]]:
    """/demand: every application; /members: every interceptor."""
    return {"/demand": lambda: Rows(_apps(demand, clock)), "/members": lambda: [*demand.members(clock())]}
