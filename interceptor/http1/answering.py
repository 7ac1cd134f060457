"""Sends responses to a client: interim responses, heads, and replies of the proxy itself; and decides what follows a response.

After a response the connection reads the next request, closes, or has become a tunnel.
"""

from __future__ import annotations

from interceptor.core.deadlines import HORIZON
from interceptor.core.messages import BODILESS, Fields, Response
from interceptor.core.replies import Reply
from interceptor.core.sides import ClientTunnelEvents, Upstream
from interceptor.date import http_date
from interceptor.http1.fields import CHUNKED, encode_fields
from interceptor.http1.foreign import ExactLength, chunk, encode_foreign_response, last_chunk
from interceptor.http1.host import ClientHost
from interceptor.http1.intake import ReadingClient
from interceptor.http1.large_reply import MAX_PART_BYTES, LargeReply
from interceptor.http1.reply import HEAD as HEAD_METHOD
from interceptor.http1.reply import encode_reply, has_body
from interceptor.http1.response import ResponseHead
from interceptor.http1.states import COMPLETE, DISCARD, HEAD, TUNNEL
from interceptor.transport.tcp import CHUNKS_VIEW

__all__ = ["AnsweringClient"]


class AnsweringClient(ReadingClient):
    """The part of a client connection that sends responses, called by an exchange."""

    __slots__ = ("half_closed", "own_backend", "persists", "unframed")

    def __init__(self, host: ClientHost) -> None:
        super().__init__(host)
        self.unframed = False
        """Whether the current request is HTTP/1.0, whose client does not know chunks."""
        self.persists = True
        """Whether the next request may use the same connection, as far as known."""
        self.half_closed = False
        """Whether the client has closed its sending side, and still gets a response."""
        self.own_backend: Upstream | None = None
        """A backend connection that authenticates this client as a whole; no other client may use it."""

    def send_interim(self, head: Response) -> None:
        """Send 100 Continue and other interim responses, if the client supports them (not HTTP/1.0)."""
        if not self.unframed:
            self.write(_encode(head, (), chunked=False, connection=None))

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool, trailers: Fields = ()) -> None:
        """Send the head of the response with added fields, and the part of the body received so far; with `end` that is all of
        it, and `trailers` follow it, which come only with the messages of another codec."""
        if not isinstance(head, ResponseHead):
            self._send_foreign_head(head, fields, bytes(data), end=end)
            if trailers:
                self.send_trailers(trailers)
            return
        length, old = head.length, self.unframed
        chunked = length == CHUNKED and not old
        keep = self.persists = self.persists and self._state == COMPLETE and (length >= 0 or chunked) and not self._host.sheds
        connection = (b"keep-alive" if old else None) if keep else b"close"
        wire = head.encode(chunked=chunked, connection=connection, lines=encode_fields(fields))
        if length < 0 and not chunked:
            self.guard_end()
        if isinstance(data, bytes):
            self.write(wire + data)
        else:
            self.write_both(wire, data)

    def _send_foreign_head(self, head: Response, fields: Fields, data: bytes, *, end: bool) -> None:
        """The same for a backend with another protocol: a body without a length is sent in chunks."""
        to_head = self._exchange is not None and self._exchange.method == HEAD_METHOD
        bodiless = to_head or head.status in BODILESS
        known, old = bodiless or head.length >= 0 or (end and not data), self.unframed
        chunked = not known and not old
        keep = self.persists = self.persists and self._state == COMPLETE and (known or chunked) and not self._host.sheds
        connection = (b"keep-alive" if old else None) if keep else b"close"
        try:
            wire = encode_foreign_response(head, fields, chunked=chunked, connection=connection, to_head=to_head)
        except ValueError:  # a mistake in the other codec
            self.abort()
            return
        if not known and not chunked:
            self.guard_end()
        if chunked:
            self.framer = chunk
        elif bodiless:  # whatever length it announces
            self.framer = ExactLength(0)
        elif known:
            self.framer = ExactLength(max(head.length, 0))
        self.write(wire + (data if self.framer is None else self.framer(data)))

    def send_trailers(self, trailers: Fields) -> None:
        """Send trailers, if the body is chunked; otherwise there is no place for them."""
        if self.framer is chunk:
            self.framer = None
            self.write(last_chunk(trailers))

    def _end_body(self) -> bool:
        """Write what ends the body of a response that came by another protocol. False if it was shorter than announced: then the
        connection is reset."""
        framer, self.framer = self.framer, None
        if isinstance(framer, ExactLength):
            if framer.left:
                self.abort()
            return not framer.left
        self.write(last_chunk(()))
        return True

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        """Send a response in place of the backend."""
        host = self._host
        keep = self.persists = self.persists and not self.unframed and self._state == COMPLETE and not host.sheds
        large = len(reply.body) > MAX_PART_BYTES and has_body(reply, method)
        self.write(encode_reply(reply, method=HEAD_METHOD if large else method, close=not keep, date=http_date()))
        if large:
            rest = self._exchange = LargeReply(self, reply.body, patience=host.keep_alive_timeout, clock=host.clock)
            rest.begin()
        else:
            self.exchange_done(now)

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        """Send the 101 response with the data that followed it, and become a tunnel. Returns data that the client sent early."""
        self.guard_end()
        evicted, self._state = self._state == DISCARD, TUNNEL
        self._exchange, self._tunnel, self._view = None, tunnel, CHUNKS_VIEW
        early = self._take_stash()
        self.resume_reading()
        if evicted:
            self.abort()  # the discarded bytes may have been the tunnel's first
        self.write(_encode(head, fields, chunked=False, connection=b"upgrade") + data)
        return early

    def exchange_done(self, now: float) -> None:
        """The response was sent: read the next request, or close."""
        self._exchange = None
        if self.framer is not None and not self._end_body():
            return
        if not self.persists or self._state != COMPLETE or (self.half_closed and not self._stash):
            self._end(now)
            return
        self._state = HEAD
        host = self._host
        self.deadline = now + host.keep_alive_timeout
        if not self.bucket or host.keep_alive_timeout < HORIZON:
            host.deadlines.watch(self)
        if self.congested:  # read no further request until the client has read this response
            self.pause_reading()
        elif self._stash or self._paused:
            self._next()

    def _end(self, now: float) -> None:
        if self._state == COMPLETE and not self._stash:
            self._close_after_flush(now)
        else:
            self._state = DISCARD
            self._linger(now)


def _encode(head: Response, fields: Fields, *, chunked: bool, connection: bytes | None) -> bytes:
    if isinstance(head, ResponseHead):
        return head.encode(chunked=chunked, connection=connection, lines=encode_fields(fields))
    return encode_foreign_response(head, fields, chunked=chunked, connection=connection)
