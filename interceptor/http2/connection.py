"""A connection with a session of HTTP/2 on it: reads frames in bounded parts, and writes what the session has once a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final

from fleet.runtime.backlog import Backlog
from interceptor.core.sizes import COPIED_BYTES
from interceptor.http2.core.config import Config
from interceptor.http2.core.header_rules import Head
from interceptor.http2.core.outflow import OUTPUT_BYTES
from interceptor.http2.core.session import Session
from interceptor.http2.core.stream import Stream
from interceptor.transport.tcp import CHUNKS_VIEW, Connection, Outbox

__all__ = ["SessionConnection"]

_FULL: Final = len(CHUNKS_VIEW)


class SessionConnection(Connection):
    """Both roles. Has the events of its session (`SessionEvents`); those that only one role needs are ignored here."""

    __slots__ = ("_clock", "_clogged", "_writes", "session")

    whole: ClassVar[bool] = True
    """Messages that are received at once come as one event."""

    def __init__(self, outbox: Outbox, clock: Callable[[], float], config: Config, *, client: bool, deadline: float) -> None:
        super().__init__(outbox, deadline=deadline)
        self._clock = clock
        self._writes = False
        """Whether output is to be written when this turn of the event loop is over."""
        self._clogged = False
        """Whether reading is paused because the peer does not read what it is answered."""
        self.session = Session(config, self, client=client)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.session.now = self._clock()
        self.session.start()

    def get_buffer(self, sizehint: int) -> memoryview:
        return CHUNKS_VIEW

    def buffer_updated(self, nbytes: int) -> None:
        session = self.session
        data = bytes(CHUNKS_VIEW[:nbytes]) if nbytes <= COPIED_BYTES else CHUNKS_VIEW[:nbytes]
        if session.feed(data, self._clock()) or nbytes == _FULL:
            self.fall_behind()  # the other connections first
        if session.held and session.clogged and not self._clogged:
            self._clogged = True
            self.pause_reading()

    def take(self, data: bytes) -> None:
        """What was read before the connection was this one's."""
        if self.session.feed(data, self._clock()):
            self.fall_behind()

    def go_on(self) -> bool:
        return self.session.go_on(self._clock())

    def eof_received(self) -> bool:
        self.flush()
        return False

    def pause_writing(self) -> None:
        self.congested = True
        self.session.hold()

    def resume_writing(self) -> None:
        self.congested = False
        self.session.release()
        self.write_output()
        if self._clogged and not self.session.clogged:
            self._clogged = False
            self.resume_reading()

    def on_output(self) -> None:
        if not self._writes:
            self._writes = True
            outbox = self._outbox
            if not outbox.due:
                outbox.schedule()
            outbox.sessions.append(self)

    def write_output(self) -> None:
        """Write what the session has to send."""
        self._writes = False
        session = self.session
        out, room = session.take_output(), OUTPUT_BYTES
        while out:
            data = b"".join(out)
            self._send(data)
            if not session.queued:
                break
            room -= len(data)
            if room <= 0:
                if session.pending:  # the others first
                    self.on_output()
                break
            out = session.take_output()
        if (session.closed or session.going_away) and session.drained and not session.pending:
            self._transport.close()

    def on_closed(self, code: int, message: str) -> None:
        """The peer broke a rule: the GOAWAY that says so is the last that is written."""
        self.on_output()

    def on_request(self, stream: Stream, head: Head, *, end: bool, data: bytes | memoryview = b"") -> None:
        """For a client's connection."""

    def on_stream_closed(self, stream: Stream) -> None:
        """Of no interest, unless a role says otherwise."""

    def on_settings(self) -> None:
        """For a backend's connection."""

    def on_goaway(self, code: int) -> None:
        """For a backend's connection."""

    def on_pong(self, payload: bytes) -> None:
        """Of no interest: no PING of ours is waited for."""

    @property
    def backlog(self) -> Backlog:
        """Of work that is more than one turn's."""
        return self._outbox.backlog

    def now(self) -> float:
        """Seconds, as the host counts them."""
        return self._clock()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def abort(self) -> None:
        self.session.lost()
        super().abort()
