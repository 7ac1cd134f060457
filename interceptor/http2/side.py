"""What the two sides of an exchange over HTTP/2 have in common: back-pressure by the windows of a stream, in both directions."""

from __future__ import annotations

import math

from interceptor.core.deadlines import NEVER
from interceptor.core.messages import Fields
from interceptor.http2.core.header_rules import Head
from interceptor.http2.core.session import Session
from interceptor.http2.core.stream import Stream

__all__ = ["StreamSide"]


class StreamSide:
    """A stream that is read from and written to, as far as it may be."""

    __slots__ = ("_paused", "_stuck_queued", "_stuck_since", "_unconsumed", "bucket", "congested", "deadline")

    def __init__(self) -> None:
        self._paused = False
        self._unconsumed = 0
        """Bytes that were passed on, for which the peer's window is not opened again yet."""
        self._stuck_queued = 0
        self._stuck_since = 0.0
        self.deadline = NEVER
        self.bucket = 0
        self.congested = False

    def now(self) -> float:
        """Seconds, as the host counts them."""
        raise NotImplementedError

    def current(self) -> tuple[Session, Stream] | None:
        """The stream, and the session that it is of. None between exchanges."""
        raise NotImplementedError

    def write_through(self, data: bytes | memoryview) -> None:
        """Send more content."""
        raise NotImplementedError

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        """Send the first bytes only: what goes past this process cannot be put into frames."""
        self.write_through(first)
        return -1

    # -- events of responses, which a server's stream does not have ---------------------------------------------------

    def on_headers(self, head: Head, *, end: bool) -> None:
        """Ignored, unless a backend's side does otherwise."""

    def on_message(self, head: Head, data: bytes | memoryview, trailers: Fields) -> None:
        """Ignored, unless a backend's side does otherwise."""

    # -- what is received -------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self.give_back()

    def passed_on(self, size: int) -> None:
        """So many bytes were passed on: the peer may send as many again, unless reading is paused."""
        self._unconsumed += size
        if not self._paused:
            self.give_back()

    def give_back(self) -> None:
        """Open the peer's windows by what was passed on. Due at the end of an exchange at the latest, because the session counts
        the rest against all other streams of the connection."""
        size, self._unconsumed = self._unconsumed, 0
        if size and (current := self.current()) is not None:
            session, stream = current
            session.consumed(stream, size)

    # -- what is sent -------------------------------------------------------------------------------------------------

    def becomes_congested(self, stream: Stream) -> bool:
        """Whether the last write was more than the peer takes for now."""
        if not stream.congested:
            return False
        if self.congested:
            self._stuck_queued = max(self._stuck_queued, stream.queued)  # what was still under way is no sign of a stuck peer
            return False
        self.congested = True
        self._stuck_queued, self._stuck_since = stream.queued, self.now()
        return True

    def stuck_for(self) -> float:
        """Seconds since the last call at which less was queued than at the call before; infinite if nothing is stuck."""
        current = self.current()
        if not self.congested or current is None:
            return math.inf
        now, queued = self.now(), current[1].queued
        if queued < self._stuck_queued:
            self._stuck_queued, self._stuck_since = queued, now
        return now - self._stuck_since
