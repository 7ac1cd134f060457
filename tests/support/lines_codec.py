"""A second protocol for the proxy, made for tests: messages of lines. It works without changes of exchange, apps and backends.

A request is "METHOD host path [field=value …]", a response "STATUS [field=value …]"; in both follow one line for each piece of
the body, beginning with ">", and a last line ".", with optional trailers. A 1xx response is one line. After "101 upgrade=…" bytes
are passed on unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from interceptor.core.deadlines import NEVER
from interceptor.core.errors import BackendError, BadRequest, BadResponse
from interceptor.core.messages import BodyReader, Field, Fields, Request, Response, may_trail
from interceptor.core.replies import Reply, text_reply
from interceptor.core.sides import (
    Client,
    ClientTunnelEvents,
    Downstream,
    Place,
    RequestEvents,
    ResponseEvents,
    Upstream,
    UpstreamTunnelEvents,
)
from interceptor.http2.host import ClientHost
from interceptor.transport.tcp import BODY_VIEW, Connection, Outbox

__all__ = ["LineClient", "LineDialer"]

SWITCHING, END = 101, b"."
UNKNOWN = -2
"""Length of a body whose length is unknown until its end."""


class LineRequest(Request):
    line: bytes = b""

    @property
    def size(self) -> int:
        return len(self.line)

    @property
    def is_for_another(self) -> bool:
        return False

    def match_fields(self) -> list[Field]:
        return _pairs(self.line.split(b" ")[3:])

    def fields(self, peer: bytes, *, trusted: bool) -> list[Field]:
        return [*self.match_fields(), (b"x-forwarded-for", peer)]


class LineResponse(Response):
    line: bytes = b""

    def fields(self) -> list[Field]:
        return _pairs(self.line.split(b" ")[1:])


def _pairs(words: list[bytes]) -> list[Field]:
    pairs = [word.partition(b"=") for word in words]
    return [(name.lower(), value) for name, equals, value in pairs if equals and name != b"upgrade"]


def _trailers(line: bytes) -> Fields:
    return tuple(pair for pair in _pairs(line.split(b" ")) if may_trail(pair[0]))


def _words(fields: Iterable[Field]) -> bytes:
    return b"".join(b" %b=%b" % (name, value.replace(b" ", b"_")) for name, value in fields)


def _upgrade(words: list[bytes]) -> bytes | None:
    return next((word.removeprefix(b"upgrade=") for word in words if word.startswith(b"upgrade=")), None)


def _length(words: list[bytes]) -> int:
    return next((int(word[15:]) for word in words if word.startswith(b"content-length=")), UNKNOWN)


def _piece(data: bytes | memoryview) -> bytes:
    return b"".join(b">%b\n" % line for line in bytes(data).split(b"\n") if line)


class _Lines(Connection):
    """Common to both sides: reads complete lines, one at a time, while the other side accepts them."""

    peer = b"lines"
    trusted = half_closed = False
    unframed = persists = True

    def __init__(self, outbox: Outbox, deadline: float) -> None:
        super().__init__(outbox, deadline=deadline)
        self.raw = b""
        self.tunnel: Any = None

    def get_buffer(self, sizehint: int) -> memoryview:
        return BODY_VIEW

    def buffer_updated(self, nbytes: int) -> None:
        if self.tunnel is not None:
            self.on_tunnel(BODY_VIEW[:nbytes])
            return
        self.raw += bytes(BODY_VIEW[:nbytes])
        self.read_lines()

    def read_lines(self) -> None:
        while b"\n" in self.raw and self.wants_lines and self.tunnel is None and not self._transport.is_closing():
            line, self.raw = self.raw.split(b"\n", 1)
            self.on_line(line)

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        self.write_through(first)  # spliced bytes could not be put into lines
        return 0

    wants_lines = True

    def on_line(self, line: bytes) -> None:
        raise NotImplementedError

    def on_tunnel(self, data: memoryview) -> None:
        raise NotImplementedError


class LineClient(_Lines):
    """A downstream."""

    def __init__(self, host: ClientHost) -> None:
        super().__init__(host.outbox, host.clock() + host.head_timeout)
        self._host = host
        self._exchange: RequestEvents | None = None
        self._reading = False
        self.own_backend: Upstream | None = None

    # -- transport ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._host.deadlines.watch(self)
        self._host.client_opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.deadlines.forget(self)
        self._host.client_closed(self)
        sink, self._exchange, self.tunnel = self._exchange or self.tunnel, None, None
        if sink is not None:
            sink.on_client_lost()

    def eof_received(self) -> bool:
        if self.tunnel is not None:
            self.tunnel.on_client_end()
            return True
        return False

    def pause_writing(self) -> None:
        self.congested = True
        if (sink := self._exchange or self.tunnel) is not None:
            sink.pause_answer()

    def resume_writing(self) -> None:
        self.congested = False
        if (sink := self._exchange or self.tunnel) is not None:
            sink.resume_answer()

    def on_deadline(self, now: float) -> None:
        if (sink := self._exchange or self.tunnel) is not None:
            sink.on_deadline(now)
        else:
            self.close()

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def wants_lines(self) -> bool:  # type: ignore[override]
        """The next request is not read before this one is answered."""
        return self._exchange is None or self._reading

    def on_line(self, line: bytes) -> None:
        if self._exchange is None:
            self._begin(line)
        elif line.startswith(END):
            self._reading = False
            self._exchange.on_body(b"", complete=True, trailers=_trailers(line))
        else:
            self._exchange.on_body(line.removeprefix(b">") + b"\n", complete=False)

    def _begin(self, line: bytes) -> None:
        words = line.split(b" ")
        if len(words) < 3:
            error = BadRequest("malformed request")
            self._host.refused(error)
            self.write(_reply(text_reply(error)))
            self.close()
            return
        bodiless = b"." in words
        head = LineRequest(
            words[0], words[2], words[2], words[1], 0 if bodiless else _length(words), upgrade=_upgrade(words), line=line
        )
        self._reading = not bodiless
        self._exchange = self._host.open_exchange(self, head)
        self._exchange.begin()

    def on_tunnel(self, data: memoryview) -> None:
        self.tunnel.on_client_data(data)

    # -- Downstream -----------------------------------------------------------------------------------------------

    def keep_deadline(self) -> None:
        self._host.deadlines.watch(self)

    def send_interim(self, head: Response) -> None:
        self.write(b"%d\n" % head.status)

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool, trailers: Fields = ()) -> None:
        words = _words((*head.fields(), *fields))
        self.write(b"%d%b\n%b%b" % (head.status, words, _piece(data), b".%b\n" % _words(trailers) if end else b""))
        self._open_end = not end

    _open_end = False

    def send_trailers(self, trailers: Fields) -> None:
        self._open_end = False
        self.write(b".%b\n" % _words(trailers))

    def write_through(self, data: bytes | memoryview) -> None:
        super().write_through(data if self.tunnel is not None else _piece(data))

    def cut(self, reason: str, rpc_status: int | None) -> None:
        self.abort()

    def exchange_done(self, now: float) -> None:
        self._exchange = None
        if self._open_end:
            self.write(b".\n")
            self._open_end = False
        if self._host.sheds or self._reading:
            self.close()
            return
        self.deadline = now + self._host.keep_alive_timeout
        self._host.deadlines.watch(self)
        self.resume_reading()
        self.read_lines()

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        self.write(_reply(reply))
        self.exchange_done(now)

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        self._exchange, self.tunnel = None, tunnel
        self.write(b"101 upgrade=%b\n%b" % (head.upgrade or b"", data))
        self.resume_reading()
        early, self.raw = self.raw, b""
        return early

    def leave_tunnel(self, *, patience: float) -> None:
        self.tunnel = None
        self.close()

    def cut_tunnel(self) -> None:
        self.tunnel = None
        self.abort()

    # -- Client ----------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        return self._exchange is None and self.tunnel is None and not self.raw

    begun = False
    protocol, activity, since, requests = "lines", "idle", 0.0, 0

    def close_if_idle(self) -> bool:
        self.close()
        return True

    def evict(self) -> None:
        self.raw = b""

    def wind_down(self, now: float, seconds: float) -> None:
        if self.tunnel is not None:
            self.tunnel.wind_down(now, seconds)


def _reply(reply: Reply) -> bytes:
    return b"%d\n%b.\n" % (reply.status, _piece(reply.body))


class LineBackend(_Lines):
    """An upstream."""

    personal = reports_unprocessed = False

    def __init__(self, endpoint: Place, outbox: Outbox) -> None:
        super().__init__(outbox, NEVER)
        self.endpoint = endpoint
        self._sink: ResponseEvents | None = None
        self._begun = False
        self._reader: BodyReader | None = None

    def send_request(
        self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, end: bool, peer: bytes, trusted: bool
    ) -> None:
        self._sink, self._begun, self.deadline = sink, False, NEVER
        self._reader = head.body_reader()
        if isinstance(head, LineRequest):
            line = head.line
        else:
            words = _words(head.fields(peer, trusted=trusted))
            line = b"%b %b %b%b" % (head.method, head.host or self.endpoint.authority, head.target, words)
            line += b" upgrade=" + head.upgrade if head.upgrade else b""
            line += b" ." if end and not body else b""
        self.write(line + b"\n")
        for part in body or ():
            self.write_through(part)
        if end and END not in line.split(b" "):
            self.send_end(())

    def write_through(self, data: bytes | memoryview) -> None:
        if self.tunnel is not None:
            super().write_through(data)
            return
        reader = self._reader
        if reader is not None:
            data = reader.feed(bytes(data))
            while reader.behind:
                data += reader.feed()
        super().write_through(_piece(data))

    def send_end(self, trailers: Fields) -> None:
        self.write(b".%b\n" % _words(trailers if self._reader is None else self._reader.trailers))

    def on_line(self, line: bytes) -> None:
        sink = self._sink
        if sink is None:
            self.endpoint.withdraw(self)
            self.close()
        elif self._begun:
            if line.startswith(END):
                self._begun = False
                sink.on_answer_end(reusable=True, trailers=_trailers(line))
            else:
                sink.on_answer_data(line.removeprefix(b">") + b"\n")
        else:
            self._on_head(sink, line)

    def _on_head(self, sink: ResponseEvents, line: bytes) -> None:
        status, *words = line.split(b" ")
        if not status.isdigit():
            self.abort()
            sink.on_lost(BadResponse("no status"))
            return
        head = LineResponse(int(status), _length(words), upgrade=_upgrade(words), line=line)
        if head.status in (204, 304):
            head.length = 0
        if head.status == SWITCHING:
            self._sink = None
            early, self.raw = self.raw, b""
            sink.on_switched(head, early)
        elif head.status < 200:
            sink.on_interim(head)
        else:
            self._begun = True
            sink.on_answer(head, b"", complete=False, reusable=False)

    def on_tunnel(self, data: memoryview) -> None:
        self.tunnel.on_tunnel_data(data)

    def eof_received(self) -> bool:
        if self.tunnel is not None:
            self.tunnel.on_tunnel_end()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.owner.deadlines.forget(self)
        self.endpoint.withdraw(self)
        sink, self._sink, self.tunnel = self._sink or self.tunnel, None, None
        if sink is not None:
            sink.on_lost(exc or BackendError("the backend closed the connection"))

    def pause_writing(self) -> None:
        self.congested = True
        if (sink := self._sink or self.tunnel) is not None:
            sink.pause_body()

    def resume_writing(self) -> None:
        self.congested = False
        if (sink := self._sink or self.tunnel) is not None:
            sink.resume_body()

    def on_deadline(self, now: float) -> None:
        self.endpoint.withdraw(self)
        self.close()

    def ending(self, status: Fields) -> bytes:
        return b""

    def release(self) -> None:
        self._sink = None

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        self._sink, self.tunnel = None, tunnel

    def close_after_flush(self, now: float) -> None:
        self.close()

    def abort(self) -> None:
        self._sink = self.tunnel = None
        super().abort()


class LineDialer:
    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def connect(self, endpoint: Place) -> LineBackend:
        backend, loop = endpoint.backend, asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: LineBackend(endpoint, self._outbox), backend.host, backend.port)
        return connection

    def probe(self, endpoint: Place, path: str) -> LineRequest:
        line = f"GET probe {path} .".encode()
        return LineRequest(b"GET", path.encode(), path.encode(), b"probe", 0, line=line)


if TYPE_CHECKING:

    def _sides(client: LineClient, backend: LineBackend) -> tuple[Client, Downstream, Upstream]:
        """Both are what the proxy asks for."""
        return client, client, backend
