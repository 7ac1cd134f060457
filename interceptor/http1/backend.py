"""A backend connection: sends one request at a time, and parses the heads of responses.

Between exchanges it is idle in its endpoint's pool; any byte that arrives there ends it. Bodies of responses are read by the base
class in `interceptor.http1.response_body`: inheritance, because delegation would cost calls.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from interceptor.core.deadlines import FLUSH_SECONDS, NEVER
from interceptor.core.errors import BackendError, BadResponse, SpeaksHttp2
from interceptor.core.messages import NO_BODY, REQUEST_TIMEOUT, Fields, Request
from interceptor.core.sides import ResponseEvents, UpstreamTunnelEvents
from interceptor.core.sizes import COPIED_BYTES, MAX_RESPONSE_FIELDS, MAX_RESPONSE_HEAD
from interceptor.http1.backend_states import CLOSED, HEAD, IDLE, TUNNEL, TUNNEL_END, UNTIL_CLOSE
from interceptor.http1.fields import CRLF, HEAD_END, tokens
from interceptor.http1.foreign import ExactLength, chunk, encode_foreign_request, last_chunk
from interceptor.http1.grammar import GrammarError, check_status_line, is_http2
from interceptor.http1.partial import PartialHead
from interceptor.http1.request import RequestHead
from interceptor.http1.response import ResponseHead, malformed, parse_response
from interceptor.http1.response_body import ReadingBackend
from interceptor.transport.tcp import BODY_VIEW, CHUNKS_VIEW, FULL_READ, HEAD_VIEW, READ_BUFFER, Outbox

if TYPE_CHECKING:
    from interceptor.core.sides import Place

__all__ = ["BackendConnection"]

MAX_INTERIM: Final = 64 * 1024
"""Limit for the 1xx responses before a final one, in weighted bytes. Parsing costs time per response and per line as well, so
each response and each line counts for some bytes more than it has; together they then cost no more than one large head. Early
hints come once or twice: a backend that sends some thirty, or more in them than a head may have, is broken."""
INTERIM_BYTES: Final = 1536
LINE_BYTES: Final = 64

BEGINNING: Final = b"HTTP/1."
"""Beginning of every response. Bytes that begin otherwise (another protocol's greeting) are refused at once, because the end of
a head may never come."""

INTERIM: Final = b"HTTP/1.1 1"
"""Beginning of an interim response."""


class BackendConnection(ReadingBackend):
    """Speaks HTTP/1.1 to one backend."""

    __slots__ = ("_asked", "_greeted", "_interim", "_partial", "_reset", "_tunnel", "endpoint", "personal")

    reports_unprocessed = False

    def __init__(self, endpoint: Place, outbox: Outbox) -> None:
        super().__init__(outbox)
        self.endpoint = endpoint
        self._tunnel: UpstreamTunnelEvents | None = None
        self._asked: bytes | None = None
        """The protocols in the request's Upgrade field."""
        self._partial: PartialHead | None = None
        """An incomplete head."""
        self._interim = 0
        """Weighted bytes of the interim responses to the current request."""
        self._greeted = False
        """Whether the backend has sent HTTP/2 frames before any request was sent, as servers of gRPC do."""
        self._reset = False
        """Whether a write has failed with a reset, which the kernel then does not report to reads any more."""
        self.personal = False
        """Whether a client may have authenticated it as a whole. Then it belongs to that client and is never pooled."""

    # -- called by an exchange ------------------------------------------------------------------------------------

    def send_request(
        self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, end: bool, peer: bytes, trusted: bool
    ) -> None:
        """Send a request of the client at `peer`, with the part of its body received so far; the rest follows by `write_through`.
        Its forwarding fields are kept if it is `trusted`."""
        if isinstance(head, RequestHead):
            wire = head.encode(peer, head.scheme, trusted=trusted, authority=self.endpoint.authority)
        else:
            self._view = HEAD_VIEW  # not much of a body that its stream has no window for
            known = head.encoded
            if end and body is None and head.length == NO_BODY and known and known.depends == (peer, trusted, None):
                wire = known.wire  # as `_of_foreign` would find in more steps
            else:
                try:
                    wire, body = self._of_foreign(head, body, peer, end=end, trusted=trusted)
                except ValueError as error:  # a mistake in the other codec
                    self._sink, self._state = sink, HEAD
                    asyncio.get_running_loop().call_soon(self._cannot_send, sink, error)
                    return
        if head.personal:
            self.personal = True
        self._sink = sink
        self._state = HEAD
        self._asked = head.upgrade
        self.deadline = NEVER
        self._interim = 0
        self.write(wire if body is None else wire + b"".join(body))

    def _of_foreign(
        self, head: Request, body: list[bytes] | None, peer: bytes, *, end: bool, trusted: bool
    ) -> tuple[bytes, list[bytes] | None]:
        """Encode a request that came by another protocol: its head, and the part of its body received so far."""
        reader, parts = head.body_reader(), body or []
        assert reader is None  # noqa: S101 -- only HTTP/1 requests have one
        authority = self.endpoint.authority
        if end and not body and head.length == NO_BODY:
            return encode_foreign_request(head, peer, trusted=trusted, authority=authority, body=None), None
        whole = sum(map(len, parts)) if end else None
        wire = encode_foreign_request(head, peer, trusted=trusted, authority=authority, body=whole)
        if end and head.length < 0:
            return wire, body
        framer = self.framer = ExactLength(head.length) if head.length >= 0 else chunk
        parts = [framer(part) for part in parts]
        if end:
            self.send_end(())
        return wire, parts

    def _cannot_send(self, sink: ResponseEvents, error: ValueError) -> None:
        if self._sink is sink:
            self._fail(sink, BadResponse(f"the request cannot be sent by HTTP/1.1: {error}"))

    def send_end(self, trailers: Fields) -> None:
        """End the body of a request that came by another protocol. If it is shorter than announced, it cannot be completed."""
        framer, self.framer = self.framer, None
        if isinstance(framer, ExactLength):
            if framer.left:
                super().abort()
        elif framer is not None:
            self.write(last_chunk(trailers))

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        """From now on bytes are passed on unchanged."""
        self._state, self._view = TUNNEL, CHUNKS_VIEW
        self._sink, self._tunnel = None, tunnel

    def ending(self, status: Fields) -> bytes:
        return b""

    def release(self) -> None:
        """Become idle, ready for the next exchange."""
        self._sink = None
        self._state = IDLE
        if self._paused:  # paused by a slow client of the last response
            self.resume_reading()

    def close(self) -> None:
        self._sink = self._tunnel = self._chunks = None
        super().close()

    def close_after_flush(self, now: float) -> None:
        """Close after the written data was accepted, within a time limit."""
        self.close()
        if self.congested:
            self.deadline = now + FLUSH_SECONDS
            self.endpoint.owner.deadlines.watch(self)

    def abort(self) -> None:
        self._sink = self._tunnel = self._chunks = None
        super().abort()

    def on_deadline(self, now: float) -> None:
        """The idle timeout has passed, or the time limit of `close_after_flush`."""
        self.deadline = NEVER
        if self._state == IDLE:
            self.endpoint.withdraw(self)
            self.close()
        else:
            self.abort()

    # -- asyncio.BufferedProtocol ---------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        sink = self._sink
        if sink is None:
            self._on_unasked(nbytes)
        elif self._state == HEAD:
            if nbytes <= COPIED_BYTES or self._partial is not None:
                self._on_head(sink, bytes(BODY_VIEW[:nbytes]))
            else:
                self._on_large(sink, nbytes)
        else:
            self._on_body(sink, BODY_VIEW[:nbytes])
            if nbytes >= FULL_READ or nbytes == len(self._view) == len(CHUNKS_VIEW):  # full: others first
                self.fall_behind()

    def eof_received(self) -> bool:
        if self._tunnel is not None:
            if self._reset:
                return False
            self._state = TUNNEL_END
            self._tunnel.on_tunnel_end()
            return True
        if self._sink is not None and self._state == UNTIL_CLOSE:
            self._finish(self._sink, b"")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        state, self._state = self._state, CLOSED
        self.endpoint.owner.deadlines.forget(self)
        sink, self._sink, self._tunnel = self._sink or self._tunnel, None, None
        if state == IDLE:
            self.endpoint.withdraw(self)
        if sink is not None:
            error = SpeaksHttp2() if self._greeted else exc
            sink.on_lost(error or BackendError("the backend closed the connection before its response was complete"))

    def pause_writing(self) -> None:
        self.congested = True
        if (sink := self._sink or self._tunnel) is not None:
            sink.pause_body()

    def resume_writing(self) -> None:
        self.congested = False
        if (sink := self._sink or self._tunnel) is not None:
            sink.resume_body()

    def outlives(self, error: OSError) -> bool:
        """Continue reading in a tunnel: data that the backend sent before it closed may still be unread."""
        if self._state != TUNNEL:
            return False
        self._reset = self._reset or isinstance(error, ConnectionResetError)
        return True

    # -- reading --------------------------------------------------------------------------------------------------

    def _on_unasked(self, nbytes: int) -> None:
        """Bytes while no exchange is open: a tunnel's data, or unexpected."""
        if self._tunnel is not None:
            self._tunnel.on_tunnel_data(BODY_VIEW[:nbytes])
            if nbytes >= FULL_READ or nbytes == len(self._view) == len(CHUNKS_VIEW):
                self.fall_behind()
        else:
            self._greeted = is_http2(BODY_VIEW[:nbytes])
            self._unasked()

    def _unasked(self) -> None:
        """Unexpected bytes, such as a 408 on an idle connection: the connection cannot be used again."""
        if self._state == IDLE:
            self.endpoint.withdraw(self)
        self.close()

    def _on_large(self, sink: ResponseEvents, nbytes: int) -> None:
        """A head with much of its body: copy only the head out of the shared buffer."""
        end = READ_BUFFER.find(HEAD_END, 0, min(nbytes, MAX_RESPONSE_HEAD)) + 4
        if end < 4:
            self._on_head(sink, bytes(BODY_VIEW[:nbytes]))
        else:
            self._on_whole_head(sink, bytes(BODY_VIEW[:end]), BODY_VIEW[end:nbytes])

    def _on_head(self, sink: ResponseEvents, data: bytes) -> None:
        if self._partial is not None:
            self._on_part_of_head(sink, self._partial, data)
            return
        end = data.find(HEAD_END) + 4
        if end < 4 or end > MAX_RESPONSE_HEAD:
            partial = PartialHead(check_status_line, delimiter=b"/", most_fields=MAX_RESPONSE_FIELDS, beginning=BEGINNING)
            self._on_part_of_head(sink, partial, data)
        else:
            self._on_whole_head(sink, data[:end], data[end:])

    def _on_part_of_head(self, sink: ResponseEvents, partial: PartialHead, data: bytes) -> None:
        self._partial = None
        try:
            end = partial.add(data[: MAX_RESPONSE_HEAD + 1])
        except GrammarError as error:
            self._fail(sink, SpeaksHttp2() if is_http2(data) else malformed(error))
            return
        if len(partial) > MAX_RESPONSE_HEAD and not 0 < end <= MAX_RESPONSE_HEAD:
            self._fail(sink, BadResponse("the head of the response is too large"))
        elif end:
            whole = partial.take()
            self._on_whole_head(sink, whole[:end], whole[end:] + data[MAX_RESPONSE_HEAD + 1 :])
        else:
            self._partial = partial

    def _on_whole_head(self, sink: ResponseEvents, data: bytes, body: bytes | memoryview) -> None:
        try:
            head = parse_response(data, sink.method)
        except BadResponse as error:
            self._fail(sink, error)
            return
        if head.status < 200:
            self._interim += _weight(data)
            self._on_informational(sink, head, bytes(body))
            return
        if head.status == REQUEST_TIMEOUT and self._is_idle_timeout(sink, head):
            return
        self._reusable = head.keep_alive
        if head.personal:
            self.personal = True
        if head.length == len(body):
            self._state = IDLE
            sink.on_answer(head, body, complete=True, reusable=head.keep_alive)
        else:
            self._start_body(sink, head, body)

    def _is_idle_timeout(self, sink: ResponseEvents, head: ResponseHead) -> bool:
        """Handle a 408 that was not meant for this request: some servers send it when they close an idle connection, and it may
        cross with the request (RFC 9110 15.5.9). Then the request is treated as if the connection had been closed, and sent
        again. If it may not be sent again, the 408 is passed on, as the best answer there is."""
        if head.keep_alive or not sink.may_retry():
            return False
        self._fail(sink, BackendError("the backend closed the connection while it was idle"))
        return True

    def _on_informational(self, sink: ResponseEvents, head: ResponseHead, rest: bytes) -> None:
        """Handle an interim response or a protocol switch, and the following bytes, which may hold more interim responses."""
        at = 0
        while self._sink is sink:
            self.personal |= head.personal
            if head.status == 101:
                if self._agrees(head):
                    sink.on_switched(head, rest[at:])
                else:
                    self._fail(sink, BadResponse("the backend switched protocols unasked"))
                return
            if self._interim > MAX_INTERIM:
                break
            sink.on_interim(head)
            end = rest.find(HEAD_END, at, at + MAX_RESPONSE_HEAD) + 4 if rest.startswith(INTERIM, at) else 0
            if end < 4:
                break
            data, at = rest[at:end], end
            self._interim += _weight(data)
            if self._interim > MAX_INTERIM:
                break
            try:
                head = parse_response(data, sink.method)
            except BadResponse as error:
                self._fail(sink, error)
                return
        if self._sink is sink and self._interim > MAX_INTERIM:
            self._fail(sink, BadResponse("too many interim responses"))
        elif self._sink is sink and at < len(rest):
            self._on_head(sink, rest[at:])

    def _agrees(self, head: ResponseHead) -> bool:
        """Whether the backend switches to a protocol that was requested (RFC 9110 7.8)."""
        asked, agreed = self._asked, head.upgrade
        return asked is not None and agreed is not None and set(tokens([agreed])) <= {b"", *tokens([asked])}


def _weight(data: bytes) -> int:
    """Weighted bytes of one interim response."""
    return INTERIM_BYTES + LINE_BYTES * data.count(CRLF) + len(data)
