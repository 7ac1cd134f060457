"""One request and its answer: route, lease, waiting, choice of backend, relay, end. Knows no wire format.

Every way out of an exchange goes through `_end`, which releases the lease exactly once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from fleet.demand.ledger import Lease
from fleet.routing.table import RoutingTable
from interceptor.app.admission import UNBOUNDED
from interceptor.app.local_answers import UNCOUNTED, FrontAnswer
from interceptor.app.stats import CANCELLED, READY, TIMED_OUT
from interceptor.backends.endpoints import MAX_DIALS, Endpoint, EndpointSet, Slot
from interceptor.core.errors import BackendError, BadResponse, ExchangeError, Unavailable
from interceptor.core.messages import CONTINUE, IDEMPOTENT, REQUEST_TIMEOUT, Fields, Request, Response
from interceptor.core.replies import Reply, no_route, text_reply
from interceptor.core.sides import Downstream, Upstream
from interceptor.exchange.failures import never_ready, no_response, request_took_too_long, silent_client, stuck_body
from interceptor.exchange.flags import COLD, FALLBACK, STICKY, marked_fields
from interceptor.exchange.tunnel import Tunnel

if TYPE_CHECKING:
    from interceptor.app.app import App, Limits
    from interceptor.app.applist import AppList
    from interceptor.app.local_answers import Front

__all__ = ["Exchange", "ExchangeHost"]

MAX_ATTEMPTS = 4
"""Backends that a request is sent to, when one after the other loses it unanswered."""
MAX_REPLAY_BYTES = 64 * 1024
"""A request body kept so that the request can be sent again."""
MAX_EARLY_BODY_BYTES = 16 * 1024
"""A request body read while a connection is opened; then the client is not read from."""
FALLBACK_PATIENCE_SECONDS = 2.0
"""How long those that go to a fallback at once wait for their turn to connect; then they connect all the same."""
CLIENT_LEFT = 499

_NEW, _HELD, _DIALING, _SENT, _ANSWERING, _DONE = range(6)


class ExchangeHost(Protocol):
    """What an exchange needs of the proxy."""

    clock: Callable[[], float]
    """Seconds; it never goes back."""
    table: RoutingTable | None
    apps: dict[str, App]
    applist: AppList | None
    """What answers people whose request no route takes, on a machine of their own."""

    def missing(self, app: App) -> tuple[str, str] | None:
        """Why the application can have no backend, as a reason and in words."""

    def refused(self, error: ExchangeError) -> None:
        """A request that no application can be charged with was answered."""

    def watch(self, client: Downstream) -> None:
        """The client's deadline is nearer than before."""


