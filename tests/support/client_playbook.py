"""A client connection for playbooks, an exchange that records events, and usual beginnings of playbooks."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from interceptor.core.early import EarlyBytes
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Fields, Request
from interceptor.core.replies import Reply
from interceptor.core.sides import Client, Downstream
from interceptor.http1.client import ClientConnection
from interceptor.http1.request import RequestHead
from interceptor.http1.response import parse_response
from interceptor.http1.states import NAMES
from interceptor.transport.tcp import Connection
from interceptor.trust import TrustedProxies
from tests.support.codec_playbook import ForeignResponse, NotingTransport, Stage, bytes_of
from tests.support.strict import StrictClient

__all__ = ["CHAT", "CHUNKED", "GET", "OK", "POST", "ClientStage"]

GET = r"""
> feed GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n
< request GET /a 0
< begin
= COMPLETE
"""
OK = r"""
> answer HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello
< out HTTP/1.1 200 OK|Content-Length: 5||hello
"""
POST = r"""
> feed POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n
< request POST / 10
< begin
= BODY
"""
CHUNKED = r"""
> feed POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n
< request POST / -1
< begin
= BODY
"""
CHAT = (
    GET
    + """
> switch hi
< guard on
< early 0
< out HTTP/1.1 101 Switching Protocols|Connection: upgrade|Upgrade: chat||hi
= TUNNEL
"""
)


class _Exchange:
    """Records the events of a request."""

    def __init__(self, stage: ClientStage, head: RequestHead) -> None:
        self._note = stage.note
        self._stage = stage
        self.head = head
        self.method = head.method
        self._note(f"request {head.method.decode()} {head.target.decode()} {head.length}")

    def begin(self) -> None:
        self._note("begin")

    def on_body(self, data: bytes | memoryview, *, complete: bool, trailers: Fields = ()) -> None:
        self._note(f"body {len(data)}{' end' if complete else ''}")

    def on_bulk(self, data: bytes | memoryview, source: object, left: int) -> int:
        moved = min(self._stage.moves, left)
        self._note(f"bulk {len(data)} of {left}")
        return moved

    def on_client_lost(self) -> None:
        self._note("lost")

    def on_broken_body(self, error: ExchangeError) -> bool:
        self._note("broken")
        return not self._stage.answered

    def on_deadline(self, now: float) -> None:
        self._note("deadline")

    def pause_answer(self) -> None:
        self._note("pause")

    def resume_answer(self) -> None:
        self._note("resume")

    @property
    def answers_half_closed(self) -> bool:
        return self._stage.answers_half_closed


class _ClientTunnel:
    """Records events."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def on_client_data(self, data: memoryview) -> None:
        self._note(f"tunnel {bytes(data).decode()}")

    def on_client_end(self) -> None:
        self._note("tunnel end")

    def wind_down(self, now: float, seconds: float) -> None:
        self._note(f"wind down {seconds:g}")

    def on_client_lost(self) -> None:
        self._note("lost")

    def on_deadline(self, now: float) -> None:
        self._note("deadline")

    def pause_answer(self) -> None:
        self._note("pause")

    def resume_answer(self) -> None:
        self._note("resume")


