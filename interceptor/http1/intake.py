"""Reads what a client sends after the head of a request: the body, and bytes of later requests, which are buffered."""

from __future__ import annotations

from typing import Final

from interceptor.core.errors import BadRequest
from interceptor.core.sides import RequestEvents
from interceptor.http1.chunked import ChunkedReader, ChunkError
from interceptor.http1.closing import ClosingClient
from interceptor.http1.fields import CHUNKED
from interceptor.http1.host import ClientHost
from interceptor.http1.partial import PartialHead
from interceptor.http1.request import RequestHead
from interceptor.http1.states import BODY, COMPLETE, DISCARD, HEAD
from interceptor.transport.splice import MIN_SPLICED
from interceptor.transport.tcp import BODY_VIEW, BULK_VIEW, CHUNKS_VIEW

__all__ = ["MAX_PIPELINED_BYTES", "ReadingClient"]

MAX_PIPELINED_BYTES: Final = 32 * 1024
"""Bytes of later requests that are buffered while one is answered; beyond that, reading is paused."""


class ReadingClient(ClosingClient):
    """The part of a client connection that reads bodies and early bytes."""

    __slots__ = ("_chunks", "_exchange", "_left", "_partial", "_stash")

    def __init__(self, host: ClientHost) -> None:
        super().__init__(host)
        self._exchange: RequestEvents | None = None
        """The current exchange, which gets the body."""
        self._left = 0
        """Remaining bytes of a body with a known length."""
        self._chunks: ChunkedReader | None = None
        self._stash = b""
        """Buffered bytes of later requests (pipelining)."""
        self._partial: PartialHead | None = None
        """An incomplete head."""

    # -- bodies ---------------------------------------------------------------------------------------------------

    def _start_body(self, exchange: RequestEvents, head: RequestHead, data: bytes) -> bool:
        """Begin a body with the bytes that came with the head. Returns False if the body was refused."""
        self._state = BODY
        self._chunks = ChunkedReader() if head.length == CHUNKED else None
        self._left = head.length
        self._view = BODY_VIEW
        if data:
            self._on_body(data)
        if self._left > MIN_SPLICED:
            self._view = CHUNKS_VIEW if self.encrypted else BULK_VIEW
        elif self._chunks is not None:
            self._view = CHUNKS_VIEW
        return self._exchange is exchange

    def _on_body(self, data: bytes | memoryview) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if self._chunks is not None:
            self._on_chunks(exchange, self._chunks, bytes(data))
            return
        self._left -= len(data)
        if self._view is BULK_VIEW:
            self._on_bulk(exchange, data)
            return
        if self._left > 0:
            exchange.on_body(data, complete=False)
            return
        self._state = COMPLETE
        if self._left < 0:
            self._keep(bytes(data[self._left :]))
            data = data[: self._left]
        exchange.on_body(data, complete=True)

    def _on_bulk(self, exchange: RequestEvents, data: bytes | memoryview) -> None:
        """Pass on a small part of a large body; the rest is moved inside the kernel until little is left."""
        moved = exchange.on_bulk(data, self, self._left)
        if moved < 0:  # the other side cannot be written to inside the kernel
            self._view, moved = CHUNKS_VIEW, 0
        left = self._left = self._left - moved
        if left <= MIN_SPLICED:
            self._view = BODY_VIEW
            if not left and self._exchange is exchange:
                self._state = COMPLETE
                exchange.on_body(b"", complete=True)

    def _on_chunks(self, exchange: RequestEvents, chunks: ChunkedReader, data: bytes) -> None:
        try:
            data = chunks.feed(data)
        except ChunkError as error:
            self._exchange = None
            refusal = BadRequest(f"malformed request body: {error}", reason="framing")
            if exchange.on_broken_body(refusal):
                self._refuse(refusal)
            else:
                self.abort()
            return
        if chunks.done:
            self._state, self._chunks = COMPLETE, None
            if chunks.rest:
                self._keep(chunks.rest)
        if data or chunks.done:
            exchange.on_body(data, complete=chunks.done)
        if chunks.behind and self._chunks is chunks:
            self.fall_behind()

    # -- bytes of later requests ----------------------------------------------------------------------------------

    def _on_early(self, data: bytes) -> None:
        """Bytes of later requests, before the current one is answered."""
        self._keep(self._stash + data)

    def _keep(self, data: bytes) -> None:
        """Buffer bytes of later requests."""
        self._stash = data
        self._host.early.keep(self, len(data))
        if len(self._stash) > MAX_PIPELINED_BYTES:
            self.pause_reading()

    def _take_stash(self) -> bytes:
        self._host.early.drop(self)
        self._partial = None
        data, self._stash = self._stash, b""
        return data

    def evict(self) -> None:
        """Discard the buffered bytes, because all connections together buffer too much. The current response is the last one."""
        self._stash, self._partial = b"", None
        if self._state == HEAD:
            self._refuse(BadRequest("too many heads of requests arrive slowly", status=503, reason="slow_heads"))
        else:
            self._state = DISCARD
            self.resume_reading()

    def _next(self) -> None:
        """Read the next request, which may be buffered already."""
        if self._stash:
            self.fall_behind()
        self.resume_reading()

    def _drop_input(self) -> None:
        self._take_stash()
        self._chunks = None