class Exchange:
    """Between one client connection and, at a time, at most one backend connection."""

    __slots__ = (
        "_attempts", "_body", "_body_bytes", "_body_done", "_client", "_connection", "_dialed", "_head", "_host",
        "_lease", "_limits", "_marks", "_phase", "_replayable", "_sent", "_slot", "_started", "_status", "_waits_since",
        "app", "method", "unframed",
    )  # fmt: skip

    app: App
    _lease: Lease
    _slot: Slot
    _limits: Limits
    """Those of the route when it began, or when it last had to wait: what is sent is not hurried by a change of the route."""
    _marks: int
    _dialed: float
    """When its connection began to be opened."""
    _sent: float
    """When it went out. Noted only of an exchange with marks."""

    def __init__(self, host: ExchangeHost, client: Downstream, head: Request) -> None:
        self._host = host
        self._client = client
        self._head = head
        self.method = head.method
        self.unframed = client.unframed
        self._phase = _NEW
        self._waits_since = 0.0
        self._connection: Upstream | None = None
        self._body: list[bytes] | None = None
        self._body_bytes = 0
        self._body_done = head.length == 0
        self._replayable = True
        self._attempts = 0
        self._status = 0

    # -- the request ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The head is there: find the application and, at best, a connection that rests."""
        host, head = self._host, self._head
        now = self._started = host.clock()
        table = host.table
        if table is None:
            self._refuse_unrouted(Unavailable("the routing table has not been read yet", reason="no_table", retry_after=1))
            return
        fields = head.routing_fields(headers=table.reads_headers, method=table.reads_methods) if table.reads_fields else ()
        route = table.match(head.host, head.path, fields)
        if route is None:
            self._refuse_unrouted(no_route(head.host, head.path), None if host.applist is None else host.applist.reply(head))
            return
        app = self.app = host.apps[route.app]
        self._marks = app.marks
        self._limits = app.limits
        if app.front is not None and self._begin_at_front(app.front, now):
            return
        own = self._client.own_backend
        endpoint = None if app.room else app.endpoints.choose() if own is None else self._endpoint_of(own)
        if app.sessions is not None and endpoint is not None:
            endpoint = self.preferred() or endpoint
        if endpoint is None or endpoint.load >= app.ceiling or app.entry.in_flight >= app.max_requests:
            self._begin_late(now)
        elif own is not None:
            self._lease = app.entry.acquire(now)
            self._go(endpoint, now)
        elif endpoint.idle:
            self._lease = app.entry.acquire(now)
            self._use(endpoint, now)
        elif endpoint.dialing < MAX_DIALS:
            self._lease = app.entry.acquire(now)
            self._dial(endpoint, now)
        else:
            self._begin_late(now)

    def _begin_at_front(self, front: Front, now: float) -> bool:
        """Whether a request of such a route needs nothing more: it is answered, or goes to a backend uncounted."""
        answer = front.at_once(self._head)
        if answer is not UNCOUNTED:
            return self._answer(answer, now)
        app = self.app
        endpoint = None if app.room else app.endpoints.find(app.ceiling)
        if endpoint is None or app.unseen is None or app.unseen.in_flight >= app.max_requests:
            return False  # asleep, or so busy that one more does not matter
        self._lease = app.unseen.acquire(now)
        self._go(endpoint, now)
        return True

    @property
    def answers_half_closed(self) -> bool:
        """Whether a client that will send no more is waited for."""
        return self.app.answers_half_closed

    def on_body(self, data: bytes | memoryview, *, complete: bool) -> None:
        """More of the request's body, as it goes on."""
        if complete:
            self._body_done = True
        connection = self._connection
        if connection is None:
            self._keep_body(data)
            if self._body_bytes > MAX_EARLY_BODY_BYTES and not complete:
                self._client.pause_reading()
            return
        connection.write_through(data)
        if self._phase == _SENT:
            self._keep_for_replay(data)
            self._limit(self._host.clock(), self._limits.response_header if complete else self._limits.idle)
        else:
            self._limit(self._host.clock(), self._limits.idle)

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        """More of a body too large to be kept."""
        connection = self._connection
        if connection is None or (self._replayable and self._head.idempotent and self._phase == _SENT):
            self.on_body(data, complete=False)
            return 0
        self._replayable = False
        self._limit(self._host.clock(), self._limits.idle)
        return connection.splice(data, source, left)

    def _keep_body(self, data: bytes | memoryview) -> None:
        if data:
            if self._body is None:
                self._body = []
            self._body.append(bytes(data))
            self._body_bytes += len(data)

    def _keep_for_replay(self, data: bytes | memoryview) -> None:
        """Only a request that may be sent twice needs its body twice."""
        if not self._replayable:
            return
        if self._head.idempotent and self._body_bytes + len(data) <= MAX_REPLAY_BYTES:
            self._keep_body(data)
        else:
            self._replayable = False
            self._body = None

    # -- finding a backend ----------------------------------------------------------------------------------------

    def _begin_late(self, now: float) -> None:
        """What was chosen at random cannot take it: another backend may, or it has to wait."""
        app = self.app
        if app.entry.held + app.entry.in_flight >= app.max_requests:
            self._lease = app.entry.hold(now)
            self._overflow(Unavailable(f"application {app.name} has too many requests", reason="max_requests", retry_after=1))
            return
        endpoint = None if app.room else app.endpoints.find(app.ceiling)
        if app.sessions is not None:
            endpoint = self.settle(endpoint)
        if endpoint is None:
            self._enter_room(now)
        else:
            self._lease = app.entry.acquire(now)
            self._go(endpoint, now)

    def _enter_room(self, now: float) -> None:
        """Wait for a backend, counted as held. What is still to come of the body is not read meanwhile."""
        app, client, again = self.app, self._client, self._phase != _NEW
        if not app.endpoints.ready and self._begin_without_backends(now):
            return
        if again:
            self._lease.hold(now)
        else:
            self._lease = app.entry.hold(now)
        if not self._waits_since:
            self._waits_since = now
        if not app.endpoints.ready:
            self._marks |= COLD
        self._phase = _HELD
        if app.removed:
            self._fail(app.removal())
            return
        if not app.enter(self, now=now, size=self._head.size + self._body_bytes, again=again):
            self._no_room(again=again)
            self._overflow(Unavailable(f"too many requests wait for application {app.name}", reason="overflow", retry_after=1))
            return
        if not self._body_done:
            client.pause_reading()
        self._limit_wait(now)

    def _begin_without_backends(self, now: float) -> bool:
        """Whether a request is answered although, or because, there is nothing to go to. One that no backend can ever come for
        wakes nothing."""
        app = self.app
        answer = None if app.stand_in is None else app.stand_in.while_asleep(self._head, app.endpoints.why)
        missing = self._host.missing(app)
        if missing is None or (answer is not None and not answer.wakes):
            return self._answer(answer, now)
        if app.fallback is not None and app.fallback.ready:
            return self._go_to_fallback(app.fallback, now)
        reason, why = missing
        error = BackendError(f"application {app.name}: {why}", reason=reason)
        return self._answer(FrontAnswer(text_reply(error), reason), now)

    def _go_to_fallback(self, fallback: EndpointSet, now: float) -> bool:
        """Uncounted: what is counted would wake the application."""
        app = self.app
        if self._phase != _NEW:
            return False
        self._marks |= FALLBACK
        app.stats.fallbacks += 1
        self._lease = app.count_unseen().acquire(now)
        self._go(fallback.find(UNBOUNDED) or fallback.ready[0], now)
        return True

    def _no_room(self, *, again: bool) -> None:
        """It does not wait, so that its time is not that of a cold start."""
        if self._marks & COLD and not again:
            self._marks &= ~COLD
            self.app.stats.rejections += 1

    def _limit_wait(self, now: float) -> None:
        """Who waits is held to the limits of its route as it is now."""
        limits = self._limits = self.app.limits
        self._client.deadline = min(self._waits_since + self._patience, self._started + limits.request)
        if self.app.endpoints.hopeless:
            self._on_wait_deadline(now)
        else:
            self._host.watch(self._client)

    @property
    def _patience(self) -> float:
        """Seconds that it may wait for a backend."""
        return 0.0 if self.app.endpoints.hopeless else self._limits.readiness

    def preferred(self) -> Endpoint | None:
        """The backend of its session, if it has one that is ready."""
        sessions = self.app.sessions
        return None if sessions is None else sessions.find(self._head, self.app.endpoints.ready)

    def settle(self, endpoint: Endpoint | None) -> Endpoint | None:
        """The backend of its session instead of the one that was found, unless it has all that the route lets it have. None when
        too many connections are being opened to it: that is over in a moment, and a session that has moved does not come back.
        """
        own, ceiling = None if endpoint is None else self.preferred(), self.app.ceiling
        if own is None or own.load >= ceiling:
            return endpoint
        return own if own.takes(ceiling) else None

    def admit(self, endpoint: Endpoint, now: float) -> None:
        """The waiting is over."""
        self.app.stats.held.observe(now - self._started)
        self._lease.admit(now)
        self._go(endpoint, now)

    def _go(self, endpoint: Endpoint, now: float) -> None:
        """What was lost on one connection goes out on a new one: others that rest may have ended too."""
        own, self._client.own_backend = self._client.own_backend, None
        if own is not None and self._use_own(own, endpoint, now):
            return
        if endpoint.idle and not self._attempts:
            self._use(endpoint, now)
        else:
            self._dial(endpoint, now)

    def reconsider(self, now: float) -> None:
        """The route was changed: what would be answered in its backends' place is; who still waits has its time limits."""
        app, head = self.app, self._head
        answer = None if app.front is None else app.front.at_once(head)
        if (answer is None or answer is UNCOUNTED) and app.stand_in is not None and not app.endpoints.ready:
            answer = app.stand_in.while_asleep(head, app.endpoints.why)
        if answer is UNCOUNTED or not self._answer(answer, now):
            self._limit_wait(now)

    def turn_away(self, error: Unavailable) -> None:
        """The waiting was in vain."""
        self._fail(error)

    def _use(self, endpoint: Endpoint, now: float) -> None:
        """Take a connection that rests. One that may only be used once is looked at first: it may have ended unheard."""
        connection = endpoint.idle.pop()
        if self.method not in IDEMPOTENT:
            while connection.has_news():
                connection.close()
                if not endpoint.idle:
                    self._dial(endpoint, now)
                    return
                connection = endpoint.idle.pop()
        self._slot = endpoint.take()
        self._send(connection, now)

    def _endpoint_of(self, own: Upstream) -> Endpoint | None:
        """The backend that the client has authenticated a connection to, as long as it may be chosen; another one otherwise."""
        endpoints = self.app.endpoints
        return own.endpoint if own.endpoint in endpoints.ready else endpoints.choose()

    def _use_own(self, own: Upstream, endpoint: Endpoint, now: float) -> bool:
        """Whether the request goes out on the connection that its client authenticated. One to another backend is given up."""
        own.endpoint.own.discard(own)
        if own.endpoint is not endpoint or own.has_news():
            own.close()
            return False
        self._slot = endpoint.take()
        self._send(own, now)
        return True

    def _dial(self, endpoint: Endpoint, now: float) -> None:
        if not self._waits_since:
            self._waits_since = now
        self._slot = endpoint.take()
        self._phase = _DIALING
        self._dialed = now
        self._client.deadline = self._started + self._limits.request  # the dial has its own limit
        if self._client.deadline != math.inf:
            self._host.watch(self._client)
        endpoint.owner.dial(endpoint, self, timeout=self._limits.connect)

    def connected(self, endpoint: Endpoint, connection: Upstream) -> bool:
        """A dial succeeded. False when the exchange ended meanwhile."""
        if self._phase != _DIALING:
            return False
        self._send(connection, self._host.clock())
        return True

    def dial_failed(self, endpoint: Endpoint, error: Exception) -> None:
        """Nothing was sent: another backend, or back to waiting."""
        if self._phase == _DIALING:
            self._phase = _HELD  # it has no place at a backend now
            self._slot.vacate()
            if isinstance(error, Unavailable):
                why = f"{error}: application {self.app.name}"
                self._fail(Unavailable(why, reason=error.reason, retry_after=error.retry_after))
            else:
                self._find_again(self._host.clock())

    def _find_again(self, now: float) -> None:
        if self._marks & FALLBACK:
            self._find_fallback_again(now)
            return
        app = self.app
        endpoint = None if app.room else app.endpoints.find(app.ceiling, but=self._slot.endpoint)
        if app.sessions is not None and endpoint is not None and self._attempts <= 1:  # a connection ended, not yet a backend
            endpoint = self.settle(endpoint)
        if endpoint is None:
            self._enter_room(now)
        else:
            self._go(endpoint, now)

    def _send(self, connection: Upstream, now: float) -> None:
        """The request goes out, with what is here of its body."""
        if self._marks:
            self._note_sent(now)
        self._connection = connection
        self._phase = _SENT
        head, client, body = self._head, self._client, self._body
        connection.send_request(self, head, body, peer=client.peer, trusted=client.trusted)
        if body is not None and not head.idempotent:
            self._body, self._replayable = None, False
        limits = self._limits
        if limits.late and self._body_done and client.bucket:
            client.deadline = now + limits.response_header
        else:
            self._limit(now, limits.response_header if self._body_done or self._waits_to_go_on else limits.idle)
        if not self._body_done and client.paused:
            client.resume_reading()

    def _note_sent(self, now: float) -> None:
        """For what the answer, and the metrics, tell of the way to the backend."""
        if self._phase != _DIALING:
            self._dialed = now
        self._sent = now
        if self._marks & COLD and not self._marks & FALLBACK and not self._attempts:
            self.app.stats.cold[READY].observe(now - self._started)

    def _marked_fields(self) -> Fields:
        """What the answer gets besides its own fields."""
        app, marks = self.app, self._marks
        held, connect = self._dialed - self._started, self._sent - self._dialed
        fields = marked_fields(marks, app.fields, held=held, connect=connect, backend=self._host.clock() - self._sent)
        if marks & STICKY and not marks & FALLBACK and app.sessions is not None:
            fields += app.sessions.fields(self._head, self._slot.endpoint.backend)
        return fields

    # -- the answer -----------------------------------------------------------------------------------------------

    def on_interim(self, head: Response) -> None:
        """100 Continue or its kin."""
        self._client.send_interim(head)
        if head.status == CONTINUE:
            self._head.expects_continue = False  # it was told; should the request be sent again, nobody asks twice
            if not self._body_done:
                self._limit(self._host.clock(), self._limits.idle)

    @property
    def _waits_to_go_on(self) -> bool:
        """Whether it is the backend's turn to speak, although the body is still to come."""
        return self._head.expects_continue and self._replayable and not self._body_bytes

    def on_answer(self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool) -> None:
        if head.status == REQUEST_TIMEOUT and self._is_told_late(head):
            return
        client = self._client
        self._phase = _ANSWERING
        self._body = None
        self._status = head.status
        client.send_head(head, self._marked_fields() if self._marks else self.app.fields, body, end=complete)
        if complete:
            self._answered(reusable=reusable)
        else:
            self._limit(self._host.clock(), self._limits.idle)
            if client.choked:  # by an answer before this one
                self.pause_answer()

    def on_answer_data(self, data: bytes | memoryview) -> None:
        self._client.write_through(data)
        limits = self._limits
        if limits.request == math.inf:
            self._client.deadline = self._host.clock() + limits.idle
        else:
            self._limit(self._host.clock(), limits.idle)

    def on_answer_bulk(self, data: memoryview, source: object, left: int) -> int:
        self._limit(self._host.clock(), self._limits.idle)
        return self._client.splice(data, source, left)

    def on_answer_end(self, *, reusable: bool) -> None:
        self._answered(reusable=reusable)

    def _answered(self, *, reusable: bool) -> None:
        now = self._host.clock()
        self._phase = _DONE
        app, slot, connection = self.app, self._slot, self._connection
        assert connection is not None  # noqa: S101
        self._connection = None
        self._lease.release(now)
        app.stats.answered(self.method, self._status, now - self._started, self._marks & COLD)
        if reusable and self._body_done and not connection.choked:
            connection.rest()
            if connection.personal:
                self._keep_own(connection, now)
            else:
                slot.endpoint.give_back(connection, now)
        else:
            connection.abort()  # all that matters was answered: to close politely could take for ever
        slot.leave(now)
        self._client.exchange_done(now)

    def _keep_own(self, connection: Upstream, now: float) -> None:
        """A connection that the client may have authenticated is for its next request, and for no other client's. A proxy in
        front sends everybody's requests by one connection, so that there is none of one client's own."""
        client = self._client
        if client.persists and not self._slot.endpoint.gone and not (client.trusted and self._head.is_for_another):
            endpoint = self._slot.endpoint
            endpoint.own.add(connection)
            connection.deadline = now + endpoint.owner.limits.idle_timeout
            endpoint.owner.deadlines.watch(connection)
            client.own_backend = connection
        else:
            connection.close()

    def on_lost(self, error: Exception) -> None:
        """The backend's connection is gone, and its answer not complete."""
        now = self._host.clock()
        slot, self._connection = self._slot, None
        slot.vacate()
        self._attempts += 1
        if self._phase >= _ANSWERING:
            self._cut(now, "backend")
        elif self._may_send_again(error):
            self._waits_since = 0.0
            self._find_again(now)
        else:
            name = type(error).__name__ if not str(error) else str(error)
            failure = (
                error if isinstance(error, ExchangeError) else BackendError(f"the backend of {self.app.name} failed: {name}")
            )
            self._fail(failure)
        slot.leave(now)

    def _is_told_late(self, head: Response) -> bool:
        """Some servers say 408 when they close a connection that rests. It may have crossed with this request, and then it is no
        answer to it (RFC 9110 15.5.9): it is sent again, as if the connection had ended without a word."""
        connection = self._connection
        last = self._attempts == MAX_ATTEMPTS - 1
        error = BackendError("the backend closed the connection while it rested")
        if connection is None or head.keep_alive or not self._body_done or last or not self._may_send_again(error):
            return False
        connection.abort()
        self.on_lost(error)
        return True

    def _may_send_again(self, error: Exception) -> bool:
        """Sent, unanswered: only what may be done twice is sent twice. A malformed answer is an answer."""
        unanswered = not isinstance(error, BadResponse)
        return unanswered and self._head.idempotent and self._replayable and self._attempts < MAX_ATTEMPTS

    def on_switched(self, head: Response, data: bytes) -> None:
        """The backend speaks another protocol from here on: the rest is a tunnel's business."""
        connection = self._connection
        assert connection is not None  # noqa: S101
        if not self._body_done:  # what is left of the request would be taken for the other protocol
            connection.abort()
            self.on_lost(BadResponse("the backend switched protocols before the end of the request"))
            return
        self._phase = _DONE
        self._connection = None
        tunnel = Tunnel(self._host, self._client, self.app, self._lease, self.method)
        fields = self._marked_fields() if self._marks else self.app.fields
        tunnel.open(self._slot, connection, head, fields, data)

    # -- limits and back-pressure ---------------------------------------------------------------------------------

    def _limit(self, now: float, seconds: float) -> None:
        """The next thing has to happen within so many seconds, and all of it within the limit of the whole request."""
        until = now + seconds
        if self._limits.request != math.inf:
            until = min(until, self._started + self._limits.request)
        self._client.deadline = until
        self._host.watch(self._client)

    def on_deadline(self, now: float) -> None:
        """The client's deadline has passed."""
        if self._phase == _HELD:
            self._on_wait_deadline(now)
        elif self._phase in (_DIALING, _SENT):
            self._on_answer_deadline(now)
        elif self._phase != _DONE and now >= self._started + self._limits.request:
            self._cut(now, "request_timeout")
        elif self._phase != _DONE:
            connection = self._connection
            assert connection is not None  # noqa: S101
            if not self._moves(now, min(self._client.stuck_for(), connection.stuck_for())):
                self._cut(now, "idle_timeout")

    def _moves(self, now: float, stuck: float) -> bool:
        """Whether a side that is slow to take what the other sends has taken some of it within the limit."""
        if stuck >= self._limits.idle:
            return False
        self._limit(now, self._limits.idle - stuck)
        return True

    def _fall_back(self, now: float) -> bool:
        """The application did not become ready in time: go to its fallback. False when there is none that is ready."""
        app, fallback = self.app, self.app.fallback
        if fallback is None or not fallback.ready:
            return False
        endpoint = fallback.find(UNBOUNDED)
        if endpoint is None and now < self._waits_since + self._patience + FALLBACK_PATIENCE_SECONDS:
            self._client.deadline = now  # all that waited as long come at once: take turns
            self._host.watch(self._client)
            return True
        app.leave(self)
        app.stats.fallbacks += 1
        app.waits.unserved(app, now)
        self._waited_in_vain(TIMED_OUT, now)
        self._marks |= FALLBACK
        self._lease.admit(now)
        self._go(endpoint or fallback.ready[0], now)
        return True

    def _find_fallback_again(self, now: float) -> None:
        fallback = self.app.fallback
        endpoint = None if fallback is None else fallback.find(UNBOUNDED) or fallback.choose()
        if endpoint is None:
            self._fail_in_vain(now)
        else:
            self._go(endpoint, now)

    def _on_wait_deadline(self, now: float) -> None:
        if now >= self._waits_since + self._patience:
            if self._fall_back(now):
                return
            self._fail_in_vain(now)
        elif now >= self._started + self._limits.request:
            self.app.waits.unserved(self.app, now)
            self._on_answer_deadline(now)

    def _on_answer_deadline(self, now: float) -> None:
        name, limits = self.app.name, self._limits
        if now >= self._started + limits.request:
            self._fail(request_took_too_long(name, limits))
        elif self._connection is not None and self._connection.choked:
            if not self._moves(now, self._connection.stuck_for()):
                self._fail(stuck_body(name, limits))
        elif self._body_done or self._waits_to_go_on:
            self._fail(no_response(name, limits))
        else:
            self._fail(silent_client(name, limits))

    def pause_body(self) -> None:
        """The backend takes no more of the request for now."""
        self._client.pause_reading()

    def resume_body(self) -> None:
        self._client.resume_reading()
        if self._phase == _SENT and self._body_done:  # only now the request is sent
            self._limit(self._host.clock(), self._limits.response_header)

    def pause_answer(self) -> None:
        """The client takes no more of the answer for now."""
        if self._connection is not None:
            self._connection.pause_reading()

    def resume_answer(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    # -- ends -----------------------------------------------------------------------------------------------------

    def on_client_lost(self) -> None:
        """The client left: nothing is owed to it any more."""
        if self._phase not in (_NEW, _DONE):
            self._end(self._host.clock(), CLIENT_LEFT if self._phase < _ANSWERING else self._status)

    def on_broken_body(self, error: ExchangeError) -> bool:
        """What came of the body is not to be answered by a backend; an answer that has begun is cut."""
        begun = self._phase == _ANSWERING
        if self._phase not in (_NEW, _DONE):
            self._end(self._host.clock(), self._status if begun else error.status)
        return not begun

    def _refuse_unrouted(self, error: ExchangeError, listed: Reply | None = None) -> None:
        self._phase = _DONE
        self._host.refused(error if listed is None else ExchangeError(str(error), status=listed.status, reason="app_list"))
        self._client.reply(listed or text_reply(error), method=self.method, now=self._started)

    def _answer(self, answer: FrontAnswer | None, now: float) -> bool:
        """Answer from the front, if there is an answer. Such a request is not counted unless it is to wake the application."""
        if answer is None:
            return False
        if answer.wakes:
            self.app.waits.unserved(self.app, now)
        if self._phase == _NEW:
            self._phase = _DONE
            if answer.wakes:
                self.app.entry.acquire(now).release(now)
            self.app.stats.timeless(self.method, answer.reply.status)
        else:
            self._end(now, answer.reply.status)
        self._reply(answer.reply, now, reason=answer.reason)
        return True

    def _fail(self, error: ExchangeError) -> None:
        """Answer that it went wrong. Only before an answer has begun."""
        now = self._host.clock()
        self._end(now, error.status)
        self._reply(text_reply(error), now, reason=error.reason)

    def _fail_in_vain(self, now: float) -> None:
        """It has waited for the readiness timeout."""
        app, error = self.app, never_ready(self.app)
        if not app.endpoints.ready:
            app.waits.in_vain(app, now - self._waits_since, str(error), now)
        self._fail(error)

    def _cut(self, now: float, reason: str) -> None:
        """End an answer that has begun."""
        self.app.stats.cut[reason] += 1
        self._end(now, self._status)
        self._client.abort()

    def _overflow(self, error: ExchangeError) -> None:
        """Answer that there is no room."""
        stand_in = self.app.stand_in
        reply = None if stand_in is None else stand_in.on_overflow(self._head, self.app.endpoints.why)
        now = self._host.clock()
        self._end(now, error.status if reply is None else reply.status)
        self._reply(reply or text_reply(error), now, reason=error.reason)

    def _reply(self, reply: Reply, now: float, *, reason: str) -> None:
        self.app.stats.own[reason, reply.status] += 1
        self._client.reply(reply, method=self.method, now=now)

    def _end(self, now: float, status: int) -> None:
        """Give back all that the exchange holds."""
        phase, self._phase = self._phase, _DONE
        if phase == _HELD:
            self.app.leave(self)
            if status == CLIENT_LEFT:
                self.app.waits.unserved(self.app, now)
        self._lease.release(now)
        self._body = None
        self.app.stats.answered(self.method, status, now - self._started, self._marks & COLD)
        if phase in (_HELD, _DIALING):
            self._waited_in_vain(CANCELLED if status == CLIENT_LEFT else TIMED_OUT, now)
        connection, self._connection = self._connection, None
        if phase == _DIALING or connection is not None:
            if connection is not None:
                connection.abort()
            self._slot.leave(now)

    def _waited_in_vain(self, outcome: str, now: float) -> None:
        """No backend became ready for it. What was sent once, or goes to the fallback, was counted before."""
        if self._marks & (COLD | FALLBACK) == COLD and not self._attempts:
            self.app.stats.cold[outcome].observe(now - self._started)