class ClientStage(Stage):
    """A client connection, and its host."""

    head_timeout, keep_alive_timeout = 10.0, 60.0

    def __init__(self, *, unread: bool = False) -> None:
        """`unread`: the socket has data that was not read yet."""
        super().__init__()
        self.open: list[Client] = []
        self.watched: set[ClientConnection] = set()
        """Connections that are watched for disconnects."""
        self.hangups: Any = SimpleNamespace(watch=self._watch, forget=self.watched.discard)
        self.sheds = self.answers_half_closed = self.answered = False
        self.early = EarlyBytes(1000_000)
        self.proxies = TrustedProxies()
        self.strange: list[bytes] = []
        """First bytes that were reported as another protocol."""
        self.on_http2: Any = None
        self.mismatches: Any = SimpleNamespace(note=lambda data, transport: self.strange.append(data))
        self.moves = 0
        """Bytes that a splice moves after each part of a large body."""
        self.other = Connection(self.outbox, deadline=0.0)
        """The connection that a response comes from."""
        NotingTransport(self.other, [])
        self.exchange: _Exchange | None = None
        self.client = StrictClient(self)
        self.transport = NotingTransport(self.client, self.outputs, unread=unread)

    # -- host of the connection -----------------------------------------------------------------------------------

    def open_exchange(self, client: Downstream, head: Request) -> _Exchange:
        self.answered = False
        assert isinstance(head, RequestHead)
        self.exchange = _Exchange(self, head)
        return self.exchange

    def client_opened(self, client: Client) -> None:
        self.open.append(client)

    def client_closed(self, client: Client) -> None:
        self.open.remove(client)

    def refused(self, error: ExchangeError) -> None:
        self.note(f"refused {error.reason}")

    def _watch(self, client: ClientConnection, *, half_closed: bool) -> None:
        self.watched.add(client)
        self.note(f"watch{' half-closed' if half_closed else ''}")

    # -- verbs of playbooks ---------------------------------------------------------------------------------------

    def answer(self, *words: str) -> None:
        """A backend's response: its head, and the part of its body received so far."""
        data = bytes_of(" ".join(words))
        end = data.index(b"\r\n\r\n") + 4
        assert self.exchange is not None
        head, body = parse_response(data[:end], self.exchange.head.method), data[end:]
        self.answered = True
        self.client.send_head(head, (), body, end=len(body) == head.length)
        if len(body) == head.length:
            self.client.exchange_done(self.now)

    def interim(self, *words: str) -> None:
        self.client.send_interim(parse_response(bytes_of(" ".join(words)), b"GET"))

    def foreign(self, status: str, length: str, data: str = "", end: str = "") -> None:
        """A response that came by another protocol, with a body of this length, or one below 0 if that is not known."""
        self.answered = True
        self.client.send_head(ForeignResponse(int(status), int(length)), (), bytes_of(data), end=bool(end))

    def splice(self, text: str, count: str) -> None:
        """A part of a large body, of which so many bytes more can be moved by the kernel."""
        self.note(f"moved {self.client.splice(bytes_of(text), self.other, int(count))}")

    def trailers(self, *names: str) -> None:
        self.client.send_trailers(tuple((name.encode(), b"1") for name in names))

    def more(self, text: str) -> None:
        self.client.write_through(bytes_of(text))

    def done(self) -> None:
        self.client.exchange_done(self.now)

    def reply(self, status: str, size: str = "4") -> None:
        assert self.exchange is not None
        self.client.reply(Reply(int(status), (), b"x" * int(size)), method=self.exchange.head.method, now=self.now)

    def reply_and_eof(self, status: str) -> None:
        """The client's end of stream arrives in the same turn as the response."""
        self.reply(status)
        self.eof()

    def switch(self, data: str = "") -> None:
        head = parse_response(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n", b"GET")
        early = self.client.upgrade(_ClientTunnel(self.note), head, (), data.encode())
        self.note(f"early {len(early)}")

    def switch_and_cut(self) -> None:
        """The backend connection fails in the same turn in which it switched protocols."""
        self.switch()
        self.cut()

    def leave(self, patience: str) -> None:
        self.client.leave_tunnel(patience=float(patience))

    def cut(self) -> None:
        self.client.cut_tunnel()

    def abort(self) -> None:
        self.client.abort()

    def wind_down(self, seconds: str) -> None:
        self.client.wind_down(self.now, float(seconds))

    def drain(self) -> None:
        self.sheds = True

    def early_limit(self, size: str) -> None:
        self.early.limit = int(size)

    def kept(self) -> None:
        """Record the number of buffered bytes of requests that have not begun."""
        self.note(f"kept {self.early.total}")

    def waits_for_half_closed(self) -> None:
        self.answers_half_closed = True

    def moves_on(self, size: str) -> None:
        self.moves = int(size)

    def deadline_passes(self) -> None:
        self.client.on_deadline(self.now)

    def evict(self) -> None:
        self.client.evict()

    def pauses(self) -> None:
        self.client.pause_reading()

    def resumes(self) -> None:
        self.client.resume_reading()

    def has_own_backend(self) -> None:
        """A connection to a backend carries only this client's requests."""
        own: Any = SimpleNamespace(close=lambda: self.note("own closed"))
        self.client.own_backend = own

    def hangs_up(self, gone: str = "") -> None:
        self.client.on_hangup(gone=bool(gone))

    def state(self) -> str:
        return NAMES[self.client._state]
