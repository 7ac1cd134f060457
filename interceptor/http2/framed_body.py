"""Decodes the body of a request that came in the framing of its protocol (the chunks of HTTP/1), for a backend of HTTP/2.

Decoding takes a microsecond for each chunk, and a chunk may be as small as six bytes. Data that arrives while the body is
relayed comes in bounded parts, which are decoded at once. Data that was buffered while the request waited comes all at once,
and perhaps with that of a thousand other requests: of it, one part is decoded in each turn of the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fleet.runtime.backlog import Backlog
from interceptor.core.messages import BodyReader, Fields

__all__ = ["FramedBody"]


class FramedBody:
    """The body of one request. `send` gets the decoded content; `finish` gets the trailers, after all content was decoded and
    `end` was called."""

    __slots__ = ("_backlog", "_cancelled", "_ends", "_finish", "_parts", "_queued", "_reader", "_send", "ended")

    def __init__(
        self, reader: BodyReader, backlog: Backlog, send: Callable[[bytes], None], finish: Callable[[Fields], None]
    ) -> None:
        self._reader = reader
        self._backlog = backlog
        self._send = send
        self._finish = finish
        self._parts: deque[bytes] = deque()
        """Parts that are not decoded yet."""
        self._queued = False
        """Whether it is in the backlog."""
        self._ends = False
        self._cancelled = False
        self.ended = False
        """Whether `finish` was called."""

    def add(self, data: bytes, *, later: bool = False) -> None:
        """Decode a part: at once, or from the backlog if earlier parts are waiting there or with `later`."""
        if self._queued or later:
            self._parts.append(data)
            self._queue_up()
            return
        self._read(data)
        if self._reader.behind:
            self._queue_up()

    def end(self) -> None:
        """All parts were added."""
        self._ends = True
        if not self._queued:
            self._pass_end_on()

    def cancel(self) -> None:
        """Drop the parts that are not decoded yet; neither `send` nor `finish` is called any more."""
        self._cancelled = True
        self._parts.clear()

    def catch_up(self) -> bool:
        """Decode one more part. Returns whether there are others."""
        if self._cancelled:
            return False
        if self._reader.behind:
            self._read(b"")
        elif self._parts:
            self._read(self._parts.popleft())
        self._queued = self._reader.behind or bool(self._parts)
        if self._ends and not self._queued:
            self._pass_end_on()
        return self._queued

    def _read(self, data: bytes) -> None:
        content = self._reader.feed(data)
        if content:
            self._send(content)

    def _queue_up(self) -> None:
        if not self._queued:
            self._queued = True
            self._backlog.add(self)

    def _pass_end_on(self) -> None:
        if self._cancelled:
            return
        self.ended = True
        self._finish(tuple(self._reader.trailers))
