"""An application in one interceptor: its route, counters, backends, waiting room and admission."""

from __future__ import annotations

import math
from typing import Protocol

from fleet.defaults import FAILOVER_SECONDS
from fleet.demand.ledger import Entry, Ledger
from fleet.discovery.sources import Backend
from fleet.routing.context import NO_MARKS, Context
from fleet.routing.port import ListenPort
from fleet.routing.route import Route, Timeouts
from interceptor.app.admission import UNBOUNDED, Admission
from interceptor.app.affinity import Sessions
from interceptor.app.cors import Cors
from interceptor.app.flags import OUTSIDE, PREVIEWED, RULED, SHARED, STICKY, TIMED, usual_fields
from interceptor.app.keeping import Keeping
from interceptor.app.local_answers import LocalAnswers
from interceptor.app.outward import mark_of
from interceptor.app.rules import Rules, rules_of
from interceptor.app.stats import AppStats
from interceptor.app.waiting import WaitingRoom
from interceptor.app.waits import Waits
from interceptor.backends.endpoint import Endpoint
from interceptor.backends.endpoints import EndpointSet
from interceptor.core.deadlines import HORIZON, NEVER
from interceptor.core.errors import Unavailable
from interceptor.core.messages import Fields, Request
from interceptor.core.sides import Upstream
from interceptor.settings import InterceptorSettings

__all__ = ["App", "Chooser", "Fallback", "Limits", "Waiter"]


class Fallback(Protocol):
    """Backends in place of those that did not become ready."""

    @property
    def ready(self) -> list[Endpoint]: ...
    def choose(self) -> Endpoint | None: ...
    def find(self, bound: int) -> Endpoint | None: ...


class Chooser(Protocol):
    """The backends of a rule, and which of them a request goes to."""

    def pick(self, head: Request, own: Upstream | None = None) -> App: ...


class Waiter(Protocol):
    """An exchange that waits."""

    def settle(self, endpoint: Endpoint | None) -> Endpoint | None:
        """The backend of its session in place of the given one; None when it must wait for that backend."""

    def reconsider(self, now: float) -> None:
        """The local answers or the time limits may have changed."""

    def admit(self, endpoint: Endpoint, now: float) -> None:
        """A backend can take it."""

    def reject(self, error: Unavailable) -> None:
        """It is refused: no backend will take it."""


class Limits:
    """The time limits of a route in seconds; infinite without a limit."""

    __slots__ = ("connect", "idle", "late", "of_client", "readiness", "request", "response_header")

    def __init__(self, timeouts: Timeouts, settings: InterceptorSettings) -> None:
        self.connect = _seconds(timeouts.connect, settings.connect_timeout)
        self.readiness = _seconds(timeouts.readiness, settings.readiness_timeout)
        self.response_header = _seconds(timeouts.response_header, settings.response_header_timeout)
        self.request = _seconds(timeouts.request, settings.request_timeout)
        self.idle = _seconds(timeouts.idle, settings.idle_timeout)
        # Everything is checked within the horizon anyway, so a limit beyond it needs no call per request.
        self.late = self.request == math.inf and self.response_header >= HORIZON
        self.of_client = False
        """Whether `request` is a deadline that the client has set."""

    def within(self, seconds: float) -> Limits:
        """These limits for a request to which its client gives so many seconds as a whole."""
        if seconds > self.request:
            return self
        limits = Limits.__new__(Limits)  # such a call may be the usual one, so it is not copied by means that cost more
        limits.connect, limits.readiness, limits.response_header = self.connect, self.readiness, self.response_header
        limits.idle, limits.request, limits.late, limits.of_client = self.idle, seconds, False, True
        return limits


def _seconds(route: float | None, setting: float) -> float:
    return (setting if route is None else route) or math.inf


