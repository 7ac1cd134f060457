"""An application as one interceptor serves it: its route, its counters, its backends, its waiting room and who is let in."""

from __future__ import annotations

import math
from typing import Protocol

from fleet.defaults import FAILOVER_SECONDS
from fleet.demand.ledger import Entry, Ledger
from fleet.routing.route import Route, Timeouts
from interceptor.app.admission import UNBOUNDED, Admission
from interceptor.app.affinity import Sessions
from interceptor.app.flags import STICKY, TIMED, usual_fields
from interceptor.app.local_answers import LocalAnswers
from interceptor.app.stats import AppStats
from interceptor.app.waiting import WaitingRoom
from interceptor.app.waits import Waits
from interceptor.backends.endpoint import Endpoint
from interceptor.backends.endpoints import EndpointSet
from interceptor.core.deadlines import HORIZON, NEVER
from interceptor.core.errors import Unavailable
from interceptor.settings import InterceptorSettings

__all__ = ["App", "Limits", "Waiter"]


class Waiter(Protocol):
    """An exchange that waits."""

    def settle(self, endpoint: Endpoint | None) -> Endpoint | None:
        """The backend of its session instead of the one that was found. None when it has to wait for that one after all."""

    def reconsider(self, now: float) -> None:
        """What is answered in its backends' place may be another, and so may the time limits."""

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
        "_admission",
        "_unready_since",
        "answers_asleep",
        "answers_first",
        "answers_half_closed",
        "bucket",
        "ceiling",
        "deadline",
        "endpoints",
        "entry",
        "fallback",
        "fields",
        "flags",
        "limits",
        "max_requests",
        "name",
        "removed",
        "room",
        "route",
        "sessions",
        "share",
        "stats",
        "uncounted",
        "waits",
    )  # fmt: skip

    def __init__(
        self,
        route: Route,
        entry: Entry,
        endpoints: EndpointSet,
        settings: InterceptorSettings,
        *,
        fallback: EndpointSet | None = None,
        share: int = UNBOUNDED,
        waits: Waits | None = None,
    ) -> None:
        self.name = route.app
        self.share = share
        """Requests that it may have at most, whatever its route says: the rest of the connections is for others."""
        self.entry = entry
        self.removed = False
        self.room: WaitingRoom[Waiter] = WaitingRoom(settings.max_held, settings.max_held_bytes)
        self.stats = AppStats()
        self.waits = Waits() if waits is None else waits
        """Told when requests wait, and when they have waited in vain."""
        self.uncounted: Entry | None = None
        """Where requests are kept that static routes select and backends answer: no scaler hears of them."""
        self.endpoints = endpoints
        self.deadline = NEVER
        """Of the next look at who waits."""
        self.bucket = 0
        self._admission = Admission()
        self._unready_since = 0.0
        """When there was last seen to be no backend while somebody waited."""
        self.update(route, endpoints, settings, fallback=fallback)

    def update(
        self, route: Route, endpoints: EndpointSet, settings: InterceptorSettings, *, fallback: EndpointSet | None = None
    ) -> None:
        """Take over a new version of the route. Who waits goes on waiting, even where the room became smaller."""
        self.route = route
        self.limits = Limits(route.timeouts, settings)
        self.fallback = fallback
        """The backends of who has waited for the readiness timeout."""
        if fallback is not None and self.limits.readiness == math.inf:
            self.limits.readiness = float(FAILOVER_SECONDS)  # a fallback that is never reached would be none
        self.sessions: Sessions[Endpoint] | None = None
        """Which backend a request's session belongs to, where that matters."""
        if route.affinity is not None:
            self.sessions = Sessions(route.app, route.affinity, settings.affinity_key)
        self.flags = TIMED if route.server_timing else 0
        """Those of an exchange before anything happened to it."""
        if self.sessions is not None and self.sessions.by_cookie:
            self.flags |= STICKY
        said = route.answer_half_closed
        self.answers_half_closed = settings.answer_half_closed if said is None else said
        """Whether a client that has shut its side down after its request is answered; otherwise it is taken for gone."""
        self.fields = usual_fields(cold_start=settings.cold_start_header)
        """What an answer gets whose exchange has no marks."""
        front = LocalAnswers(route)
        self.answers_first = front if front.first else None
        """Asked before anything else."""
        if route.static_routes:
            self.count_apart()
        self.answers_asleep = front if front.asleep else None
        """Asked while no backend is ready."""
        self._bound(route, settings)
        self.endpoints.waiting_apps.pop(self, None)
        self.endpoints = endpoints
        if self.room:
            endpoints.waiting_apps[self] = None
            self.ask_again(endpoints.clock())

    def ask_again(self, now: float) -> None:
        """Who waits since before may be answered at once as things are now, and has the time limits and the target of now."""
        for waiter in list(self.room):
            waiter.reconsider(now)
        if self.room:
            self.endpoints.hurry(now)

    def _bound(self, route: Route, settings: InterceptorSettings) -> None:
        self._admission.update(route, readiness=self.limits.readiness)
        self.ceiling = self._admission.ceiling
        """Requests that one backend gets at once, at most."""
        self.max_requests = min(_or(route.protection.max_requests, settings.max_requests), self.share)
        """Held and in flight."""
        self.room.limit = _or(route.cold_start.max_held, settings.max_held)
        self.room.limit_bytes = _or(route.cold_start.max_held_bytes, settings.max_held_bytes)

    def count_apart(self) -> Entry:
        """Where requests are counted that no scaler hears of."""
        if self.uncounted is None:
            self.uncounted = Ledger().entry(self.name)
        return self.uncounted

    def take_share(self, share: int, settings: InterceptorSettings) -> None:
        """Have another share of the connections. Requests that are here stay."""
        self.share = share
        self._bound(self.route, settings)

    # -- waiting --------------------------------------------------------------------------------------------------

    def enter(self, waiter: Waiter, *, now: float, size: int, again: bool = False) -> bool:
        """Let a request wait, for which so many bytes are kept. False when the room is full."""
        room = self.room
        if not room.enter(waiter, now=now, size=size, again=again):
            return False
        if len(room) == 1:
            self.endpoints.waiting_apps[self] = None
            self._unready_since = now
            self.waits.began(self)
            self.endpoints.hurry(now)
            self._look_again(now)
        return True

    def leave(self, waiter: Waiter) -> None:
        """A request waits no more, whatever became of it."""
        room = self.room
        room.leave(waiter)
        if not room:
            self._admission.relax()
            self.endpoints.waiting_apps.pop(self, None)
            self.endpoints.deadlines.forget(self)

    def admit_next(self, now: float) -> bool:
        """Let in who is next. False when there is nobody, or no backend that can take it."""
        waiter = self.room.first()
        endpoint = self.endpoints.find(self._admission.bound)
        if waiter is not None and self.sessions is not None:
            endpoint = waiter.settle(endpoint)
        if endpoint is None or waiter is None:
            return False
        self.leave(waiter)
        waiter.admit(endpoint, now)
        return True

    def on_deadline(self, now: float) -> None:
        """Look at who waits: whether the bound keeps it from backends that are up."""
        self.deadline = NEVER
        if not self.room:
            return
        if self.endpoints.ready:
            self._admission.press(max(self.room.since, self._unready_since), now)
            self.endpoints.pump(now)
        else:
            self._unready_since = now
        if self.room:
            self._look_again(now)

    def _look_again(self, now: float) -> None:
        self.deadline = now + self._admission.look
        self.endpoints.deadlines.watch(self)

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The route is gone, and nobody will make a backend for it."""
        self.removed = True
        self.waits.forget(self)
        while (waiter := self.room.first()) is not None:
            self.leave(waiter)
            waiter.turn_away(self.removal())

    def turn_away(self, why: str, *, reason: str, retry_after: int) -> int:
        """Answer all who wait with a 503; how many those were."""
        waiters = list(self.room)
        for waiter in waiters:
            self.leave(waiter)
            waiter.turn_away(Unavailable(f"{why}: application {self.name}", reason=reason, retry_after=retry_after))
        return len(waiters)

    def removal(self) -> Unavailable:
        """What is said to who would have to wait for a backend that nobody will make."""
        return Unavailable(f"application {self.name} was removed", reason="removed")


def _or(route: int | None, setting: int) -> int:
    return setting if route is None else route
