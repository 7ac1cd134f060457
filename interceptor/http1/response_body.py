"""Reads the body of a backend's response: finds its end by length, chunks or the end of the connection, and passes it on.

A large body of known length is moved from socket to socket inside the kernel, after its first bytes.
"""

from __future__ import annotations

from interceptor.core.deadlines import NEVER
from interceptor.core.errors import BadResponse
from interceptor.core.messages import Fields
from interceptor.core.sides import ResponseEvents
from interceptor.http1.backend_states import CHUNKS, IDLE, LENGTH, UNTIL_CLOSE
from interceptor.http1.chunked import ChunkedReader, ChunkError
from interceptor.http1.fields import CHUNKED
from interceptor.http1.response import UNTIL_CLOSE as WITHOUT_LENGTH
from interceptor.http1.response import ResponseHead
from interceptor.transport.splice import MIN_SPLICED
from interceptor.transport.tcp import BODY_VIEW, BULK_VIEW, CHUNKS_VIEW, Connection, Outbox

__all__ = ["ReadingBackend"]


class ReadingBackend(Connection):
    """The part of a backend connection that reads bodies of responses."""

    __slots__ = ("_chunks", "_left", "_reusable", "_sink", "_state", "_view")

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(outbox, deadline=NEVER)  # the idle timeout in the pool
        self._state = IDLE
        """One of `interceptor.http1.backend_states`."""
        self._sink: ResponseEvents | None = None
        """The exchange that receives the response."""
        self._left = 0
        """Remaining bytes of a body with a known length."""
        self._chunks: ChunkedReader | None = None
        self._view = BODY_VIEW
        """The buffer for reads."""
        self._reusable = True
        """Whether the connection can be used for another request, as far as known."""

    def _unasked(self) -> None:
        """Bytes arrived that belong to no response."""
        raise NotImplementedError

    def _start_body(self, sink: ResponseEvents, head: ResponseHead, body: bytes | memoryview) -> None:
        if head.length == CHUNKED:
            self._state = CHUNKS
            self._chunks = ChunkedReader(plain=sink.unframed, lenient=True)
            self._view = CHUNKS_VIEW
        elif head.length == WITHOUT_LENGTH:
            self._state, self._view = UNTIL_CLOSE, CHUNKS_VIEW
            self._reusable = False
        else:
            self._state = LENGTH
            self._left = head.length
            if head.length - len(body) <= MIN_SPLICED:
                self._view = BODY_VIEW
            else:
                self._view = CHUNKS_VIEW if self.encrypted else BULK_VIEW
        if not body:
            sink.on_answer(head, b"", complete=False, reusable=False)
        elif self._state == CHUNKS:
            self._start_chunks(sink, head, bytes(body))
        else:
            first, extra = (body, b"") if self._state == UNTIL_CLOSE else (body[: self._left], body[self._left :])
            self._left -= len(first)
            complete = self._state == LENGTH and not self._left
            if complete:
                self._state = IDLE
            sink.on_answer(head, first, complete=complete, reusable=not extra and self._reusable)

    def _start_chunks(self, sink: ResponseEvents, head: ResponseHead, body: bytes) -> None:
        chunks = self._chunks
        assert chunks is not None  # noqa: S101
        try:
            data = chunks.feed(body)
        except ChunkError as error:
            self._fail(sink, BadResponse(str(error)))
            return
        if chunks.done:
            self._end_chunks()
            self._reusable = self._reusable and not chunks.rest
        complete = chunks.done and not chunks.trailers
        sink.on_answer(head, data, complete=complete, reusable=self._reusable)
        if chunks.trailers and chunks.done and self._sink is sink:
            sink.on_answer_end(reusable=self._reusable, trailers=tuple(chunks.trailers))
        if chunks.behind and self._chunks is chunks:
            self.fall_behind()

    def _on_body(self, sink: ResponseEvents, data: memoryview) -> None:
        if self._state == LENGTH:
            self._left -= len(data)
            if self._view is BULK_VIEW:
                self._on_bulk(sink, data)
            elif self._left > 0:
                sink.on_answer_data(data)
            else:
                if self._left < 0:
                    self._reusable = False
                    data = data[: self._left]
                self._finish(sink, data)
        elif self._state == CHUNKS:
            self._on_chunks(sink, bytes(data))
        elif self._state == UNTIL_CLOSE:
            sink.on_answer_data(data)
        else:
            self._unasked()

    def _on_bulk(self, sink: ResponseEvents, data: memoryview) -> None:
        """Pass on a small part of a large body; the rest is moved inside the kernel until little is left."""
        moved = sink.on_answer_bulk(data, self, self._left)
        if moved < 0:  # the other side cannot be written to inside the kernel
            self._view, moved = CHUNKS_VIEW, 0
        left = self._left = self._left - moved
        if left <= MIN_SPLICED:
            self._view = BODY_VIEW
            if not left and self._sink is sink:
                self._finish(sink, b"")

    def _on_chunks(self, sink: ResponseEvents, data: bytes) -> None:
        chunks = self._chunks
        assert chunks is not None  # noqa: S101
        try:
            data = chunks.feed(data)
        except ChunkError as error:
            self._fail(sink, BadResponse(str(error)))
            return
        if not chunks.done:
            if data:
                sink.on_answer_data(data)
            if chunks.behind and self._chunks is chunks:
                self.fall_behind()
            return
        self._end_chunks()
        self._reusable = self._reusable and not chunks.rest
        self._finish(sink, data, tuple(chunks.trailers))

    def _end_chunks(self) -> None:
        self._state, self._chunks = IDLE, None
        self._view = BODY_VIEW

    def go_on(self) -> bool:
        """Parse more of the chunks that were read."""
        chunks, sink = self._chunks, self._sink
        if chunks is not None and sink is not None and self._state == CHUNKS:
            self._on_chunks(sink, b"")
        return self._state == CHUNKS and self._chunks is not None and self._chunks.behind

    def _finish(self, sink: ResponseEvents, data: bytes | memoryview, trailers: Fields = ()) -> None:
        self._state = IDLE
        if data:
            sink.on_answer_data(data)
        if self._sink is sink:  # the client may have left while the last bytes were written
            sink.on_answer_end(reusable=self._reusable, trailers=trailers)

    def _fail(self, sink: ResponseEvents, error: Exception) -> None:
        self.abort()
        sink.on_lost(error)