class App:
    """Exists while a version of its route is in the table; exchanges may keep it longer."""

    __slots__ = (
        "_admission",
        "_mark",
        "_unready_since",
        "answers_asleep",
        "answers_first",
        "answers_half_closed",
        "branches",
        "bucket",
        "ceiling",
        "context",
        "cors",
        "deadline",
        "endpoints",
        "entry",
        "fallback",
        "fields",
        "flags",
        "keeping",
        "limits",
        "marks",
        "max_requests",
        "name",
        "over_tls",
        "port",
        "port_parts",
        "removed",
        "room",
        "route",
        "rules",
        "sessions",
        "share",
        "shares",
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
        fallback: Fallback | None = None,
        share: int = UNBOUNDED,
        waits: Waits | None = None,
    ) -> None:
        self.name = route.app
        self.share = share
        """Maximum number of its requests, whatever its route says, so that connections are left for other applications."""
        self._mark = b""
        self.entry = entry
        self.removed = False
        self.keeping = Keeping(entry)
        """Backends that keep it awake after their answers."""
        self.room: WaitingRoom[Waiter] = WaitingRoom(settings.max_held, settings.max_held_bytes)
        self.stats = AppStats()
        self.waits = Waits() if waits is None else waits
        """Informed when requests wait, and when they reach their time limit."""
        self.uncounted: Entry | None = None
        """Counts requests that a static route matches but a backend answers; scalers do not see them."""
        self.endpoints = endpoints
        self.branches: dict[tuple[int, str], App] = {}
        """Its parts for the requests that go to other targets, by the rule's number and the target."""
        self.port_parts: dict[str, App] = {}
        """Its parts for ports, by `ListenPort.place`."""
        self.port: ListenPort | None = None
        """Of such a part."""
        self.over_tls: App | None = None
        """Its part for the requests of clients that speak TLS, if backends are spoken to as clients speak."""
        self.shares: Chooser | None = None
        """Of such a part: the backends of its rule."""
        self.deadline = NEVER
        """Time of the next check of waiting requests."""
        self.bucket = 0
        self._admission = Admission()
        self._unready_since = 0.0
        """When it was last seen that no backend is ready while a request waits."""
        self.update(route, endpoints, settings, fallback=fallback)

    def update(
        self, route: Route, endpoints: EndpointSet, settings: InterceptorSettings, *, fallback: Fallback | None = None
    ) -> None:
        """Apply a new version of the route. Requests that wait stay, even if the limit became smaller."""
        self.apply(route, endpoints, settings, fallback=fallback)
        self.resume()

    def apply(
        self, route: Route, endpoints: EndpointSet, settings: InterceptorSettings, *, fallback: Fallback | None = None
    ) -> None:
        """Like `update`, but waiting requests follow the new route only after `resume`."""
        self.route = route
        self._mark = b""
        self.limits = Limits(route.timeouts, settings)
        self.fallback = fallback
        """The backends for requests that have reached the readiness timeout."""
        if fallback is not None and self.limits.readiness == math.inf:
            self.limits.readiness = float(FAILOVER_SECONDS)  # without a limit, the fallback would never be used
        self.sessions: Sessions[Endpoint] | None = None
        """Which backend a request's session belongs to; None without affinity."""
        if route.affinity is not None:
            self.sessions = Sessions(route.app, route.affinity, settings.affinity_key, place=self._place(route))
        self.flags = _flags_of(route)
        """Flags of a new exchange."""
        if self.sessions is not None and self.sessions.by_cookie:
            self.flags |= STICKY
        self.rules = self._rules(route)
        """What the route's rules change about requests; None if they change nothing."""
        if self.rules is not None:
            self.flags |= RULED
        self.cors = None if route.cors is None else Cors(route.cors)
        """Which pages of other origins may use it."""
        if self.cors is not None:
            self.flags |= SHARED
        if endpoints.outside:
            self.flags |= OUTSIDE
        self.context = _context(route)
        """How its requests are for one of its previews; None if it has none."""
        self.marks = NO_MARKS if self.context is None else self.context.marks
        said = route.answer_half_closed
        self.answers_half_closed = settings.answer_half_closed if said is None else said
        """Whether a client that has closed its sending side after its request is answered; otherwise it counts as
        disconnected."""
        self.fields = usual_fields(cold_start=settings.cold_start_header)
        """The fields added to the response of an exchange without flags."""
        front = LocalAnswers(route, self.cors, self.rules)
        self.answers_first = front if front.first else None
        """Checked before anything else."""
        if route.static_routes:
            self.uncounted_entry()
        self.answers_asleep = front if front.asleep else None
        """Checked while no backend is ready."""
        self._bound(route, settings)
        if self.keeping.kept:
            self.keeping.bound(route.scaling.max_busy, endpoints.clock())
        self.endpoints.waiting_apps.pop(self, None)
        self.endpoints = endpoints
        if self.room:
            endpoints.waiting_apps[self] = None

    def resume(self) -> None:
        """Let waiting requests follow the route as it is now."""
        if self.room:
            self.reconsider_waiting(self.endpoints.clock())

    @property
    def main(self) -> App:
        """The application itself."""
        return self

    @property
    def parts(self) -> list[App]:
        """The application itself, and its parts for other targets."""
        plain = [self, *self.branches.values(), *self.port_parts.values()]
        return [*plain, *(part.over_tls for part in plain if part.over_tls is not None)]

    @property
    def mark(self) -> bytes:
        """Of its requests to targets outside of discovery. Made when it is first used."""
        if self.main is not self:
            return self.main.mark
        self._mark = self._mark or mark_of(self.route)
        return self._mark

    def note_outside(self) -> None:
        """Its backends have come to be outside of discovery, or no longer are: its Service has become another one."""
        self.flags = self.flags & ~OUTSIDE | (OUTSIDE if self.endpoints.outside else 0)

    def _rules(self, route: Route) -> Rules[Chooser] | None:
        return rules_of(route)

    def _place(self, route: Route) -> str:
        """What cookies of sessions are named for, if not the application alone."""
        return ""

    def session_fields(self, head: Request, backend: Backend) -> Fields:
        """Fields for a response to keep the session at this backend."""
        return () if self.sessions is None else self.sessions.fields(head, backend)

    def reconsider_waiting(self, now: float) -> None:
        """Waiting requests may be answerable locally now, and get the new time limits and target."""
        for waiter in list(self.room):
            waiter.reconsider(now)
        if self.room:
            self.endpoints.probe_sooner(now)

    def _bound(self, route: Route, settings: InterceptorSettings) -> None:
        self._admission.update(route, readiness=self.limits.readiness)
        self.ceiling = self._admission.ceiling
        """Maximum concurrent requests at one backend."""
        self.max_requests = min(_or(route.protection.max_requests, settings.max_requests), self.share)
        """Held and in flight."""
        self.room.limit = _or(route.cold_start.max_held, settings.max_held)
        self.room.limit_bytes = _or(route.cold_start.max_held_bytes, settings.max_held_bytes)

    def uncounted_entry(self) -> Entry:
        """The entry for requests that scalers do not see."""
        if self.uncounted is None:
            self.uncounted = Ledger().entry(self.name)
        return self.uncounted

    def take_share(self, share: int, settings: InterceptorSettings) -> None:
        """Set another share of the connections. Existing requests stay."""
        self.share = share
        self._bound(self.route, settings)

    # -- waiting --------------------------------------------------------------------------------------------------

    def enter(self, waiter: Waiter, *, now: float, size: int, again: bool = False) -> bool:
        """Let a request wait, for which `size` bytes are kept. Returns False when the room is full."""
        room = self.room
        if not room.enter(waiter, now=now, size=size, again=again):
            return False
        if len(room) == 1:
            self.endpoints.waiting_apps[self] = None
            self._unready_since = now
            self.waits.began(self)
            self.endpoints.probe_sooner(now)
            self._look_again(now)
        return True

    def leave(self, waiter: Waiter) -> None:
        """A request does not wait any more, for whatever reason."""
        room = self.room
        room.leave(waiter)
        if not room:
            self._admission.relax()
            self.endpoints.waiting_apps.pop(self, None)
            self.endpoints.deadlines.forget(self)

    def admit_next(self, now: float) -> bool:
        """Admit the next request. Returns False when there is none, or no backend can take it."""
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
        """Check whether the limit keeps the oldest request from backends that are ready."""
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
        """The route was removed; no backend will be started for waiting requests."""
        self.removed = True
        self.keeping.bound(0.0, self.endpoints.clock())
        self.waits.forget(self)
        while (waiter := self.room.first()) is not None:
            self.leave(waiter)
            waiter.reject(self.removal())

    def reject(self, why: str, *, reason: str, retry_after: int) -> int:
        """Answer all waiting requests with a 503; returns their number."""
        waiters = list(self.room)
        for waiter in waiters:
            self.leave(waiter)
            waiter.reject(Unavailable(f"{why}: application {self.name}", reason=reason, retry_after=retry_after))
        return len(waiters)

    def removal(self) -> Unavailable:
        """The error for a request that would have to wait although the route was removed."""
        return Unavailable(f"application {self.name} was removed", reason="removed")


def _flags_of(route: Route) -> int:
    return (TIMED if route.server_timing else 0) | (0 if route.previews is None else PREVIEWED)


def _context(route: Route) -> Context | None:
    return None if route.previews is None else Context(route.previews)


def _or(route: int | None, setting: int) -> int:
    return setting if route is None else route
