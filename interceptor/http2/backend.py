"""A connection to a backend that speaks HTTP/2.

The pool of an endpoint keeps what can take one more exchange. So a connection always has one place there for as long as the
backend allows another stream, and a place that is taken is replaced by another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final

from interceptor.core.deadlines import NEVER
from interceptor.core.messages import HTTP
from interceptor.core.sides import Place
from interceptor.core.sizes import MAX_RESPONSE_FIELDS, MAX_RESPONSE_HEAD
from interceptor.http2.connection import SessionConnection
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import INTERNAL_ERROR, NO_ERROR
from interceptor.http2.core.stream import Stream
from interceptor.http2.place import StreamPlace
from interceptor.transport.tcp import Outbox

__all__ = ["Http2Backend"]

STREAMS: Final = 256
"""At once on one connection: more than a server usually allows, so that it is the server that says how many."""
WINDOW: Final = 1 << 16
CONFIG: Final = Config(
    streams=STREAMS, window=WINDOW, connection_window=STREAMS * WINDOW, list_size=MAX_RESPONSE_HEAD, fields=MAX_RESPONSE_FIELDS
)
"""The window of the connection holds those of all streams, so that a client that does not read holds up no other. Backends are
trusted with larger heads than clients, as over HTTP/1."""

SILENCE_SECONDS: Final = 15.0
"""After so long without a byte from the backend, the next request asks whether it is still there. A machine that has vanished
says nothing, and every request would go to it until the kernel gives up."""
PONG_SECONDS: Final = 10.0
"""Maximum seconds until the PING is acknowledged."""
PING_SECONDS: Final = 300.0
"""Time from one such question to the next, unless a response came in between: servers of gRPC end connections that ask more
often."""
_PAYLOAD: Final = b"isthere?"


class Http2Backend(SessionConnection):
    """Speaks HTTP/2 to one backend."""

    scheme: ClassVar[bytes] = HTTP
    """Of its requests."""

    __slots__ = ("_pinged", "_unsettled", "awaiting", "broken", "endpoint", "gone", "idle", "next_ping", "why")

    def __init__(self, endpoint: Place, outbox: Outbox, clock: Callable[[], float]) -> None:
        super().__init__(outbox, clock, CONFIG, client=True, deadline=NEVER)
        self.endpoint = endpoint
        self.idle: set[StreamPlace] = set()
        """Places that no exchange has."""
        self.awaiting: dict[StreamPlace, None] = {}
        """Places whose requests depend on the backend's SETTINGS, which have not been received."""
        self.next_ping = 0.0
        self._pinged = 0.0
        self.why = ""
        self.broken = False
        """Whether the backend has broken a rule of HTTP/2, or uses another protocol."""
        self.gone = False
        """Whether the connection was lost, by nothing that the backend said."""
        self._unsettled: list[asyncio.Future[None]] = []
        """Dials that wait for the backend's SETTINGS."""

    async def settled(self) -> None:
        """Wait until the backend has said how many streams it allows, or the connection is lost."""
        if not self.session.ready and not self.session.closed:
            future = asyncio.get_running_loop().create_future()
            self._unsettled.append(future)
            await future

    def _settle(self) -> None:
        unsettled, self._unsettled = self._unsettled, []
        for future in unsettled:
            if not future.done():
                future.set_result(None)

    def place(self) -> StreamPlace:
        """Another place."""
        place = StreamPlace(self)
        self.idle.add(place)
        return place

    def taken(self, place: StreamPlace) -> None:
        self.idle.discard(place)
        now = self._clock()
        if now >= self.session.now + SILENCE_SECONDS:
            self._ask_whether_it_is_there(now)
        if self.session.available <= 0:
            self._withdraw_all()
        elif not self.idle:
            self.endpoint.offer(self.place(), now)

    def _ask_whether_it_is_there(self, now: float) -> None:
        if now < self.next_ping or self.deadline != NEVER:
            return
        self._pinged, self.next_ping, self.deadline = now, now + PING_SECONDS, now + PONG_SECONDS
        self.session.ping(_PAYLOAD)
        self.endpoint.owner.deadlines.watch(self)

    def on_deadline(self, now: float) -> None:
        """It was asked whether it is there. Any byte is an answer."""
        self.deadline = NEVER
        if self.session.now < self._pinged:
            self.why = "the backend does not answer any more"
            self.gone = True
            self._withdraw_all()
            self.abort()

    def on_stream_closed(self, stream: Stream) -> None:
        if self.session.going_away:
            self.end_if_unused()
        elif not self.idle and self.session.available > 0:
            self.endpoint.offer(self.place(), self._clock())

    def on_settings(self) -> None:
        self._settle()
        awaiting, self.awaiting = self.awaiting, {}
        for place in awaiting:
            place.go_on()
        if self.session.available <= 0:
            self._withdraw_all()
        elif not self.idle and self.session.streams:
            self.endpoint.offer(self.place(), self._clock())

    def on_goaway(self, code: int) -> None:
        self._withdraw_all()
        self.end_if_unused()

    def on_closed(self, code: int, message: str) -> None:
        self.broken = True
        super().on_closed(code, message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadline = NEVER
        self.endpoint.owner.deadlines.forget(self)
        self._withdraw_all()
        self.gone = True
        self.session.lost()
        self._settle()
        awaiting, self.awaiting = self.awaiting, {}
        for place in awaiting:
            place.on_reset(INTERNAL_ERROR, unprocessed=True)

    def released(self, place: StreamPlace) -> None:
        self.idle.add(place)

    def waits(self, place: StreamPlace) -> None:
        self.awaiting[place] = None

    def left(self, place: StreamPlace) -> None:
        self.idle.discard(place)
        self.awaiting.pop(place, None)
        self.end_if_unused()

    def _withdraw_all(self) -> None:
        places, self.idle = self.idle, set()
        for place in places:
            place.deadline = NEVER
            self.endpoint.withdraw(place)
            self.endpoint.owner.deadlines.forget(place)

    def end_if_unused(self) -> None:
        """Close the connection if it has no streams and no places, idle or awaiting the backend's SETTINGS."""
        if not self.session.streams and not self.idle and not self.awaiting:
            self.session.close(NO_ERROR)
            self.write_output()
            self.close()
