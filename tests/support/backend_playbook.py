"""A connection to a backend for playbooks, and a sink that notes what it is told of a response."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from interceptor.core.messages import Response
from interceptor.http1.backend import BackendConnection
from interceptor.http1.request import parse_request
from tests.support.codec_playbook import NotingTransport, Stage

__all__ = ["BackendStage"]


class _Sink:
    """Notes what it is told of a response. A connection that cannot be used again is reset, as an exchange does."""

    def __init__(self, stage: BackendStage, method: bytes, *, unframed: bool) -> None:
        self._note, self._stage = stage.note, stage
        self.method, self.unframed = method, unframed

    def on_interim(self, head: Response) -> None:
        self._note(f"interim {head.status}")

    def on_answer(self, head: Response, body: bytes | memoryview, *, complete: bool, reusable: bool) -> None:
        self._note(f"answer {head.status} {len(body)}{' end' if complete else ''}{' reusable' if complete and reusable else ''}")
        if complete and not reusable:
            self._stage.connection.abort()

    def on_answer_data(self, data: bytes | memoryview) -> None:
        self._note(f"data {len(data)}")

    def on_answer_bulk(self, data: memoryview, source: object, left: int) -> int:
        self._note(f"bulk {len(data)} of {left}")
        return min(self._stage.moves, left)

    def on_answer_end(self, *, reusable: bool) -> None:
        self._note(f"end{' reusable' if reusable else ''}")
        if not reusable:
            self._stage.connection.abort()

    def on_switched(self, head: Response, data: bytes) -> None:
        self._note(f"switched {data.decode()}")
        self._stage.connection.enter_tunnel(_UpstreamTunnel(self._note))

    def on_lost(self, error: Exception) -> None:
        self._note(f"lost {type(error).__name__}: {error}")

    def pause_body(self) -> None:
        self._note("pause")

    def resume_body(self) -> None:
        self._note("resume")


class _UpstreamTunnel:
    """Notes what it is told."""

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
    """A connection to a backend, and the endpoint that it belongs to."""

    NAMES = ("REST", "HEAD", "LENGTH", "CHUNKS", "UNTIL_CLOSE", "TUNNEL", "TUNNEL_END", "CLOSED")

    def __init__(self) -> None:
        super().__init__()
        self.moves = 0
        owner = SimpleNamespace(deadlines=self.deadlines)
        endpoint: Any = SimpleNamespace(owner=owner, authority=b"10.0.0.1:80", withdraw=self._drop)
        self.connection = BackendConnection(endpoint, self.outbox)
        self.transport = NotingTransport(self.connection, self.told)
        self._dropped = False

    def _drop(self, connection: BackendConnection) -> None:
        """As the pool does, harmless for one that is not in it."""
        if not self._dropped:
            self._dropped = True
            self.note("dropped")

    # -- what a playbook says -------------------------------------------------------------------------------------

    def request(self, method: str = "GET", *flags: str) -> None:
        """Flags: "chat" asks for that protocol, "1.0" is of a client that knows no chunks."""
        upgrade = "Connection: upgrade\r\nUpgrade: chat\r\n" if "chat" in flags else ""
        head = parse_request(f"{method} / HTTP/1.1\r\nHost: a.test\r\n{upgrade}\r\n".encode())
        sink = _Sink(self, head.method, unframed="1.0" in flags)
        self.connection.send_request(sink, head, None, peer=b"192.0.2.1", trusted=False)

    def rest(self) -> None:
        self.connection.rest()

    def limit(self, seconds: str) -> None:
        """It may rest until then."""
        self.connection.deadline = float(seconds)
        self.deadlines.watch(self.connection)

    def moves_on(self, size: str) -> None:
        self.moves = int(size)

    def write(self, text: str) -> None:
        self.connection.write(text.encode())

    def part(self) -> None:
        self.connection.part(self.now)

    def resets(self) -> None:
        """The kernel says so."""
        self.transport.closing = True
        self.connection.connection_lost(ConnectionResetError("reset"))

    def write_fails(self, why: str = "") -> None:
        """It takes no more: with a reset, or otherwise."""
        outlived = self.connection.outlives(ConnectionResetError() if why else BrokenPipeError())
        self.note(f"{'outlived' if outlived else 'ends'}")

    def state(self) -> str:
        return self.NAMES[self.connection._state]
