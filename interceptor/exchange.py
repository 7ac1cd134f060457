"""One request and its answer: route, lease, waiting, choice of backend, relay, end. Knows no wire format.

Every way out of an exchange goes through `_end`, which releases the lease exactly once.
"""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from fleet.demand.ledger import Lease
from fleet.routing.table import RoutingTable
from interceptor.endpoints import MAX_DIALS, Endpoint
from interceptor.errors import BackendError, BadResponse, ExchangeError, Unavailable
from interceptor.http1.fields import CHUNKED
from interceptor.http1.response import UNTIL_CLOSE, ResponseHead
from interceptor.replies import Reply, no_route, text_reply
from interceptor.tunnel import Tunnel

if TYPE_CHECKING:
    from interceptor.apps import App
    from interceptor.http1.backend import BackendConnection
    from interceptor.http1.client import ClientConnection
    from interceptor.http1.request import RequestHead

__all__ = ["Exchange", "ExchangeHost"]

MAX_ATTEMPTS = 4
"""Backends that a request is sent to, when one after the other loses it unanswered."""
MAX_REPLAY_BYTES = 64 * 1024
"""A request body kept so that the request can be sent again."""
MAX_HELD_BODY_BYTES = 16 * 1024
"""A request body read before there is a backend; then the client is not read from."""
LEFT_CHECK_SECONDS = 0.25
"""How often a held client that is not read from is looked at, whether it is still there."""
CLIENT_LEFT = 499

_NEW, _HELD, _DIALING, _SENT, _ANSWERING, _DONE = range(6)


class ExchangeHost(Protocol):
    """What an exchange needs of the proxy."""

    table: RoutingTable | None
    apps: dict[str, App]
    draining: bool

    def refused(self, error: ExchangeError) -> None:
        """A request that no application can be charged with was answered."""

    def watch(self, client: ClientConnection) -> None:
        """The client's deadline is nearer than before."""


