"""An application as one interceptor serves it: its route, its counters, its backends, its waiting room."""

from __future__ import annotations

import math
from typing import Protocol

from fleet.demand.ledger import Entry
from fleet.routing.route import Route, Timeouts
from interceptor.deadlines import HORIZON
from interceptor.endpoints import MAX_DIALS, Endpoint, EndpointSet
from interceptor.errors import Unavailable
from interceptor.front import Front
from interceptor.marks import TIMED, unmarked_fields
from interceptor.settings import InterceptorSettings
from interceptor.stats import AppStats
from interceptor.waiting import WaitingRoom

__all__ = ["App", "Guest", "Limits"]


FALLBACK_READINESS_SECONDS = 30.0
"""A fallback that is never reached would be none: so long is waited for the application where no limit is set, as by KEDA's
HTTP add-on."""


class Guest(Protocol):
    """An exchange that waits."""

    def admit(self, endpoint: Endpoint, now: float) -> None:
        """A backend can take it."""

    def turn_away(self, error: Unavailable) -> None:
        """It has waited in vain."""


class Limits:
    """The time limits of a route, in seconds; infinite where there is none."""

    __slots__ = ("connect", "idle", "late", "readiness", "request", "response_header")

    def __init__(self, timeouts: Timeouts, settings: InterceptorSettings) -> None:
        self.connect = _seconds(timeouts.connect, settings.connect_timeout)
        self.readiness = _seconds(timeouts.readiness, settings.readiness_timeout)
        self.response_header = _seconds(timeouts.response_header, settings.response_header_timeout)
        self.request = _seconds(timeouts.request, settings.request_timeout)
        self.idle = _seconds(timeouts.idle, settings.idle_timeout)
        # Everything is looked at within the horizon anyway: a limit beyond it costs a request no call.
        self.late = self.request == math.inf and self.response_header >= HORIZON


def _seconds(route: float | None, setting: float) -> float:
    return (setting if route is None else route) or math.inf


class App:
    """Lives as long as some version of its route is in the table; exchanges may outlive it."""

    __slots__ = (
        "endpoints",
        "entry",
        "fallback",
        "fields",
        "front",
        "limits",
        "marks",
        "name",
        "removed",
        "room",
        "route",
        "stand_in",
        "stats",
    )

    def __init__(
        self,
        route: Route,
        entry: Entry,
        endpoints: EndpointSet,
        settings: InterceptorSettings,
        *,
        fallback: EndpointSet | None = None,
    ) -> None:
        self.name = route.app
        self.entry = entry
        self.removed = False
        self.room: WaitingRoom[Guest] = WaitingRoom(settings.max_held)
        self.stats = AppStats()
        self.update(route, endpoints, settings, fallback=fallback)

    def update(
        self, route: Route, endpoints: EndpointSet, settings: InterceptorSettings, *, fallback: EndpointSet | None = None
    ) -> None:
        """Take over a new version of the route."""
        self.route = route
        self.endpoints = endpoints
        self.limits = Limits(route.timeouts, settings)
        self.fallback = fallback
        """The backends of who has waited for the readiness timeout."""
        if fallback is not None and self.limits.readiness == math.inf:
            self.limits.readiness = FALLBACK_READINESS_SECONDS
        self.marks = TIMED if route.server_timing else 0
        """Those of an exchange before anything happened to it."""
        self.fields = unmarked_fields(cold_start=settings.cold_start_header)
        """Lines that an answer gets whose exchange has no marks."""
        front = Front(route)
        self.front = front if front.always else None
        """Asked before anything else."""
        self.stand_in = front if front.asleep else None
        """Asked while no backend is ready."""

    def pump(self, now: float) -> None:
        """Let in who has waited longest, for as long as a backend can take one more."""
        room = self.room
        while room:
            endpoint = self.endpoints.choose()
            if endpoint is None or not (endpoint.idle or endpoint.dialing < MAX_DIALS):
                return
            guest = room.first()
            assert guest is not None  # noqa: S101
            room.leave(guest)
            guest.admit(endpoint, now)

    def close(self) -> None:
        """The route is gone, and nobody will make a backend for it."""
        self.removed = True
        while (guest := self.room.first()) is not None:
            self.room.leave(guest)
            guest.turn_away(self.removal())

    def removal(self) -> Unavailable:
        """What is said to who would have to wait for a backend that nobody will make."""
        return Unavailable(f"application {self.name} was removed", reason="removed")
