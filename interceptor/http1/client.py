"""A client connection: parses the heads of requests, opens an exchange for each, one at a time, and reports events to it.

Knows framing and time limits; the exchange decides what happens to a request. Bodies and early bytes are read in
`interceptor.http1.intake`, responses are sent in `interceptor.http1.answering`, and connections are closed in
`interceptor.http1.closing`. These are base classes of each other, so that a request costs no more calls than in one class.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from interceptor.core.errors import BadRequest, ExchangeError
from interceptor.core.messages import HTTP
from interceptor.core.sides import ClientTunnelEvents, RequestEvents
from interceptor.core.sizes import MAX_REQUEST_FIELDS, MAX_REQUEST_HEAD
from interceptor.http1.answering import AnsweringClient
from interceptor.http1.fields import CRLF, HEAD_END
from interceptor.http1.grammar import GrammarError, check_request_line
from interceptor.http1.host import ClientHost
from interceptor.http1.partial import MAX_EMPTY_LINES, PartialHead, TooManyFields
from interceptor.http1.reply import final_reply
from interceptor.http1.request import parse_request
from interceptor.http1.states import ACTIVITIES, BODY, CLOSED, COMPLETE, CUT, DISCARD, HEAD
from interceptor.http1.validator import malformed
from interceptor.transport.peers import client_address
from interceptor.transport.tcp import BODY_VIEW, CHUNKS_VIEW, FULL_READ, HEAD_VIEW

__all__ = ["ClientConnection"]

CARRIAGE_RETURN: Final = 13
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"
"""The first bytes of a client with prior knowledge of HTTP/2 (RFC 9113 3.4). To HTTP/1 it is a head."""


class ClientConnection(AnsweringClient):
    """Speaks HTTP/1.0 and HTTP/1.1 with one client."""

    __slots__ = ("_source", "peer", "requests", "since", "trusted")

    protocol = "HTTP/1.1"

    def __init__(self, host: ClientHost, source: str = "") -> None:
        """`source` is the client's address, if a load balancer has sent it; the connection's own peer is then the balancer."""
        super().__init__(host)
        self._source = source
        self.requests = 0

    scheme: ClassVar[bytes] = HTTP
    """Of its requests."""
    peer: bytes
    """The client's address."""
    since: float
    """When it was opened, in the clock's seconds."""
    trusted: bool
    """Whether the peer is a trusted proxy, whose forwarding fields are kept."""

    @property
    def idle(self) -> bool:
        """Whether it is between requests, with nothing of the next request and nothing left to send."""
        return self._state == HEAD and not self._stash and self._partial is None and not self.congested

    @property
    def activity(self) -> str:
        """What it is doing, for people."""
        return "idle" if self.idle else ACTIVITIES[self._state]

    @property
    def begun(self) -> bool:
        """Whether only a part of a head has been received."""
        return self._state == HEAD and self._partial is not None

    # -- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = client_address(transport, self._source)
        self.peer = address.encode()
        self.trusted = self._host.proxies.trusts(address)
        self.since = self._host.clock()
        self.deadline = self.since + self._host.head_timeout
        self._host.deadlines.watch(self)
        self._host.client_opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        # Bytes of later requests are buffered, so they are read in small pieces too.
        return HEAD_VIEW if self._state == HEAD or self._state == COMPLETE else self._view  # noqa: PLR1714 -- quicker

    def buffer_updated(self, nbytes: int) -> None:
        state = self._state
        if state == HEAD:
            self._on_head(bytes(HEAD_VIEW[:nbytes]))
        elif state == COMPLETE:
            self._on_early(bytes(BODY_VIEW[:nbytes]))
        else:
            if state == BODY:
                self._on_body(BODY_VIEW[:nbytes])
            elif self._tunnel is not None:
                self._tunnel.on_client_data(BODY_VIEW[:nbytes])
            if nbytes >= FULL_READ or nbytes == len(self._view) == len(CHUNKS_VIEW):  # full: others first
                self.fall_behind()

    def eof_received(self) -> bool:
        """The client has closed its sending side. Unless it is inside a tunnel, or its route answers half-closed clients, it is
        treated as disconnected: a client that has given up looks the same."""
        if self._tunnel is not None:
            self._tunnel.on_client_end()
            return True
        if self._state == CUT:  # it is still to be reset
            return True
        exchange = self._exchange
        if exchange is not None and self._state in (COMPLETE, DISCARD) and exchange.answers_half_closed:
            self.half_closed = True
            self._host.hangups.watch(self, half_closed=True)
            return True
        self.flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        self._take_stash()
        self._host.deadlines.forget(self)
        self._host.hangups.forget(self)
        self._host.client_closed(self)
        own, self.own_backend = self.own_backend, None
        if own is not None:
            own.close()
        sink, self._exchange, self._tunnel = self._sink, None, None
        if sink is not None:
            sink.on_client_lost()

    def pause_writing(self) -> None:
        self.congested = True
        if (sink := self._sink) is not None:
            sink.pause_answer()
        elif self._state == HEAD:  # the last response is not sent yet
            self.pause_reading()

    def resume_writing(self) -> None:
        self.congested = False
        if (sink := self._sink) is not None:
            sink.resume_answer()
        elif self._state == HEAD:
            self.deadline = self._host.clock() + self._host.keep_alive_timeout  # idle from now on
            self._host.deadlines.watch(self)
            self._next()
        elif self._state == DISCARD:
            self._linger(self._host.clock())
        elif self._state == CUT:
            self._wait_to_reset(self._host.clock())

    # -- time limits, and disconnects while reading is paused -----------------------------------------------------

    def on_deadline(self, now: float) -> None:
        if (sink := self._sink) is not None:
            sink.on_deadline(now)
        elif self._state == CUT:
            self._wait_to_reset(now)
        elif self.congested:
            self._wait_for_reader(now)
        elif self._state == HEAD and self._partial is not None:
            self._refuse(BadRequest("the head of the request did not arrive in time", status=408, reason="slow_head"))
        elif self._state != HEAD:
            self.close()
        elif not self.close_if_idle():
            self.wait_for(now)  # check again at the next tick

    def pause_reading(self) -> None:
        """Stop reading; from now on only a disconnect is detected."""
        if not self._paused:
            super().pause_reading()
            if self._paused:
                self._host.hangups.watch(self, half_closed=self.half_closed)

    def on_hangup(self, *, gone: bool) -> None:
        """The client has closed its sending side while reading is paused. Inside a tunnel and between requests that has no effect
        unless it is `gone`."""
        exchange = self._exchange
        if gone:
            if self._paused or self.half_closed:
                super().abort()
        elif self._paused and exchange is not None:
            if exchange.answers_half_closed:  # the end is read later; watch for a reset
                self._host.hangups.watch(self, half_closed=True)
            else:
                super().abort()

    @property
    def _sink(self) -> RequestEvents | ClientTunnelEvents | None:
        return self._exchange or self._tunnel

    # -- heads ----------------------------------------------------------------------------------------------------

    def _on_head(self, data: bytes) -> None:
        if self._partial is not None:
            self._on_more_of_head(self._partial, data)
            return
        if self._stash or data[0] == CARRIAGE_RETURN:
            data = _skip_empty_lines(self._take_stash() + data)  # after buffered early bytes
        end = data.find(HEAD_END) + 4
        if end < 4 or end > MAX_REQUEST_HEAD:
            if data:
                self._on_part_of_head(data)
            return
        try:
            head = parse_request(data if end == len(data) else data[:end])  # usually the head is all
        except BadRequest as error:
            self._on_bad_head(data, error)
            return
        self.requests += 1
        if head.hops == 0:
            self._refuse(ExchangeError("not to be forwarded any further", status=200, reason="max_forwards"), final_reply(head))
            return
        self.unframed, self.persists = not head.minor, head.keep_alive
        head.scheme = self.scheme
        exchange = self._exchange = self._host.open_exchange(self, head)
        if head.length == 0:
            self._state = COMPLETE
            if end != len(data):
                self._keep(data[end:])
        elif not self._start_body(exchange, head, data[end:]):
            return
        exchange.begin()

    def _on_bad_head(self, data: bytes, error: BadRequest) -> None:
        """Hand a connection that begins with the preface of HTTP/2 over, and answer all others."""
        take = self._host.on_http2
        if take is None or self.requests or not data.startswith(HTTP2_PREFACE):
            self._host.mismatches.note(data, self._transport)
            self._refuse(error)
            return
        self._state = CLOSED
        self._host.deadlines.forget(self)
        self._host.hangups.forget(self)
        self._host.client_closed(self)
        take(self._transport, data, self._source)

    def _on_part_of_head(self, data: bytes) -> None:
        """The first bytes of a head, without its end."""
        if self.deadline > self._host.clock() + self._host.head_timeout:
            self.deadline = self._host.clock() + self._host.head_timeout
            self._host.deadlines.watch(self)
        self._partial = PartialHead(check_request_line, delimiter=b" ", most_fields=MAX_REQUEST_FIELDS)
        self._on_more_of_head(self._partial, data)

    def _on_more_of_head(self, partial: PartialHead, data: bytes) -> None:
        began = len(partial)
        try:
            end = partial.add(data)
        except TooManyFields as error:
            self._refuse(BadRequest(str(error), status=431, reason="too_large"))
            return
        except GrammarError as error:
            if not began:
                self._host.mismatches.note(data, self._transport)
            self._refuse(malformed(error))
            return
        if 0 < end <= MAX_REQUEST_HEAD:
            self._partial = None
            self._host.early.drop(self)
            self._on_head(partial.take())
        elif end or len(partial) > MAX_REQUEST_HEAD:
            status = 431 if partial.has_line else 414
            self._refuse(BadRequest(f"a head of more than {MAX_REQUEST_HEAD} bytes", status=status, reason="too_large"))
        else:
            self._host.early.keep(self, len(partial))

    def go_on(self) -> bool:
        """Parse more of the chunks that were read, or the next pipelined request."""
        chunks, exchange = self._chunks, self._exchange
        if self._state == HEAD and self._stash and not self.congested:
            self._on_head(self._take_stash())
        elif self._state == BODY and chunks is not None and exchange is not None:
            self._on_chunks(exchange, chunks, b"")
        # A request may have been followed by a body, or a body by a request: check both again.
        if self._state == HEAD:
            return bool(self._stash) and not self.congested
        return self._state == BODY and self._chunks is not None and self._chunks.behind


def _skip_empty_lines(data: bytes) -> bytes:
    """Remove a few empty lines before a request line, which are ignored (RFC 9112 2.2)."""
    start = 0
    while start < len(CRLF) * MAX_EMPTY_LINES and data.startswith(CRLF, start):
        start += len(CRLF)
    return data[start:]
