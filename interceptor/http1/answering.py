"""What goes to a client: interim responses, the head of an answer, answers of the proxy's own, and what comes after an answer.

After it the connection is open for the next request, ends, or has become a tunnel.
"""

from __future__ import annotations

from interceptor.core.deadlines import HORIZON
from interceptor.core.messages import Fields, Response
from interceptor.core.replies import Reply
from interceptor.core.sides import ClientTunnelEvents, Upstream
from interceptor.http1.date import http_date
from interceptor.http1.fields import CHUNKED, encode_fields
from interceptor.http1.host import ClientHost
from interceptor.http1.intake import ReadingClient
from interceptor.http1.large_reply import MAX_PART_BYTES, LargeReply
from interceptor.http1.reply import HEAD as HEAD_METHOD
from interceptor.http1.reply import encode_reply, has_body
from interceptor.http1.response import ResponseHead
from interceptor.http1.states import COMPLETE, DISCARD, HEAD, TUNNEL

__all__ = ["AnsweringClient"]


class AnsweringClient(ReadingClient):
    """A connection from a client, as far as its answers are concerned. What an exchange does with it."""

    __slots__ = ("half_closed", "own_backend", "persists", "unframed")

    def __init__(self, host: ClientHost) -> None:
        super().__init__(host)
        self.unframed = False
        """Whether the request under way is of HTTP/1.0, whose client takes no chunks."""
        self.persists = True
        """Whether the next request may come by this connection, as far as is known."""
        self.half_closed = False
        """Whether it will send no more, and gets an answer nevertheless."""
        self.own_backend: Upstream | None = None
        """A connection to a backend that authenticates this client as a whole: it is nobody else's."""

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
        keep = self.persists = self.persists and self._state == COMPLETE and (length >= 0 or chunked) and not self._host.sheds
        connection = (b"keep-alive" if old else None) if keep else b"close"
        wire = head.encode(chunked=chunked, connection=connection, lines=encode_fields(fields))
        if length < 0 and not chunked:
            self.guard_end()
        if isinstance(data, bytes):
            self.write(wire + data)
        else:
            self.write_both(wire, data)

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        """Answer in the backend's place."""
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
        """Answer 101, with what followed it; from then on bytes pass as they are. Returns those that came early."""
        self.guard_end()
        evicted, self._state = self._state == DISCARD, TUNNEL
        self._exchange, self._tunnel = None, tunnel
        early = self._take_stash()
        self.resume_reading()
        if evicted:
            self.abort()  # the tunnel's first bytes may be among those given up
        assert isinstance(head, ResponseHead)  # noqa: S101 -- as above
        self.write(head.encode(chunked=False, connection=b"upgrade", lines=encode_fields(fields)) + data)
        return early

    def exchange_done(self, now: float) -> None:
        """The answer is written. The next request, or the end."""
        self._exchange = None
        if not self.persists or self._state != COMPLETE or (self.half_closed and not self._stash):
            self._end(now)
            return
        self._state = HEAD
        host = self._host
        self.deadline = now + host.keep_alive_timeout
        if not self.bucket or host.keep_alive_timeout < HORIZON:
            host.deadlines.watch(self)
        if self.congested:  # a client that does not read its answers gets no more of them
            self.pause_reading()
        elif self._stash or self._paused:
            self._next()

    def _end(self, now: float) -> None:
        if self._state == COMPLETE and not self._stash:
            self._part(now)
        else:
            self._state = DISCARD
            self._linger(now)
