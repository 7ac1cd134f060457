"""A connection to a backend: sends one request at a time, reads the heads of its responses, and hands both ends to the exchange.

Between exchanges it rests in its endpoint's pool, where anything but silence ends it. Bodies of responses are read in
`interceptor.http1.response_body`, on which it builds by inheritance: that costs a response no call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interceptor.core.deadlines import NEVER
from interceptor.core.errors import BackendError, BadResponse
from interceptor.core.messages import Request
from interceptor.core.sides import ResponseEvents, UpstreamTunnelEvents
from interceptor.http1.fields import CRLF, HEAD_END, tokens
from interceptor.http1.grammar import GrammarError, check_status_line
from interceptor.http1.partial import PartialHead
from interceptor.http1.request import RequestHead
from interceptor.http1.response import MAX_FIELDS, MAX_HEAD_BYTES, ResponseHead, malformed, parse_response
from interceptor.http1.response_body import CLOSED, HEAD, REST, TUNNEL, TUNNEL_END, UNTIL_CLOSE, ReadingBackend
from interceptor.transport.tcp import BODY_VIEW, CHUNKS_VIEW, FULL_READ, READ_BUFFER, Outbox

if TYPE_CHECKING:
    from interceptor.core.sides import Place

__all__ = ["BackendConnection"]

MAX_INTERIM = 64 * 1024
"""Of the 1xx responses before a final one, in bytes. Many tiny ones cost as much as few with many fields, so each counts for
some bytes more than it has, and so does each of its lines: all of them cost no more than one head. Early hints come once or
twice; more than some thirty of them, or more in them than in a head, is a broken backend."""
INTERIM_BYTES, LINE_BYTES = 1536, 64

BEGINNING = b"HTTP/1."
"""Of every response. What begins otherwise, as the greeting of another protocol does, may never come to the end of a head."""

INTERIM = b"HTTP/1.1 1"
"""Of another interim response."""

COPIED_BYTES = 16 * 1024
"""Up to this size a copy costs less than care for a view of the shared buffer."""

PARTING_SECONDS = 30.0
"""For a backend to take the last that was written to it."""


class BackendConnection(ReadingBackend):
    """Speaks HTTP/1.1 to one backend."""

    __slots__ = ("_asked", "_interim", "_partial", "_reset", "_tunnel", "endpoint", "personal")

    def __init__(self, endpoint: Place, outbox: Outbox) -> None:
        super().__init__(outbox)
        self.endpoint = endpoint
        self._tunnel: UpstreamTunnelEvents | None = None
        self._asked: bytes | None = None
        """The protocols that the request would rather speak."""
        self._partial: PartialHead | None = None
        """A head of which a part is here."""
        self._interim = 0
        """What the interim responses to the request weigh."""
        self._reset = False
        """Whether a write has met a reset, which reading does not tell any more."""
        self.personal = False
        """Whether a client may have authenticated it as a whole. Then it is that client's, and never pooled."""

    # -- what an exchange does with it ----------------------------------------------------------------------------

    def send_request(self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, peer: bytes, trusted: bool) -> None:
        """Send a request that came from `peer`, with what is here of its body; the rest goes through `write_through`. What it
        tells of others before `peer` goes on where that is `trusted`."""
        assert isinstance(head, RequestHead)  # noqa: S101 -- no other protocol is spoken by clients yet
        wire = head.encode(peer, b"http", trusted=trusted, authority=self.endpoint.authority)
        if head.personal:
            self.personal = True
        self.begin(sink, wire if body is None else wire + b"".join(body))
        self._asked = head.upgrade

    def begin(self, sink: ResponseEvents, head: bytes) -> None:
        """Send a request as it is."""
        self._sink = sink
        self._state = HEAD
        self._asked = None
        self.deadline = NEVER
        self._interim = 0
        self.write(head)

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        """From now on bytes pass as they are."""
        self._state = TUNNEL
        self._sink, self._tunnel = None, tunnel

    def rest(self) -> None:
        """Be ready for the next exchange."""
        self._sink = None
        self._state = REST
        if self._paused:  # the last client was slow to the end
            self.resume_reading()

    def close(self) -> None:
        self._sink = self._tunnel = self._chunks = None
        super().close()

    def part(self, now: float) -> None:
        """Close after what is written was taken, for which there is time, but not for ever."""
        self.close()
        if self.congested:
            self.deadline = now + PARTING_SECONDS
            self.endpoint.owner.deadlines.watch(self)

    def abort(self) -> None:
        self._sink = self._tunnel = self._chunks = None
        super().abort()

    def on_deadline(self, now: float) -> None:
        """Rested too long, or took too long to part."""
        self.deadline = NEVER
        if self._state == REST:
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
            if nbytes >= FULL_READ or nbytes == len(self._view) == len(CHUNKS_VIEW):  # more has come: the others first
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
        if state == REST:
            self.endpoint.withdraw(self)
        if sink is not None:
            sink.on_lost(exc or BackendError("the backend closed the connection before its response was complete"))

    def pause_writing(self) -> None:
        self.congested = True
        if (sink := self._sink or self._tunnel) is not None:
            sink.pause_body()

    def resume_writing(self) -> None:
        self.congested = False
        if (sink := self._sink or self._tunnel) is not None:
            sink.resume_body()

    def outlives(self, error: OSError) -> bool:
        """What a tunnel's backend said before it went away may be here, unread: how it ended is told when that was read."""
        if self._state != TUNNEL:
            return False
        self._reset = self._reset or isinstance(error, ConnectionResetError)
        return True

    # -- reading --------------------------------------------------------------------------------------------------

    def _on_unasked(self, nbytes: int) -> None:
        """Bytes while no exchange waits for any: a tunnel's, or nobody's."""
        if self._tunnel is not None:
            self._tunnel.on_tunnel_data(BODY_VIEW[:nbytes])
            if nbytes >= FULL_READ:
                self.fall_behind()
        else:
            self._unasked()

    def _unasked(self) -> None:
        """Bytes that answer nothing, such as a 408 for an idle connection: it cannot be used again."""
        if self._state == REST:
            self.endpoint.withdraw(self)
        self.close()

    def _on_large(self, sink: ResponseEvents, nbytes: int) -> None:
        """A head with much of its body: only the head is taken out of the shared buffer."""
        end = READ_BUFFER.find(HEAD_END, 0, min(nbytes, MAX_HEAD_BYTES)) + 4
        if end < 4:
            self._on_head(sink, bytes(BODY_VIEW[:nbytes]))
        else:
            self._on_whole_head(sink, bytes(BODY_VIEW[:end]), BODY_VIEW[end:nbytes])

    def _on_head(self, sink: ResponseEvents, data: bytes) -> None:
        if self._partial is not None:
            self._on_part_of_head(sink, self._partial, data)
            return
        end = data.find(HEAD_END) + 4
        if end < 4 or end > MAX_HEAD_BYTES:
            partial = PartialHead(check_status_line, delimiter=b"/", most_fields=MAX_FIELDS, beginning=BEGINNING)
            self._on_part_of_head(sink, partial, data)
        else:
            self._on_whole_head(sink, data[:end], data[end:])

    def _on_part_of_head(self, sink: ResponseEvents, partial: PartialHead, data: bytes) -> None:
        self._partial = None
        try:
            end = partial.add(data[: MAX_HEAD_BYTES + 1])
        except GrammarError as error:
            self._fail(sink, malformed(error))
            return
        if len(partial) > MAX_HEAD_BYTES and not 0 < end <= MAX_HEAD_BYTES:
            self._fail(sink, BadResponse("the head of the response is too large"))
        elif end:
            whole = partial.take()
            self._on_whole_head(sink, whole[:end], whole[end:] + data[MAX_HEAD_BYTES + 1 :])
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
        self._reusable = head.keep_alive
        if head.personal:
            self.personal = True
        if head.length == len(body):
            self._state = REST
            sink.on_answer(head, body, complete=True, reusable=head.keep_alive)
        else:
            self._start_body(sink, head, body)

    def _on_informational(self, sink: ResponseEvents, head: ResponseHead, rest: bytes) -> None:
        """One, and what came with it, of which other interim responses may be the first."""
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
            end = rest.find(HEAD_END, at, at + MAX_HEAD_BYTES) + 4 if rest.startswith(INTERIM, at) else 0
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
        """Whether it switches to what was asked for (RFC 9110 7.8)."""
        asked, told = self._asked, head.upgrade
        return asked is not None and told is not None and set(tokens([told])) <= {b"", *tokens([asked])}


def _weight(data: bytes) -> int:
    """Of one interim response."""
    return INTERIM_BYTES + LINE_BYTES * data.count(CRLF) + len(data)
