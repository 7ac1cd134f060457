"""A connection from a client: finds requests in its bytes, one exchange at a time, and writes what exchanges answer.

Knows framing and time limits; what becomes of a request is its exchange's business.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from fleet.runtime.strangers import Strangers
from interceptor.core.deadlines import HORIZON, Deadlines
from interceptor.core.errors import BadRequest, ExchangeError
from interceptor.core.messages import Fields, Response
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import ClientTunnelEvents, RequestEvents, Upstream
from interceptor.http1.chunked import ChunkedReader, ChunkError
from interceptor.http1.date import http_date
from interceptor.http1.early import EarlyBytes
from interceptor.http1.fields import CHUNKED, CRLF, HEAD_END, MAX_FIELDS, encode_fields
from interceptor.http1.grammar import GrammarError, check_request_line
from interceptor.http1.large_reply import MAX_PART_BYTES, LargeReply
from interceptor.http1.partial import MAX_EMPTY_LINES, PartialHead, TooManyFields
from interceptor.http1.reply import HEAD, encode_reply, final_reply, has_body
from interceptor.http1.request import MAX_HEAD_BYTES, RequestHead, malformed, parse_request
from interceptor.http1.response import ResponseHead
from interceptor.transport.hangups import HangupWatch
from interceptor.transport.splice import MIN_SPLICED
from interceptor.transport.tcp import BODY_VIEW, BULK_VIEW, CHUNKS_VIEW, FULL_READ, HEAD_VIEW, Connection, Outbox
from interceptor.trust import TrustedProxies, plain_address

__all__ = ["ClientConnection", "ClientHost"]

MAX_PIPELINED_BYTES = 32 * 1024
"""Bytes of later requests kept while one is answered; then the client is not read from."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused request is read and dropped: closing at once could destroy the answer on its way."""

NO_LINGER = struct.pack("ii", 1, 0)
"""Socket option by which closing resets."""
LINGER = struct.pack("ii", 0, 0)
"""The usual way: what is written goes out, and then the end."""

CARRIAGE_RETURN = 13

_HEAD, _BODY, _COMPLETE, _TUNNEL, _DISCARD, _CUT, _CLOSED = range(7)


class ClientHost(Protocol):
    """What a client connection needs of the proxy."""

    clock: Callable[[], float]
    """Seconds; it never goes back."""
    deadlines: Deadlines
    hangups: HangupWatch
    outbox: Outbox
    head_timeout: float
    keep_alive_timeout: float
    sheds: bool
    """Whether connections are closed after their answer: the proxy drains, or has no room for more of them."""
    early: EarlyBytes
    proxies: TrustedProxies
    """Clients whose word about who came to them is taken."""

    @property
    def open_exchange(self) -> Callable[[ClientConnection, RequestHead], RequestEvents]: ...
    def client_opened(self, client: ClientConnection) -> None: ...
    def client_closed(self, client: ClientConnection) -> None: ...

    strangers: Strangers
    """Told how those began whose head was malformed."""

    def refused(self, error: ExchangeError) -> None:
        """A request was refused before it became an exchange."""


