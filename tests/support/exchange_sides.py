"""The two sides of one exchange in memory: they record the calls that they get."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from interceptor.backends.endpoint import Endpoint
from interceptor.core.messages import Fields, Request, Response
from interceptor.core.replies import Reply
from interceptor.core.sides import ClientTunnelEvents, Place, ResponseEvents, UpstreamTunnelEvents

__all__ = ["Client", "PlainRequest", "Server", "Side"]


class PlainRequest(Request):
    """A request of a protocol without special features."""

    kept: int = 0
    for_another: bool = False
    session: bytes = b""

    @property
    def size(self) -> int:
        return self.kept

    @property
    def is_for_another(self) -> bool:
        return self.for_another

    def match_fields(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-session", self.session)] if self.session else []


class Side:
    """Common to both sides: records calls."""

    def __init__(self, name: str, recorded: list[str]) -> None:
        self._name, self._recorded = name, recorded
        self.deadline, self.bucket, self.congested, self.paused = math.inf, 0, False, False
        self.stuck = math.inf

    def note(self, what: str) -> None:
        self._recorded.append(f"{self._name} {what}")

    def on_deadline(self, now: float) -> None:
        raise AssertionError("the stage asks the exchange itself")

    def pause_reading(self) -> None:
        if not self.paused:
            self.paused = True
            self.note("pause")

    def resume_reading(self) -> None:
        if self.paused:
            self.paused = False
            self.note("resume")

    def write_through(self, data: bytes | memoryview) -> None:
        self.note(f"data {len(data)}")

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        self.note(f"splice {len(first)} of {count}")
        return count

    def write_eof(self) -> None:
        self.note("eof")

    def stuck_for(self) -> float:
        return self.stuck if self.congested else math.inf

    def abort(self) -> None:
        self.note("abort")


class Client(Side):
    """A downstream."""

    peer, unframed = b"192.0.2.9", False

    def __init__(self, recorded: list[str], keep_deadline: Callable[[], None]) -> None:
        super().__init__("client", recorded)
        self.keep_deadline = keep_deadline
        self.trusted = self.half_closed = False
        self.persists = True
        self.own_backend: Any = None
        self.tunnel: ClientTunnelEvents | None = None
        self.early = b""

    def send_interim(self, head: Response) -> None:
        self.note(f"interim {head.status}")

    def send_head(self, head: Response, fields: Fields, data: bytes | memoryview, *, end: bool, trailers: Fields = ()) -> None:
        added = "".join(f" +{name.decode()}" for name, value in fields if (name, value) != (b"X-KEDA-HTTP-Cold-Start", b"false"))
        self.note(f"head {head.status} {len(data)}{' end' if end else ''}{added}")
        if trailers:
            self.send_trailers(trailers)

    def send_trailers(self, trailers: Fields) -> None:
        self.note(f"trailers {len(trailers)}")

    def exchange_done(self, now: float) -> None:
        self.note("done")

    def reply(self, reply: Reply, *, method: bytes, now: float) -> None:
        after = next((f" {value.decode()}" for name, value in reply.fields if name == b"Retry-After"), "")
        self.note(f"reply {reply.status}{reply.reason and ' '}{reply.reason}{after}")

    def cut(self, reason: str, rpc_status: int | None) -> None:
        self.abort()

    def upgrade(self, tunnel: ClientTunnelEvents, head: Response, fields: Fields, data: bytes) -> bytes:
        self.tunnel = tunnel
        self.note(f"upgrade {len(data)}")
        return self.early

    def leave_tunnel(self, *, patience: float) -> None:
        self.note(f"leave tunnel {patience:g}")

    def cut_tunnel(self) -> None:
        self.note("cut tunnel")


class Server(Side):
    """An upstream."""

    def __init__(self, name: str, recorded: list[str], endpoint: Endpoint) -> None:
        super().__init__(name, recorded)
        self.endpoint: Place = endpoint
        self.personal = self.reports_unprocessed = self.ended = self.body_open = False
        self.sink: ResponseEvents | None = None
        self.tunnel: UpstreamTunnelEvents | None = None

    def send_request(
        self, sink: ResponseEvents, head: Request, body: list[bytes] | None, *, end: bool, peer: bytes, trusted: bool
    ) -> None:
        self.sink, self.body_open = sink, not end
        self.note(f"request {head.method.decode()} {0 if body is None else sum(map(len, body))}")

    def send_end(self, trailers: Fields) -> None:
        assert self.body_open, "the end of a body that has ended"
        self.body_open = False
        if trailers:
            self.note(f"trailers {len(trailers)}")

    def write(self, data: bytes) -> None:
        self.note(f"early {len(data)}")

    def ending(self, status: Fields) -> bytes:
        return b""

    def release(self) -> None:
        assert not self.body_open, "the backend was not told the end of the body"
        self.sink, self.paused = None, False
        self.note("release")

    def has_input(self) -> bool:
        return self.ended

    def enter_tunnel(self, tunnel: UpstreamTunnelEvents) -> None:
        self.tunnel = tunnel

    def close_after_flush(self, now: float) -> None:
        self.note("close_after_flush")

    def close(self) -> None:
        self.note("close")

    def abort(self) -> None:
        self.sink = None
        super().abort()
