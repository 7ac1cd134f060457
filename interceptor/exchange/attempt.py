"""One attempt to have a backend answer a request: a slot, a connection, what was sent, and the response on its way to the client.

An exchange makes another when a backend loses the request unanswered. Knows no wire format.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from interceptor.app.flags import COLD
from interceptor.core.errors import BackendError, BadResponse, ExchangeError, Unavailable
from interceptor.core.messages import CONTINUE, IDEMPOTENT, REQUEST_TIMEOUT, Fields, Response
from interceptor.exchange.phases import ANSWERING, DIALING, DONE, SENT, WAITING
from interceptor.exchange.tunnel import Tunnel

if TYPE_CHECKING:
    from interceptor.backends.endpoint import Endpoint
    from interceptor.core.sides import Upstream
    from interceptor.exchange.life import Life

__all__ = ["MAX_ATTEMPTS", "Attempt"]

MAX_ATTEMPTS: Final = 4
"""Backends that a request is sent to, when one after the other loses it unanswered."""


class Attempt:
    """Holds a place at its backend from the first moment, until it is over or given up."""

    __slots__ = ("client", "connection", "exchange", "method", "slot", "unframed")

    def __init__(self, exchange: Life, endpoint: Endpoint) -> None:
        self.exchange = exchange
        client = self.client = exchange.client
        self.method = exchange.method
        self.unframed = client.unframed
        self.connection: Upstream | None = None
        self.slot = endpoint.take()
        exchange.attempt = self

    def give_up(self, now: float) -> None:
        """The exchange is over before its response is."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        self.slot.leave(now)

    # -- out ------------------------------------------------------------------------------------------------------

    def dial(self, now: float) -> None:
        """Have a connection opened."""
        exchange, client = self.exchange, self.client
        if not exchange.waits_since:
            exchange.waits_since = now
        exchange.phase = DIALING
        if exchange.record is not None:
            exchange.record.dialed = now
        client.deadline = exchange.started + exchange.limits.request  # the dial has its own limit
        if client.deadline != math.inf:
            exchange.host.watch(client)
        endpoint = self.slot.endpoint
        endpoint.owner.dial(endpoint, self, timeout=exchange.limits.connect)

    def connected(self, endpoint: Endpoint, connection: Upstream) -> bool:
        """A dial succeeded. False when the exchange ended meanwhile."""
        exchange = self.exchange
        if exchange.attempt is not self:
            return False
        self.send(connection, exchange.host.clock())
        return True

    def dial_failed(self, endpoint: Endpoint, error: Exception) -> None:
        """Nothing was sent: another backend, or back to waiting."""
        exchange = self.exchange
        if exchange.attempt is not self:
            return
        exchange.attempt = None
        exchange.phase = WAITING
        self.slot.vacate()
        if isinstance(error, Unavailable):
            why = f"{error}: application {exchange.app.name}"
            exchange.fail(Unavailable(why, reason=error.reason, retry_after=error.retry_after))
        else:
            exchange.find_again(endpoint, exchange.host.clock())

    def send(self, connection: Upstream, now: float) -> None:
        """The request goes out, with what is here of its body."""
        exchange, client = self.exchange, self.client
        if exchange.record is not None:
            exchange.record.note_sent(
                exchange.app, now, started=exchange.started, dialed=exchange.phase == DIALING, again=exchange.attempts > 0
            )
        self.connection = connection
        exchange.phase = SENT
        head, body = exchange.head, exchange.body
        parts = None if body is None else body.parts or None
        connection.send_request(self, head, parts, peer=client.peer, trusted=client.trusted)
        if body is not None and parts is not None and self.method not in IDEMPOTENT:
            body.parts = None
        limits = exchange.limits
        if limits.late and exchange.body_done and client.bucket:
            client.deadline = now + limits.response_header
        else:
            exchange.limit(now, limits.response_header if exchange.body_done or exchange.waits_to_go_on else limits.idle)
        if not exchange.body_done and client.paused:
            client.resume_reading()

    # -- the response ---------------------------------------------------------------------------------------------

    def on_interim(self, head: Response) -> None:
        """100 Continue or its kin."""
        exchange = self.exchange
        self.client.send_interim(head)
        if head.status == CONTINUE:
            exchange.head.expects_continue = False  # it was told; should the request be sent again, nobody asks twice
            if not exchange.body_done:
                exchange.limit(exchange.host.clock(), exchange.limits.idle)

    def on_answer(self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool) -> None:
        if head.status == REQUEST_TIMEOUT and self._is_told_late(head):
            return
        exchange, client = self.exchange, self.client
        exchange.phase = ANSWERING
        exchange.body = None
        exchange.status = head.status
        client.send_head(head, exchange.app.fields if exchange.record is None else self._fields(), body, end=complete)
        if complete:
            self._answered(reusable=reusable)
        else:
            exchange.limit(exchange.host.clock(), exchange.limits.idle)
            if client.congested and self.connection is not None:  # by an answer before this one
                self.connection.pause_reading()

    def _fields(self) -> Fields:
        """What is added to the response."""
        exchange = self.exchange
        record, endpoint = exchange.record, self.slot.endpoint
        if record is None:
            return exchange.app.fields
        return record.fields(exchange.app, exchange.head, endpoint, now=exchange.host.clock(), started=exchange.started)

    def on_answer_data(self, data: bytes | memoryview) -> None:
        exchange, client = self.exchange, self.client
        client.write_through(data)
        limits = exchange.limits
        if limits.request == math.inf:
            client.deadline = exchange.host.clock() + limits.idle
        else:
            exchange.limit(exchange.host.clock(), limits.idle)

    def on_answer_bulk(self, data: memoryview, source: object, left: int) -> int:
        exchange = self.exchange
        exchange.limit(exchange.host.clock(), exchange.limits.idle)
        return self.client.splice(data, source, left)

    def on_answer_end(self, *, reusable: bool) -> None:
        self._answered(reusable=reusable)

    def _answered(self, *, reusable: bool) -> None:
        exchange, slot, connection = self.exchange, self.slot, self.connection
        assert connection is not None  # noqa: S101
        now = exchange.host.clock()
        exchange.phase = DONE
        exchange.attempt = self.connection = None
        exchange.lease.release(now)
        record = exchange.record
        cold = 0 if record is None else record.flags & COLD
        exchange.app.stats.answered(self.method, exchange.status, now - exchange.started, cold)
        if reusable and exchange.body_done and not connection.congested:
            connection.rest()
            if connection.personal:
                self._keep_own(connection, now)
            else:
                slot.endpoint.offer(connection, now)
        else:
            connection.abort()  # all that matters was answered: to close politely could take for ever
        slot.leave(now)
        self.client.exchange_done(now)

    def _keep_own(self, connection: Upstream, now: float) -> None:
        """A connection that the client may have authenticated is for its next request, and for no other client's. A proxy in
        front sends everybody's requests by one connection, so that there is none of one client's own."""
        client, endpoint = self.client, self.slot.endpoint
        if client.persists and not endpoint.gone and not (client.trusted and self.exchange.head.is_for_another):
            endpoint.keep_own(connection, now)
            client.own_backend = connection
        else:
            connection.close()

    def on_switched(self, head: Response, data: bytes) -> None:
        """The backend speaks another protocol from here on: the rest is a tunnel's business."""
        exchange, connection = self.exchange, self.connection
        assert connection is not None  # noqa: S101
        if not exchange.body_done:  # what is left of the request would be taken for the other protocol
            connection.abort()
            self.on_lost(BadResponse("the backend switched protocols before the end of the request"))
            return
        exchange.phase = DONE
        exchange.attempt = self.connection = None
        tunnel = Tunnel(exchange.host, self.client, exchange.app, exchange.lease, self.method)
        tunnel.open(self.slot, connection, head, self._fields(), data)

    def pause_body(self) -> None:
        """The backend takes no more of the request for now."""
        self.client.pause_reading()

    def resume_body(self) -> None:
        exchange = self.exchange
        self.client.resume_reading()
        if exchange.phase == SENT and exchange.body_done:  # only now the request is sent
            exchange.limit(exchange.host.clock(), exchange.limits.response_header)

    # -- losses ---------------------------------------------------------------------------------------------------

    def on_lost(self, error: Exception) -> None:
        """The backend's connection is gone, and its answer not complete."""
        exchange, slot = self.exchange, self.slot
        now = exchange.host.clock()
        exchange.attempt = self.connection = None
        slot.vacate()
        exchange.attempts += 1
        if exchange.phase >= ANSWERING:
            exchange.cut(now, "backend")
        elif self._may_send_again(error):
            exchange.waits_since = 0.0
            exchange.find_again(slot.endpoint, now)
        elif isinstance(error, ExchangeError):
            exchange.fail(error)
        else:
            exchange.fail(BackendError(f"the backend of {exchange.app.name} failed: {str(error) or type(error).__name__}"))
        slot.leave(now)

    def _is_told_late(self, head: Response) -> bool:
        """Some servers say 408 when they close a connection that rests. It may have crossed with this request, and then it is no
        answer to it (RFC 9110 15.5.9): it is sent again, as if the connection had ended without a word."""
        connection = self.connection
        last = self.exchange.attempts == MAX_ATTEMPTS - 1
        error = BackendError("the backend closed the connection while it rested")
        if connection is None or head.keep_alive or not self.exchange.body_done or last or not self._may_send_again(error):
            return False
        connection.abort()
        self.on_lost(error)
        return True

    def _may_send_again(self, error: Exception) -> bool:
        """Sent, unanswered: only what may be done twice is sent twice. A malformed answer is an answer."""
        exchange = self.exchange
        kept = exchange.body is None or exchange.body.parts is not None
        unanswered = not isinstance(error, BadResponse)
        return unanswered and self.method in IDEMPOTENT and kept and exchange.attempts < MAX_ATTEMPTS