class ClientConnection(Connection):
    """Speaks HTTP/1.0 and HTTP/1.1 with one client."""

    __slots__ = (
        "_chunks", "_exchange", "_guarded", "_host", "_left", "_partial", "_stash", "_state", "_tunnel", "_view", "half_closed",
        "own_backend", "peer", "persists", "trusted", "unframed",
    )  # fmt: skip

    def __init__(self, host: ClientHost) -> None:
        super().__init__(host.outbox, deadline=0.0)
        self._host = host
        self._state = _HEAD
        self._exchange: RequestEvents | None = None
        self._tunnel: ClientTunnelEvents | None = None
        self._stash = b""
        """Requests sent ahead of their turn."""
        self._partial: PartialHead | None = None
        """A head of which a part is here."""
        self.unframed = False
        """Whether the request under way is of HTTP/1.0, whose client takes no chunks."""
        self.persists = True
        """Whether the next request may come by this connection, as far as is known."""
        self._left = 0
        self._view = BODY_VIEW
        self._chunks: ChunkedReader | None = None
        self._guarded = False
        self.half_closed = False
        """Whether it will send no more, and gets an answer nevertheless."""
        self.own_backend: Upstream | None = None
        """A connection to a backend that authenticates this client as a whole: it is nobody else's."""

    # -- what an exchange does with it ----------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Between requests, with nothing of the next one, nor of the last answer."""
        return self._state == _HEAD and not self._stash and self._partial is None and not self.congested

    @property
    def begun(self) -> bool:
        """A part of a head is here, and no more."""
        return self._state == _HEAD and self._partial is not None

    def send_interim(self, head: Response) -> None:
        """100 Continue and its kin go on to clients that know them."""
        if not self.unframed:
            assert isinstance(head, ResponseHead)  # noqa: S101 -- as below
            self.write(head.encode(chunked=False, connection=None))

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool) -> None:
        """The head of the answer, with fields that are added to it, and what is here of its body: all of it at the `end`."""
        assert isinstance(head, ResponseHead)  # noqa: S101 -- no other protocol is spoken to backends yet
        length, old = head.length, self.unframed
        chunked = length == CHUNKED and not old
        keep = self.persists = self.persists and self._state == _COMPLETE and (length >= 0 or chunked) and not self._host.sheds
        connection = (b"keep-alive" if old else None) if keep else b"close"
        wire = head.encode(chunked=chunked, connection=connection, lines=encode_fields(fields))
        if length < 0 and not chunked:
            self.guard_end()
        if isinstance(data, bytes):
            self.write(wire + data)
        else:
            self.write_both(wire, data)

    def close_at_rest(self) -> bool:
        """Close between requests. False, and nothing done, where there is something to read: a process that was not given its
        time finds the limit passed before it finds the request that came in time."""
        if self.has_news():
            return False
        self.close()
        return True

    def exchange_done(self, now: float) -> None:
        """The answer is written. The next request, or the end."""
        self._exchange = None
        if not self.persists or self._state != _COMPLETE or (self.half_closed and not self._stash):
            self._end(now)
            return
        self._state = _HEAD
        host = self._host
        self.deadline = now + host.keep_alive_timeout
        if not self.bucket or host.keep_alive_timeout < HORIZON:
            host.deadlines.watch(self)
        if self.congested:  # a client that does not read its answers gets no more of them
            self.pause_reading()
        elif self._stash or self._paused:
            self._next()

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        """Answer in the backend's place."""
        host = self._host
        keep = self.persists = self.persists and not self.unframed and self._state == _COMPLETE and not host.sheds
        large = len(reply.body) > MAX_PART_BYTES and has_body(reply, method)
        self.write(encode_reply(reply, method=HEAD if large else method, close=not keep, date=http_date()))
        if large:
            handout = self._exchange = LargeReply(self, reply.body, patience=host.keep_alive_timeout, clock=host.clock)
            handout.begin()
        else:
            self.exchange_done(now)

    def wait_for(self, deadline: float) -> None:
        """Be asked at this time, if nothing has changed by then."""
        self.deadline = deadline
        self._host.deadlines.watch(self)

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        """Answer 101, with what followed it; from then on bytes pass as they are. Returns those that came early."""
        self.guard_end()
        evicted, self._state = self._state == _DISCARD, _TUNNEL
        self._exchange, self._tunnel = None, tunnel
        early = self._take_stash()
        self.resume_reading()
        if evicted:
            self.abort()  # the tunnel's first bytes may be among those given up
        assert isinstance(head, ResponseHead)  # noqa: S101 -- as above
        self.write(head.encode(chunked=False, connection=b"upgrade", lines=encode_fields(fields)) + data)
        return early

    def guard_end(self) -> None:
        """What follows ends with this connection. Until all of it is written, whatever else ends the connection resets it, the
        end of this process too, at which the kernel closes it: cut short, it must not look complete."""
        self._guard(on=True)

    def _guard(self, *, on: bool) -> None:
        if self._guarded != on and not self._transport.is_closing():
            self._guarded = on
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER if on else LINGER)

    def wind_down(self, now: float, seconds: float) -> None:
        """Have a tunnel end within so many seconds. Anything else ends by itself."""
        if self._tunnel is not None:
            self._tunnel.wind_down(now, seconds)

    def leave_tunnel(self, *, patience: float) -> None:
        """The backend is through: flush and close. What comes of a client that has not ended its side is read and dropped for so
        many seconds, since the kernel would answer it with a reset, and drop what is on its way to the client."""
        self._tunnel = None
        if patience:
            self._state = _DISCARD
            self._linger(self._host.clock(), min(patience, LINGER_SECONDS))
        else:
            self._part(self._host.clock())

    def cut_tunnel(self) -> None:
        """The backend is lost: reset, once the client has taken what came before. A reset drops what is on its way."""
        self._tunnel, self._state, self._view = None, _CUT, CHUNKS_VIEW
        self.flush()
        self.resume_reading()
        self._wait_to_reset(self._host.clock())

    def _wait_to_reset(self, now: float) -> None:
        if self.congested:
            self._wait_for_reader(now)
        elif self.in_flight():
            self.wait_for(now)  # to be asked again in a moment
        else:
            self.abort()

    def pause_reading(self) -> None:
        """From now on nothing is heard of the client but that it leaves."""
        if not self._paused:
            super().pause_reading()
            if self._paused:
                self._host.hangups.watch(self._fd, self, half_closed=self.half_closed)

    def on_hangup(self, *, gone: bool) -> None:
        """A client that is not read from has closed its side; inside a tunnel, and between requests, that alone ends nothing."""
        exchange = self._exchange
        if gone:
            if self._paused or self.half_closed:
                super().abort()
        elif self._paused and exchange is not None:
            if exchange.answers_half_closed:  # its end comes after what there is to read; from here on it may still be gone
                self._host.hangups.watch(self._fd, self, half_closed=True)
            else:
                super().abort()

    def abort(self) -> None:
        """Close at once and with a reset: an answer that was cut short must not look complete, even where its end is its
        connection's. What was under way is told by the connection's loss."""
        if not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        super().abort()

    # -- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        address = plain_address(peer[0]) if peer else "unknown"
        self.peer = address.encode()
        self.trusted = self._host.proxies.trusts(address)
        self.deadline = self._host.clock() + self._host.head_timeout
        self._host.deadlines.watch(self)
        self._host.client_opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        # What comes ahead of its turn is kept, so it is read in small pieces too.
        return HEAD_VIEW if self._state == _HEAD or self._state == _COMPLETE else self._view  # noqa: PLR1714 -- quicker

    def buffer_updated(self, nbytes: int) -> None:
        state = self._state
        if state == _HEAD:
            self._on_head(bytes(HEAD_VIEW[:nbytes]))
        elif state == _COMPLETE:
            self._on_early(bytes(BODY_VIEW[:nbytes]))
        else:
            if state == _BODY:
                self._on_body(BODY_VIEW[:nbytes])
            elif self._tunnel is not None:
                self._tunnel.on_client_data(BODY_VIEW[:nbytes])
            if nbytes >= FULL_READ or nbytes == len(self._view) == len(CHUNKS_VIEW):  # more has come: the others first
                self.fall_behind()

    def eof_received(self) -> bool:
        """A client that closes its side has left, unless it is inside a tunnel, or its route has such clients answered: nothing
        else tells one that gave up."""
        if self._tunnel is not None:
            self._tunnel.on_client_end()
            return True
        exchange = self._exchange
        if exchange is not None and self._state in (_COMPLETE, _DISCARD) and exchange.answers_half_closed:
            self.half_closed = True
            self._host.hangups.watch(self._fd, self, half_closed=True)
            return True
        self.flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _CLOSED
        self._take_stash()
        self._host.deadlines.forget(self)
        self._host.hangups.forget(self._fd)
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
        elif self._state == _HEAD:  # what was answered goes out only now
            self.pause_reading()

    def resume_writing(self) -> None:
        self.congested = False
        if (sink := self._sink) is not None:
            sink.resume_answer()
        elif self._state == _HEAD:
            self.deadline = self._host.clock() + self._host.keep_alive_timeout  # it rests from now on
            self._host.deadlines.watch(self)
            self._next()
        elif self._state == _DISCARD:
            self._linger(self._host.clock())
        elif self._state == _CUT:
            self._wait_to_reset(self._host.clock())

    def on_deadline(self, now: float) -> None:
        if (sink := self._sink) is not None:
            sink.on_deadline(now)
        elif self._state == _CUT:
            self._wait_to_reset(now)
        elif self.congested:
            self._wait_for_reader(now)
        elif self._state == _HEAD and self._partial is not None:
            self._refuse(BadRequest("the head of the request did not arrive in time", status=408, reason="slow_head"))
        elif self._state != _HEAD:
            self.close()
        elif not self.close_at_rest():
            self.wait_for(now)  # to be asked again in a moment

    def _wait_for_reader(self, now: float) -> None:
        """What was answered goes out slowly, or not at all: then it would wait here for as long as the client likes."""
        stuck, limit = self.stuck_for(), self._host.keep_alive_timeout
        if stuck >= limit:
            self.abort()
        else:
            self.deadline = now + limit - stuck
            self._host.deadlines.watch(self)

    @property
    def _sink(self) -> RequestEvents | ClientTunnelEvents | None:
        return self._exchange or self._tunnel

    # -- reading --------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Be open for the next request, which may be here already."""
        if self._stash:
            self.fall_behind()
        self.resume_reading()

    def _on_head(self, data: bytes) -> None:
        if self._partial is not None:
            self._on_more_of_head(self._partial, data)
            return
        if self._stash or data[0] == CARRIAGE_RETURN:
            data = _skip_empty_lines(self._take_stash() + data)  # after what was sent ahead and not taken up yet
        end = data.find(HEAD_END) + 4
        if end < 4 or end > MAX_HEAD_BYTES:
            if data:
                self._on_part_of_head(data)
            return
        try:
            head = parse_request(data if end == len(data) else data[:end])  # the whole of it, most often
        except BadRequest as error:
            self._host.strangers.note(data, self._transport)
            self._refuse(error)
            return
        if head.hops == 0:
            self._refuse(ExchangeError("not to be forwarded any further", status=200, reason="max_forwards"), final_reply(head))
            return
        self.unframed, self.persists = not head.minor, head.keep_alive
        exchange = self._exchange = self._host.open_exchange(self, head)
        if head.length == 0:
            self._state = _COMPLETE
            if end != len(data):
                self._keep(data[end:])
        elif not self._start_body(exchange, head, data[end:]):
            return
        exchange.begin()

    def _on_part_of_head(self, data: bytes) -> None:
        """The first bytes of a head."""
        if self.deadline > self._host.clock() + self._host.head_timeout:
            self.deadline = self._host.clock() + self._host.head_timeout
            self._host.deadlines.watch(self)
        self._partial = PartialHead(check_request_line, delimiter=b" ", most_fields=MAX_FIELDS)
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
                self._host.strangers.note(data, self._transport)
            self._refuse(malformed(error))
            return
        if 0 < end <= MAX_HEAD_BYTES:
            self._partial = None
            self._host.early.drop(self)
            self._on_head(partial.take())
        elif end or len(partial) > MAX_HEAD_BYTES:
            status = 431 if partial.has_line else 414
            self._refuse(BadRequest(f"a head of more than {MAX_HEAD_BYTES} bytes", status=status, reason="too_large"))
        else:
            self._host.early.keep(self, len(partial))

    def _start_body(self, exchange: RequestEvents, head: RequestHead, data: bytes) -> bool:
        """Take in what came of the body with the head. False when it was refused."""
        self._state = _BODY
        self._chunks = ChunkedReader() if head.length == CHUNKED else None
        self._left = head.length
        self._view = BODY_VIEW
        if data:
            self._on_body(data)
        if self._left > MIN_SPLICED:
            self._view = BULK_VIEW
        elif self._chunks is not None:
            self._view = CHUNKS_VIEW
        return self._exchange is exchange

    def _on_body(self, data: bytes | memoryview) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if self._chunks is not None:
            self._on_chunks(exchange, self._chunks, bytes(data))
            return
        self._left -= len(data)
        if self._view is BULK_VIEW:
            self._on_bulk(exchange, data)
            return
        if self._left > 0:
            exchange.on_body(data, complete=False)
            return
        self._state = _COMPLETE
        if self._left < 0:
            self._keep(bytes(data[self._left :]))
            data = data[: self._left]
        exchange.on_body(data, complete=True)

    def _on_bulk(self, exchange: RequestEvents, data: bytes | memoryview) -> None:
        """A small part of much: the rest goes past this process, until there is little left."""
        moved = exchange.on_bulk(data, self, self._left)
        left = self._left = self._left - moved
        if moved >= FULL_READ:
            self.fall_behind()
        if left <= MIN_SPLICED:
            self._view = BODY_VIEW
            if not left and self._exchange is exchange:
                self._state = _COMPLETE
                exchange.on_body(b"", complete=True)

    def _on_chunks(self, exchange: RequestEvents, chunks: ChunkedReader, data: bytes) -> None:
        try:
            data = chunks.feed(data)
        except ChunkError as error:
            self._exchange = None
            refusal = BadRequest(f"malformed request body: {error}", reason="framing")
            if exchange.on_broken_body(refusal):
                self._refuse(refusal)
            else:
                self.abort()
            return
        if chunks.done:
            self._state, self._chunks = _COMPLETE, None
            if chunks.rest:
                self._keep(chunks.rest)
        if data or chunks.done:
            exchange.on_body(data, complete=chunks.done)
        if chunks.behind and self._chunks is chunks:
            self.fall_behind()

    def go_on(self) -> bool:
        """More of the chunks that were read, or the next request of those that were sent ahead."""
        chunks, exchange = self._chunks, self._exchange
        if self._state == _HEAD and self._stash and not self.congested:
            self._on_head(self._take_stash())
        elif self._state == _BODY and chunks is not None and exchange is not None:
            self._on_chunks(exchange, chunks, b"")
        # One may have led to the other.
        if self._state == _HEAD:
            return bool(self._stash) and not self.congested
        return self._state == _BODY and self._chunks is not None and self._chunks.behind

    def _on_early(self, data: bytes) -> None:
        """The next request, before this one is answered."""
        self._keep(self._stash + data)

    def _keep(self, data: bytes) -> None:
        """For later: it is not its turn yet."""
        self._stash = data
        self._host.early.keep(self, len(data))
        if len(self._stash) > MAX_PIPELINED_BYTES:
            self.pause_reading()

    def _take_stash(self) -> bytes:
        self._host.early.drop(self)
        self._partial = None
        data, self._stash = self._stash, b""
        return data

    def evict(self) -> None:
        """What is kept of later requests is too much for all connections together: the answer under way is the last."""
        self._stash, self._partial = b"", None
        if self._state == _HEAD:
            self._refuse(BadRequest("too many heads of requests arrive slowly", status=503, reason="slow_heads"))
        else:
            self._state = _DISCARD
            self.resume_reading()

    # -- ending ---------------------------------------------------------------------------------------------------

    def _refuse(self, error: ExchangeError, reply: Reply | None = None) -> None:
        """Answer and close: nothing that follows on this connection can be trusted, or it is not looked at any more."""
        self._host.refused(error)
        self.write(encode_reply(reply or text_reply(error), method=b"GET", close=True, date=http_date()))
        self._state = _DISCARD
        self._linger(self._host.clock())

    def _end(self, now: float) -> None:
        if self._state == _COMPLETE and not self._stash:
            self._part(now)
        else:
            self._state = _DISCARD
            self._linger(now)

    def _part(self, now: float) -> None:
        """Close, once the client has taken what was written."""
        self._state = _DISCARD
        self.flush()
        if self.congested:
            self._linger(now)
        else:
            self._guard(on=False)
            self.close()

    def _linger(self, now: float, seconds: float = LINGER_SECONDS) -> None:
        self._take_stash()
        self._chunks = None
        self._view = CHUNKS_VIEW
        self.write_eof()
        if not self.congested:
            self._guard(on=False)
        self.resume_reading()
        self.deadline = now + seconds
        self._host.deadlines.watch(self)


def _skip_empty_lines(data: bytes) -> bytes:
    """Without some empty lines before a request line, which are ignored (RFC 9112 2.2)."""
    start = 0
    while start < len(CRLF) * MAX_EMPTY_LINES and data.startswith(CRLF, start):
        start += len(CRLF)
    return data[start:]
