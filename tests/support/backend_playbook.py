"""A backend connection for playbooks, and a sink that records the events of a response."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from interceptor.core.messages import Fields, Response
from interceptor.http1.backend_states import NAMES
from interceptor.http1.request import parse_request
from tests.support.codec_playbook import ForeignRequest, NotingTransport, Stage
from tests.support.strict import StrictBackend

__all__ = ["CHAT", "SENT", "BackendStage"]

SENT = """
> request
< out GET / HTTP/1.1|Host: a.test|X-Forwarded-For: 192.0.2.1|X-Forwarded-Proto: http|X-Forwarded-Host: a.test||
= HEAD
"""
CHAT = """
> request GET chat
< out GET / HTTP/1.1|...
> feed HTTP/1.1 101 Switching Protocols\\r\\nConnection: upgrade\\r\\nUpgrade: chat\\r\\n\\r\\nhi
< switched hi
= TUNNEL
"""


class _Sink:
    """Records the events of a response. A connection that cannot be used again is reset, as an exchange does."""

    def __init__(self, stage: BackendStage, method: bytes, *, unframed: bool) -> None:
        self._note, self._stage = stage.note, stage
        self.method, self.unframed = method, unframed

    def on_interim(self, head: Response) -> None:
        self._note(f"interim {head.status}")

    def on_answer(
        self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool, trailers: Fields = ()
    ) -> None:
        self._note(f"answer {head.status} {len(body)}{' end' if complete else ''}{' reusable' if complete and reusable else ''}")
        if complete and not reusable:
            self._stage.connection.abort()

    def on_answer_data(self, data: bytes | memoryview) -> None:
        self._note(f"data {len(data)}")

    def on_answer_bulk(self, data: memoryview, source: object, left: int) -> int:
        self._note(f"bulk {len(data)} of {left}")
        return min(self._stage.moves, left)

    def on_answer_end(self, *, reusable: bool, trailers: Fields = ()) -> None:
        outputs = "".join(f" {name.decode()}={value.decode()}" for name, value in trailers)
        self._note(f"end{' reusable' if reusable else ''}{outputs}")
        if not reusable:
            self._stage.connection.abort()

    def on_switched(self, head: Response, data: bytes) -> None:
        self._note(f"switched {data.decode()}")
        self._stage.connection.enter_tunnel(_UpstreamTunnel(self._note))

    def may_retry(self) -> bool:
        self._note("may retry?")
        return self._stage.retries

    def on_lost(self, error: Exception) -> None:
        self._note(f"lost {type(error).__name__}: {error}")

    def pause_body(self) -> None:
        self._note("pause")

    def resume_body(self) -> None:
        self._note("resume")


class _UpstreamTunnel:
    """Records events."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def on_tunnel_data(self, data: memoryview) -> None:
        self._note(f"tunnel {bytes(data).decode()}")

    def on_tunnel_end(self) -> None:
        self._note("tunnel end")

    def on_lost(self, error: Exception) -> None:
        self._note(f"tunnel lost {type(error).__name__}")

    def pause_body(self) -> None:
        self._note("pause")

    def resume_body(self) -> None:
        self._note("resume")


class BackendStage(Stage):
    """A backend connection, and its endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.moves = 0
        self.retries = False
        owner = SimpleNamespace(deadlines=self.deadlines)
        endpoint: Any = SimpleNamespace(owner=owner, authority=b"10.0.0.1:80", withdraw=self._drop)
        self.connection = StrictBackend(endpoint, self.outbox)
        self.transport = NotingTransport(self.connection, self.outputs)
        self._dropped = False

    def _drop(self, connection: StrictBackend) -> None:
        """Remove it from the pool; no effect if it is not there."""
        if not self._dropped:
            self._dropped = True
            self.note("dropped")

    # -- verbs of playbooks ---------------------------------------------------------------------------------------

    def request(self, method: str = "GET", *flags: str) -> None:
        """Flags: "chat": upgrade to that protocol; "1.0": from a client that does not know chunks;
        "NTLM", "Bearer": with credentials of that kind."""
        upgrade = "Connection: upgrade\r\nUpgrade: chat\r\n" if "chat" in flags else ""
        credentials = "".join(f"Authorization: {flag} abc\r\n" for flag in flags if flag in ("NTLM", "Bearer"))
        head = parse_request(f"{method} / HTTP/1.1\r\nHost: a.test\r\n{upgrade}{credentials}\r\n".encode())
        sink = _Sink(self, head.method, unframed="1.0" in flags)
        self.connection.send_request(sink, head, None, end=True, peer=b"192.0.2.1", trusted=False)

    def foreign(self, method: str, length: str, data: str = "", end: str = "") -> None:
        """A request that came by another protocol, with the part of its body received so far; `end` if that is all."""
        head = ForeignRequest(method.encode(), b"/", b"/", b"a.test", int(length))
        sink = _Sink(self, head.method, unframed=False)
        body = [data.encode()] if data else None
        self.connection.send_request(sink, head, body, end=bool(end), peer=b"192.0.2.1", trusted=False)

    def personal(self) -> None:
        """Record whether the connection may only carry requests of this client."""
        self.note("personal" if self.connection.personal else "shared")

    def body(self, text: str) -> None:
        self.connection.write_through(text.encode())

    def ends(self, *trailers: str) -> None:
        self.connection.send_end(tuple((name.encode(), b"1") for name in trailers))

    def release(self) -> None:
        self.connection.release()

    def limit(self, seconds: str) -> None:
        """Set the end of its idle time."""
        self.connection.deadline = float(seconds)
        self.deadlines.watch(self.connection)

    def moves_on(self, size: str) -> None:
        self.moves = int(size)

    def retries_it(self) -> None:
        """The request may be sent again if the connection fails."""
        self.retries = True

    def deadline_passes(self) -> None:
        self.connection.on_deadline(self.now)

    def fills_up(self) -> None:
        """The backend reads nothing, and something is written."""
        self.stops_taking()
        self.connection.write(b"x")

    def feed_and_abort(self, *words: str) -> None:
        """Both in one turn of the event loop."""
        self.feed(*words)
        self.connection.abort()

    def abort(self) -> None:
        self.connection.abort()

    def close(self) -> None:
        self.connection.close()

    def write(self, text: str) -> None:
        self.connection.write(text.encode())

    def close_after_flush(self) -> None:
        self.connection.close_after_flush(self.now)

    def resets(self) -> None:
        """The kernel reports a reset."""
        self.transport.closing = True
        self.connection.connection_lost(ConnectionResetError("reset"))

    def write_fails(self, why: str = "") -> None:
        """A write fails, with a reset or another error."""
        outlived = self.connection.outlives(ConnectionResetError() if why else BrokenPipeError())
        self.note(f"{'outlived' if outlived else 'ends'}")

    def state(self) -> str:
        return NAMES[self.connection._state]