class Exchange:
    """Between one client connection and, at a time, at most one backend connection."""

    __slots__ = (
        "_answer_chunked", "_attempts", "_body", "_body_bytes", "_body_done", "_client", "_connection", "_endpoint", "_head",
        "_host", "_keep", "_lease", "_phase", "_replayable", "_started", "_status", "_wait_until",
        "app", "method", "plain",
    )  # fmt: skip

    app: App
    _lease: Lease
    _endpoint: Endpoint

    def __init__(self, host: ExchangeHost, client: ClientConnection, head: RequestHead) -> None:
        self._host = host
        self._client = client
        self._head = head
        self.method = head.method
        self.plain = head.minor == 0
        self._phase = _NEW
        self._wait_until = 0.0
        self._connection: BackendConnection | None = None
        self._body: list[bytes] | None = None
        self._body_bytes = 0
        self._body_done = head.length == 0
        self._replayable = True
        self._attempts = 0
        self._status = 0

    # -- the request ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The head is there: find the application and, at best, a connection that rests."""
        now = self._started = monotonic()
        host, head = self._host, self._head
        table = host.table
        if table is None:
            self._refuse_unrouted(Unavailable("the routing table has not been read yet", reason="no_table", retry_after=1))
            return
        route = table.match(head.host, head.path, head.match_fields() if table.reads_headers else ())
        if route is None:
            self._refuse_unrouted(no_route(head.host, head.path))
            return
        app = self.app = host.apps[route.app]
        endpoint = None if app.room else app.endpoints.choose()
        if endpoint is None:
            self._enter_room(now)
        elif endpoint.idle:
            self._lease = app.entry.acquire(now)
            self._use(endpoint, now)
        elif endpoint.dialing < MAX_DIALS:
            self._lease = app.entry.acquire(now)
            self._dial(endpoint, now)
        else:
            self._enter_room(now)

    def on_body(self, data: bytes | memoryview, *, complete: bool) -> None:
        """More of the request's body, as it goes on."""
        if complete:
            self._body_done = True
        connection = self._connection
        if connection is None:
            self._keep_body(data)
            if self._body_bytes > MAX_HELD_BODY_BYTES and not complete:
                self._client.pause_reading()
                self.on_paused()
            return
        connection.write_through(data)
        if self._phase == _SENT:
            self._keep_for_replay(data)
            self._limit(monotonic(), self.app.limits.response_header if complete else self.app.limits.idle)

    def on_bulk(self, data: bytes | memoryview, source: ClientConnection, left: int) -> int:
        """More of a body too large to be kept."""
        connection = self._connection
        if connection is None or (self._replayable and self._head.idempotent and self._phase == _SENT):
            self.on_body(data, complete=False)
            return 0
        self._replayable = False
        if self._phase == _SENT:
            self._limit(monotonic(), self.app.limits.idle)
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

    def _enter_room(self, now: float) -> None:
        """Wait for a backend, counted as held."""
        app = self.app
        if self._phase == _NEW:
            self._lease = app.entry.hold(now)
        else:
            self._lease.hold(now)
        if not self._wait_until:
            self._wait_until = now + app.limits.readiness
        self._phase = _HELD
        if app.removed:
            self._fail(app.removal())
            return
        if not app.room.enter(self):
            self._fail(Unavailable(f"too many requests wait for application {app.name}", reason="overflow", retry_after=1))
            return
        self._watch_wait(now)

    def on_paused(self) -> None:
        """From now on only a look at its socket tells whether a held client is still there."""
        if self._phase == _HELD:
            self._watch_wait(monotonic())

    def _watch_wait(self, now: float) -> None:
        until = min(self._wait_until, self._started + self.app.limits.request)
        if self._client.paused:
            until = min(until, now + LEFT_CHECK_SECONDS)
        self._client.deadline = until
        self._host.watch(self._client)

    def admit(self, endpoint: Endpoint, now: float) -> None:
        """The waiting is over."""
        self._lease.admit(now)
        if endpoint.idle:
            self._use(endpoint, now)
        else:
            self._dial(endpoint, now)

    def turn_away(self, error: Unavailable) -> None:
        """The waiting was in vain."""
        self._fail(error)

    def _use(self, endpoint: Endpoint, now: float) -> None:
        """Take a connection that rests. One that may only be used once is looked at first: it may have ended unheard."""
        connection = endpoint.idle.pop()
        if not self._head.idempotent:
            while connection.has_news():
                connection.close()
                if not endpoint.idle:
                    self._dial(endpoint, now)
                    return
                connection = endpoint.idle.pop()
        endpoint.load += 1
        self._endpoint = endpoint
        self._send(connection, now)

    def _dial(self, endpoint: Endpoint, now: float) -> None:
        if not self._wait_until:
            self._wait_until = now + self.app.limits.readiness
        endpoint.load += 1
        self._endpoint = endpoint
        self._phase = _DIALING
        self._client.deadline = math.inf  # the dial has its own limit
        self.app.endpoints.dial(endpoint, self, timeout=self.app.limits.connect)

    def connected(self, endpoint: Endpoint, connection: BackendConnection) -> bool:
        """A dial succeeded. False when the exchange ended meanwhile."""
        if self._phase != _DIALING:
            return False
        now = monotonic()
        self.app.stats.held.observe(now - self._started)
        self._send(connection, now)
        return True

    def dial_failed(self, endpoint: Endpoint, error: Exception) -> None:
        """Nothing was sent: another backend, or back to waiting."""
        if self._phase == _DIALING:
            endpoint.load -= 1
            self._find_again(monotonic())

    def _find_again(self, now: float) -> None:
        endpoint = None if self.app.room else self.app.endpoints.choose()
        if endpoint is None or not (endpoint.idle or endpoint.dialing < MAX_DIALS):
            self._enter_room(now)
        elif endpoint.idle:
            self._use(endpoint, now)
        else:
            self._dial(endpoint, now)

    def _send(self, connection: BackendConnection, now: float) -> None:
        """The request goes out, with what is here of its body."""
        self._connection = connection
        self._phase = _SENT
        wire = self._head.encode(self._client.peer, b"http")
        body = self._body
        if body is not None:
            wire += b"".join(body)
            if not self._head.idempotent:
                self._body, self._replayable = None, False
        connection.begin(self, wire)
        limits = self.app.limits
        client = self._client
        if limits.late and self._body_done and client.bucket:
            client.deadline = now + limits.response_header
        else:
            self._limit(now, limits.response_header if self._body_done else limits.idle)
        if client.paused and not self._body_done:
            client.resume_reading()

    # -- the answer -----------------------------------------------------------------------------------------------

    def on_interim(self, head: ResponseHead) -> None:
        """100 Continue and its kin go on to clients that know them."""
        if not self.plain:
            self._client.write(head.encode(chunked=False, connection=None))

    def on_answer(self, head: ResponseHead, body: bytes | memoryview, *, complete: bool, reusable: bool) -> None:
        request, client, length = self._head, self._client, head.length
        self._phase = _ANSWERING
        self._body = None
        self._status = head.status
        keep = self._keep = (
            request.keep_alive
            and self._body_done
            and length != UNTIL_CLOSE
            and not (self.plain and length == CHUNKED)
            and not self._host.draining
        )
        field = (b"keep-alive" if self.plain else None) if keep else b"close"
        wire = head.encode(chunked=length == CHUNKED and not self.plain, connection=field)
        if isinstance(body, bytes):
            client.write(wire + body)
        else:
            client.write_both(wire, body)
        if complete:
            self._answered(reusable=reusable)
        else:
            self._limit(monotonic(), self.app.limits.idle)
            if client.choked:  # by an answer before this one
                self.pause_answer()

    def on_answer_data(self, data: bytes | memoryview) -> None:
        self._client.write_through(data)
        limits = self.app.limits
        if limits.request == math.inf:
            self._client.deadline = monotonic() + limits.idle
        else:
            self._limit(monotonic(), limits.idle)

    def on_answer_bulk(self, data: memoryview, source: BackendConnection, left: int) -> int:
        self._limit(monotonic(), self.app.limits.idle)
        return self._client.splice(data, source, left)

    def on_answer_end(self, *, reusable: bool) -> None:
        self._answered(reusable=reusable)

    def _answered(self, *, reusable: bool) -> None:
        now = monotonic()
        self._phase = _DONE
        app, endpoint, connection = self.app, self._endpoint, self._connection
        assert connection is not None  # noqa: S101
        self._connection = None
        self._lease.release(now)
        endpoint.load -= 1
        app.stats.answered(self.method, self._status, now - self._started)
        if reusable and self._body_done and not connection.choked:
            connection.rest()
            endpoint.give_back(connection, now)
        else:
            connection.abort()  # all that matters was answered: to close politely could take for ever
        self._client.exchange_done(now, keep=self._keep)
        if app.room:
            app.pump(now)

    def on_lost(self, error: Exception) -> None:
        """The backend's connection is gone, and its answer not complete."""
        now = monotonic()
        endpoint, connection = self._endpoint, self._connection
        assert connection is not None  # noqa: S101
        endpoint.load -= 1
        self._connection = None
        self._attempts += 1
        if self._phase >= _ANSWERING:
            self._end(now, self._status)
            self._client.abort()
        elif self._may_send_again(error):
            self._find_again(now)
        else:
            name = type(error).__name__ if not str(error) else str(error)
            failure = (
                error if isinstance(error, ExchangeError) else BackendError(f"the backend of {self.app.name} failed: {name}")
            )
            self._fail(failure)

    def _may_send_again(self, error: Exception) -> bool:
        """Sent, unanswered: only what may be done twice is sent twice. A malformed answer is an answer."""
        unanswered = not isinstance(error, BadResponse)
        return unanswered and self._head.idempotent and self._replayable and self._attempts < MAX_ATTEMPTS

    def on_switched(self, head: ResponseHead, data: bytes) -> None:
        """The backend speaks another protocol from here on: the rest is a tunnel's business."""
        connection = self._connection
        assert connection is not None  # noqa: S101
        if self._head.upgrade is None or head.upgrade is None:
            connection.abort()
            self.on_lost(BadResponse("the backend switched protocols unasked"))
            return
        self._phase = _DONE
        self._connection = None
        tunnel = Tunnel(self._host, self._client, self.app, self._lease, self.method)
        tunnel.open(self._endpoint, connection, head.encode(chunked=False, connection=b"upgrade") + data)

    # -- limits and back-pressure ---------------------------------------------------------------------------------

    def _limit(self, now: float, seconds: float) -> None:
        """The next thing has to happen within so many seconds, and all of it within the limit of the whole request."""
        until = now + seconds
        if self.app.limits.request != math.inf:
            until = min(until, self._started + self.app.limits.request)
        self._client.deadline = until
        self._host.watch(self._client)

    def on_deadline(self, now: float) -> None:
        """The client's deadline has passed."""
        if self._phase == _HELD:
            self._on_wait_deadline(now)
        elif self._phase == _DIALING:
            self._client.deadline = math.inf
        elif self._phase == _SENT:
            self._on_answer_deadline(now)
        elif self._phase != _DONE:
            self._end(now, self._status)
            self._client.abort()

    def _on_wait_deadline(self, now: float) -> None:
        if now >= self._wait_until:
            why = self.app.endpoints.last_error
            detail = f" (last: {why})" if why else ""
            seconds = self.app.limits.readiness
            message = f"no backend of application {self.app.name} was ready within {seconds:g} s{detail}"
            self._fail(ExchangeError(message, status=504, reason="readiness_timeout"))
        elif now >= self._started + self.app.limits.request:
            self._on_answer_deadline(now)
        elif self._client.paused and self._client.peer_closed():
            self._client.abort()
            self.on_client_lost()
        else:
            self._watch_wait(now)

    def _on_answer_deadline(self, now: float) -> None:
        limits = self.app.limits
        whole = now >= self._started + limits.request
        what = "the whole request" if whole else "the response's head" if self._body_done else "the request's body"
        seconds = limits.request if whole else limits.response_header if self._body_done else limits.idle
        message = f"application {self.app.name}: {what} took longer than {seconds:g} s"
        self._fail(ExchangeError(message, status=504, reason="timeout"))

    def pause_body(self) -> None:
        """The backend takes no more of the request for now."""
        self._client.pause_reading()

    def resume_body(self) -> None:
        self._client.resume_reading()

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
            self._end(monotonic(), CLIENT_LEFT if self._phase < _ANSWERING else self._status)

    def on_broken_body(self, error: ExchangeError) -> bool:
        """What came of the body is not to be answered by a backend; an answer that has begun is cut."""
        begun = self._phase == _ANSWERING
        if self._phase not in (_NEW, _DONE):
            self._end(monotonic(), self._status if begun else error.status)
        return not begun

    def _refuse_unrouted(self, error: ExchangeError) -> None:
        self._phase = _DONE
        self._host.refused(error)
        self._reply(text_reply(error), self._started)

    def _fail(self, error: ExchangeError) -> None:
        """Answer in the backend's place. Only before an answer has begun."""
        now = monotonic()
        self._end(now, error.status)
        self._reply(text_reply(error), now)

    def _reply(self, reply: Reply, now: float) -> None:
        self._client.reply(reply, method=self.method, keep=self._head.keep_alive and not self.plain, now=now)

    def _end(self, now: float, status: int) -> None:
        """Give back all that the exchange holds."""
        phase, self._phase = self._phase, _DONE
        app = self.app
        app.room.leave(self)
        self._lease.release(now)
        if phase == _DIALING or self._connection is not None:
            self._endpoint.load -= 1
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._body = None
        app.stats.answered(self.method, status, now - self._started)
        if app.room:
            app.pump(now)
