"""A connection from a client for playbooks, an exchange that notes what it is told, and beginnings of conversations."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from fleet.runtime.strangers import Strangers
from interceptor.core.early import EarlyBytes
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Request
from interceptor.core.replies import Reply
from interceptor.core.sides import Client
from interceptor.http1.client import ClientConnection
from interceptor.http1.request import RequestHead
from interceptor.http1.response import parse_response
from interceptor.http1.states import NAMES, NEXT
from interceptor.trust import TrustedProxies
from tests.support.codec_playbook import NotingTransport, Stage, bytes_of

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


class _StrictClient(ClientConnection):
    """Goes from one state to another only as the table says."""

    __slots__ = ()

    @property
    def _state(self) -> int:
        return cast("int", _STATE.__get__(self))

    @_state.setter
    def _state(self, state: int) -> None:
        try:
            before = self._state
        except AttributeError:
            pass  # the first
        else:
            assert state in NEXT[before], f"{NAMES[before]} -> {NAMES[state]}"
        _STATE.__set__(self, state)


_STATE: Any = next(each.__dict__["_state"] for each in ClientConnection.__mro__ if "_state" in each.__dict__)


class _Exchange:
    """Notes what it is told of a request."""

    def __init__(self, stage: ClientStage, head: RequestHead) -> None:
        self._note = stage.note
        self._stage = stage
        self.head = head
        self._note(f"request {head.method.decode()} {head.target.decode()} {head.length}")

    def begin(self) -> None:
        self._note("begin")

    def on_body(self, data: bytes | memoryview, *, complete: bool) -> None:
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
    """Notes what it is told."""

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
    """A connection from a client, and its host."""

    head_timeout, keep_alive_timeout = 10.0, 60.0

    def __init__(self) -> None:
        super().__init__()
        self.hangups: Any = SimpleNamespace(watch=self._watch, forget=lambda fd: None)
        self.sheds = self.answers_half_closed = self.answered = False
        self.early = EarlyBytes(1000_000)
        self.proxies = TrustedProxies()
        self.strangers = Strangers("tests")
        self.moves = 0
        """Bytes that go past this process when some of a large body come."""
        self.exchange: _Exchange | None = None
        self.client = _StrictClient(self)
        self.transport = NotingTransport(self.client, self.told)

    # -- host of the connection -----------------------------------------------------------------------------------

    def open_exchange(self, client: Client, head: Request) -> _Exchange:
        self.answered = False
        assert isinstance(head, RequestHead)
        self.exchange = _Exchange(self, head)
        return self.exchange

    def client_opened(self, client: Client) -> None:
        """There is one."""

    def client_closed(self, client: Client) -> None:
        """There is none."""

    def refused(self, error: ExchangeError) -> None:
        self.note(f"refused {error.reason}")

    def _watch(self, fd: int, client: ClientConnection, *, half_closed: bool) -> None:
        self.note(f"watch{' half-closed' if half_closed else ''}")

    # -- what a playbook says -------------------------------------------------------------------------------------

    def answer(self, *words: str) -> None:
        """Of a backend: its head, and what is here of its body."""
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

    def more(self, text: str) -> None:
        self.client.write_through(bytes_of(text))

    def done(self) -> None:
        self.client.exchange_done(self.now)

    def reply(self, status: str, size: str = "4") -> None:
        assert self.exchange is not None
        self.client.reply(Reply(int(status), (), b"x" * int(size)), method=self.exchange.head.method, now=self.now)

    def switch(self, data: str = "") -> None:
        head = parse_response(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n", b"GET")
        early = self.client.upgrade(_ClientTunnel(self.note), head, (), data.encode())
        self.note(f"early {len(early)}")

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

    def waits_for_half_closed(self) -> None:
        self.answers_half_closed = True

    def moves_on(self, size: str) -> None:
        self.moves = int(size)

    def pauses(self) -> None:
        self.client.pause_reading()

    def resumes(self) -> None:
        self.client.resume_reading()

    def hangs_up(self, gone: str = "") -> None:
        self.client.on_hangup(gone=bool(gone))

    def state(self) -> str:
        return NAMES[self.client._state]
