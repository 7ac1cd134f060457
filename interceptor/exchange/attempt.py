"""One attempt to send a request to a backend and to relay its response: a slot at the backend, a connection, and the response.

The exchange makes another attempt if the connection fails before the response begins. Knows no wire format.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from interceptor.app.flags import COLD
from interceptor.app.outward import marked
from interceptor.backends.endpoint import Slot
from interceptor.core.errors import BackendError, BadResponse, ExchangeError, SpeaksAnother, Unavailable
from interceptor.core.messages import CONTINUE, IDEMPOTENT, Fields, Response
from interceptor.exchange.failures import CLIENT_DEADLINE, request_took_too_long
from interceptor.exchange.keep_awake import keep_awake
from interceptor.exchange.phases import ANSWERING, DIALING, DONE, SENT, WAITING
from interceptor.exchange.tunnel import Tunnel

if TYPE_CHECKING:
    from interceptor.backends.endpoint import Endpoint
    from interceptor.core.sides import Upstream
    from interceptor.exchange.life import Life

__all__ = ["MAX_ATTEMPTS", "Attempt"]

EARLY_SECONDS: Final = 0.01
"""A backend knows a deadline in whole milliseconds, and may give up so much before it."""
MAX_ATTEMPTS: Final = 4
"""How often a request is sent, at most, if each connection fails before a response."""


class Attempt:
    """Holds a slot at its backend from its creation until it ends or is given up."""

    __slots__ = ("client", "connection", "exchange", "method", "slot", "unframed")

    def __init__(self, exchange: Life, endpoint: Endpoint) -> None:
        self.exchange = exchange
        client = self.client = exchange.client
        self.method = exchange.method
        self.unframed = client.unframed
        self.connection: Upstream | None = None
        self.slot = Slot(endpoint)
        exchange.attempt = self

    def give_up(self, now: float) -> None:
        """The exchange has ended before the response was complete: reset the connection and release the slot."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        self.slot.leave(now)

    # -- the request ----------------------------------------------------------------------------------------------

    def dial(self, now: float) -> None:
        """Open a connection to the backend."""
        exchange, client = self.exchange, self.client
        if not exchange.waits_since:
            exchange.waits_since = now
        exchange.phase = DIALING
        if exchange.record is not None:
            exchange.record.dialed = now
        client.deadline = exchange.started + exchange.limits.request  # the dial applies the connect timeout itself
        if client.deadline != math.inf:
            client.keep_deadline()
        endpoint = self.slot.endpoint
        endpoint.owner.dial(endpoint, self, timeout=exchange.limits.connect)

    def connected(self, endpoint: Endpoint, connection: Upstream) -> bool:
        """The connection is open. Returns False if the exchange has ended meanwhile, so that the connection is not used."""
        exchange = self.exchange
        if exchange.attempt is not self:
            return False
        self.send(connection, exchange.host.clock())
        return True

    def dial_failed(self, endpoint: Endpoint, error: Exception) -> None:
        """No connection could be opened, so nothing was sent: try another backend, or wait again."""
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
        """Send the request, with the part of its body received so far."""
        exchange, client = self.exchange, self.client
        head, body, record = exchange.head, exchange.body, exchange.record
        if record is not None:
            again = exchange.attempts > 0
            record.note_sent(exchange.app, now, started=exchange.started, dialed=exchange.phase == DIALING, again=again)
            edit = record.request
            if self.slot.endpoint.owner.outside:
                edit = marked(edit, head, exchange.app.mark)
            if edit is not None:
                head = head.edited(edit)
        self.connection = connection
        exchange.phase = SENT
        if head.timeout is not None:
            head.elapsed = now - exchange.started
        parts = None if body is None else body.parts or None
        end = exchange.body_done and (body is None or not body.trailers)
        connection.send_request(self, head, parts, end=end, peer=client.peer, trusted=client.trusted)
        if body is not None and body.trailers:
            connection.send_end(body.trailers)
        if body is not None and parts is not None and self.method not in IDEMPOTENT and not connection.reports_unprocessed:
            body.parts = None
        limits = exchange.limits
        if limits.late and exchange.body_done and client.bucket:
            client.deadline = now + limits.response_header
        else:
            seconds = limits.response_header if exchange.body_done or exchange.waits_to_go_on else limits.idle
            if limits.request == math.inf:  # as `limit` does, without its call
                client.deadline = now + seconds
                client.keep_deadline()
            else:
                exchange.limit(now, seconds)
        if not exchange.body_done and client.paused:
            client.resume_reading()

    # -- the response ---------------------------------------------------------------------------------------------

    def on_interim(self, head: Response) -> None:
        """Pass on an interim response (1xx)."""
        exchange = self.exchange
        self.client.send_interim(head)
        if head.status == CONTINUE:
            exchange.head.expects_continue = False  # the client has its 100: do not ask again on a retry
            if not exchange.body_done:
                exchange.limit(exchange.host.clock(), exchange.limits.idle)

    def on_answer(
        self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool, trailers: Fields = ()
    ) -> None:
        exchange, client = self.exchange, self.client
        exchange.phase = ANSWERING
        exchange.body = None
        exchange.status = head.status
        fields = exchange.app.fields
        if head.keep_awake is not None:  # before the lease of the request ends
            keep_awake(exchange.app, exchange.lease, self.slot.endpoint, head.keep_awake, exchange.host.clock())
        if exchange.record is not None:
            head, fields = self._treated(head)
        client.send_head(head, fields, body, end=complete, trailers=trailers)
        if complete:
            self._answered(reusable=reusable)
        else:
            exchange.limit(exchange.host.clock(), exchange.limits.idle)
            if client.congested and self.connection is not None:  # by an earlier response on this connection
                self.connection.pause_reading()

    def _treated(self, head: Response) -> tuple[Response, Fields]:
        """The head as its route changes it, and the fields that are added to it."""
        exchange = self.exchange
        record, endpoint = exchange.record, self.slot.endpoint
        if record is None:
            return head, exchange.app.fields
        if record.response is not None:
            head = head.edited(record.response)
        fields = record.fields(exchange.app, exchange.head, endpoint, now=exchange.host.clock(), started=exchange.started)
        cors = exchange.app.cors
        return head, fields if cors is None else fields + cors.of_response(exchange.head, head)

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

    def on_answer_end(self, *, reusable: bool, trailers: Fields = ()) -> None:
        if trailers:
            self.client.send_trailers(trailers)
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
            connection.release()
            if connection.personal:
                self._keep_own(connection, now)
            else:
                slot.endpoint.offer(connection, now)
        else:
            connection.abort()  # the response is complete, and a graceful close could take for ever
        slot.leave(now)
        self.client.exchange_done(now)

    def _keep_own(self, connection: Upstream, now: float) -> None:
        """Keep a connection that the client may have authenticated as a whole (NTLM, Negotiate) for this client's next request
        only. Not if a proxy in front may send several users' requests on one client connection."""
        client, endpoint = self.client, self.slot.endpoint
        if client.persists and not endpoint.gone and not (client.trusted and self.exchange.head.is_for_another):
            endpoint.keep_own(connection, now)
            client.own_backend = connection
        else:
            connection.close()

    def on_switched(self, head: Response, data: bytes) -> None:
        """The backend has switched protocols: hand over to a tunnel."""
        exchange, connection = self.exchange, self.connection
        assert connection is not None  # noqa: S101
        if not exchange.body_done:  # the rest of the body would be read as data of the new protocol
            connection.abort()
            self.on_lost(BadResponse("the backend switched protocols before the end of the request"))
            return
        exchange.phase = DONE
        exchange.attempt = self.connection = None
        tunnel = Tunnel(exchange.host, self.client, exchange.app, exchange.lease, self.method)
        tunnel.open(self.slot, connection, *self._treated(head), data)

    def pause_body(self) -> None:
        """The backend accepts no more of the request for now."""
        self.client.pause_reading()

    def resume_body(self) -> None:
        exchange = self.exchange
        self.client.resume_reading()
        if exchange.phase == SENT and exchange.body_done:  # only now all of the request is sent
            exchange.limit(exchange.host.clock(), exchange.limits.response_header)

    # -- failures -------------------------------------------------------------------------------------------------

    def on_lost(self, error: Exception) -> None:
        """The connection failed before the response was complete: cut the response, send the request again, or answer an
        error."""
        exchange, slot = self.exchange, self.slot
        now, connection = exchange.host.clock(), self.connection
        exchange.attempt = self.connection = None
        slot.vacate()
        exchange.attempts += 1
        limits = exchange.limits
        if isinstance(error, SpeaksAnother):
            slot.endpoint.owner.note_protocol(slot.endpoint, error)
        if limits.of_client and now >= exchange.started + limits.request - EARLY_SECONDS:  # so the backend has given up
            error = request_took_too_long(exchange.app.name, limits)
        known = error if isinstance(error, ExchangeError) else None
        if exchange.phase >= ANSWERING:
            reason = known.reason if known is not None and known.reason == CLIENT_DEADLINE else "backend"
            exchange.cut(now, reason, None if known is None else known.rpc_status, connection=connection)
        elif self._may_send_again(error):
            exchange.waits_since = 0.0
            exchange.find_again(slot.endpoint, now)
        elif known is not None:
            exchange.fail(known)
        else:
            exchange.fail(BackendError(f"the backend of {exchange.app.name} failed: {str(error) or type(error).__name__}"))
        slot.leave(now)

    def may_retry(self) -> bool:
        """Whether the whole request was sent, and would be sent again if the connection failed now."""
        exchange = self.exchange
        return exchange.body_done and exchange.attempts + 1 < MAX_ATTEMPTS and self._may_be_sent_twice

    def _may_send_again(self, error: Exception) -> bool:
        """Idempotent requests without a response are sent again, and others if the backend has not processed them. A malformed
        response counts as a response, and so does a reset of the request alone: it would only be repeated."""
        if isinstance(error, BadResponse) or self.exchange.attempts >= MAX_ATTEMPTS:
            return False
        if isinstance(error, BackendError) and error.declined:
            return False
        unprocessed = isinstance(error, BackendError) and error.unprocessed
        return self._may_be_sent_twice or (unprocessed and self._body_is_kept)

    @property
    def _may_be_sent_twice(self) -> bool:
        """Whether the method is idempotent and all that was sent of the body is still kept."""
        return self.method in IDEMPOTENT and self._body_is_kept

    @property
    def _body_is_kept(self) -> bool:
        body = self.exchange.body
        return body is None or body.parts is not None
