"""Sends frames, in order, and queues content while windows are closed (RFC 9113 5.2). Pure.

Frames without flow control are written at once. So is DATA, if both windows, the transport and the other streams allow it.
Otherwise it is queued in its stream, and the streams that can send do so in rotation, one frame each.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from interceptor.core.messages import Fields
from interceptor.http2.core.block_writer import BlockWriter, deadline_literal
from interceptor.http2.core.config import DEFAULT_WINDOW, Config, PeerSettings
from interceptor.http2.core.floods import MIN_USEFUL_DATA
from interceptor.http2.core.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INTERNAL_ERROR,
    pack_head,
    reset,
    window_update,
)
from interceptor.http2.core.header_rules import NO_FIELDS, NO_NAMES
from interceptor.http2.core.states import (
    CLOSED,
    HALF_LOCAL,
    NEXT,
    SEND_DATA,
    SEND_DATA_END,
    SEND_HEADERS,
    SEND_HEADERS_END,
    SEND_RESET,
    WIDTH,
)
from interceptor.http2.core.stream import NO_SINK, SessionEvents, Stream, StreamEvents

__all__ = ["MAX_QUEUED", "MAX_RESET_IDS", "OUTPUT_BYTES", "QUEUE_HIGH", "QUEUE_LOW", "TOTAL_HIGH", "Outflow"]

OUTPUT_BYTES: Final = 64 * 1024
"""DATA of one write: as much as a socket's buffer takes, and so little that other connections get their turn."""
QUEUE_HIGH: Final = 64 * 1024
"""Queued bytes of one stream above which its user must stop sending."""
QUEUE_LOW: Final = 16 * 1024
"""Queued bytes below which the user may continue, early enough that the queue does not run empty."""
TOTAL_HIGH: Final = 1 << 20
"""Queued bytes of all streams of a connection above which the user of each must stop as soon as something of its own is queued. A
peer that opens no windows is else sent dozens of times `QUEUE_HIGH`, and a read more for each."""
PIECE_BYTES: Final = 16 * 1024
"""Small pieces in the queue are joined up to this size, because each has an overhead of about 100 bytes of memory."""
MAX_QUEUED: Final = 2 << 20
"""Queued bytes of one stream above which it is reset, because its user did not stop when it was congested. There is room for one
more read of 256 KiB after that, and for a large page of our own."""
MAX_RESET_IDS: Final = 1024
"""Remembered streams that we have reset: frames for them may still be on their way. Frames for older streams are ignored too."""


class Outflow:
    """The sending half of a session."""

    __slots__ = (
        "_forgotten",
        "_frame",
        "_out",
        "_out_size",
        "_owed",
        "_owner",
        "_ready",
        "_reset_ids",
        "_writer",
        "closed",
        "completed",
        "config",
        "held",
        "peer",
        "progress",
        "queued",
        "receive_window",
        "send_window",
        "streams",
        "wasted",
    )

    def __init__(self, config: Config, owner: SessionEvents) -> None:
        self.config = config
        self.peer = PeerSettings()
        self._owner = owner
        self._writer = BlockWriter()
        self.streams: dict[int, Stream] = {}
        """The open ones, by their numbers. Only the session changes it."""
        self._ready: deque[Stream] = deque()
        """Streams with queued content and an open window, in the order of their turns."""
        self._out: list[bytes] = []
        self._out_size = 0
        self._frame = self.peer.frame
        self._reset_ids: dict[int, None] = {}
        self._forgotten = 0
        """The highest stream number that was removed from `_reset_ids`."""
        self.send_window = DEFAULT_WINDOW
        self.receive_window = DEFAULT_WINDOW
        self._owed = 0
        """Consumed bytes for which no WINDOW_UPDATE of the connection was sent yet."""
        self.held = False
        """Whether the transport accepts no more for now."""
        self.closed = False
        self.queued = 0
        """Bytes queued in all streams."""
        self.progress = 0
        """Number of useful frames sent, which earns the peer allowance."""
        self.wasted = 0
        """Frames that were small because a window was small, since the peer was last charged for them."""
        self.completed = 0
        """Streams that ended regularly."""

    # -- the transport --------------------------------------------------------------------------------------------

    def take_output(self) -> list[bytes]:
        """The bytes of the next write; empty if there are none, or the transport accepts no more. Call it until it is empty: each
        call returns at most about `OUTPUT_BYTES` of content."""
        if self.held and not self.closed:
            return []
        if self._ready:
            self._pump()
        out, self._out = self._out, []
        self._out_size = 0
        return out

    def hold(self) -> None:
        """The transport accepts no more for now."""
        self.held = True

    def release(self) -> None:
        """The transport accepts more. Call `take_output` afterwards."""
        self.held = False

    @property
    def pending(self) -> bool:
        """Whether `take_output` would return something."""
        return bool(self._out or (self._ready and self.send_window > 0)) and (not self.held or self.closed)

    @property
    def clogged(self) -> bool:
        """Whether to stop reading from the peer, because it does not read the answers to its frames. Content is not counted, so
        two peers that wait for each other's windows do not block each other."""
        return self.held and self._out_size > OUTPUT_BYTES

    # -- the user of a stream -------------------------------------------------------------------------------------

    def send_headers(self, stream: Stream, fields: Fields, *, end: bool = False, never: frozenset[bytes] = NO_NAMES) -> None:
        """Send the head of a response, or an interim one. No effect if the stream has ended."""
        state = NEXT[stream.state * WIDTH + (SEND_HEADERS_END if end else SEND_HEADERS)]
        if state >= 0 and not stream.queued and stream.tail is None:
            self._write_headers(stream, state, fields, never)

    def send_data(self, stream: Stream, data: bytes | memoryview, *, end: bool = False) -> None:
        """Send or queue content; `end` if it is the last. Check `stream.congested` afterwards. No effect if the stream has
        ended."""
        size = len(data)
        if (
            size <= stream.send_window
            and size <= self.send_window
            and not self._ready
            and not stream.queued
            and self._out_size < OUTPUT_BYTES
            and size <= self._frame
            and not self.held
            and (size or end)
        ):
            state = NEXT[stream.state * WIDTH + (SEND_DATA_END if end else SEND_DATA)]
            if state >= 0:
                self._write_data(stream, state, data, size, END_STREAM if end else 0)
                self.progress += 1
        elif NEXT[stream.state * WIDTH + SEND_DATA] >= 0 and stream.tail is None:
            self._enqueue(stream, data, size, end=end)

    def send_trailers(self, stream: Stream, fields: Fields) -> None:
        """End the message with trailers, after queued content."""
        if not fields:
            self.send_data(stream, b"", end=True)
            return
        state = NEXT[stream.state * WIDTH + SEND_HEADERS_END]
        if state < 0 or stream.tail is not None:
            return
        if stream.queued:
            stream.tail = fields
        else:
            writer = self._writer
            block = writer.tail if fields is writer.trailers else writer.find_tail(fields)
            self._write_headers(stream, state, fields, NO_NAMES, block=block)

    def reset(self, stream: Stream, code: int) -> None:
        """Reset the stream. Its user, which calls this, gets no event."""
        if NEXT[stream.state * WIDTH + SEND_RESET] >= 0:
            self._put(reset(stream.id, code))
            self._remember_reset(stream.id)
            self._drop(stream)

    def consumed(self, stream: Stream, size: int) -> None:
        """The user has freed `size` bytes of content: the peer may send as many again."""
        size = min(size, stream.unconsumed)
        stream.unconsumed -= size
        stream.owed += size
        self._owed += size
        if self._owed * 2 >= self.config.connection_window:
            self._owe(0)
        if stream.owed * 2 >= self.config.window and NEXT[stream.state * WIDTH] >= 0:
            self._put(window_update(stream.id, stream.owed))
            stream.receive_window += stream.owed
            stream.owed = 0

    # -- writing --------------------------------------------------------------------------------------------------

    def _put(self, piece: bytes) -> None:
        if not self._out:
            self._owner.on_output()
        self._out.append(piece)
        self._out_size += len(piece)

    def _write_headers(
        self, stream: Stream, state: int, fields: Fields, never: frozenset[bytes], *, deadline: bytes = b"", block: bytes = b""
    ) -> None:
        """`block`: that of the fields, if it is known."""
        if not block:
            writer = self._writer
            block = writer.encode(fields, never) if never else writer.block if fields is writer.fields else writer.find(fields)
        if deadline:
            block += deadline_literal(deadline)
        ends = END_STREAM if state == HALF_LOCAL or state == CLOSED else 0  # noqa: PLR1714, SIM109 -- quicker
        size = len(block)
        if size <= self._frame:
            piece = pack_head(size << 8 | HEADERS, END_HEADERS | ends, stream.id) + block
            if not self._out:
                self._owner.on_output()
            self._out.append(piece)
            self._out_size += len(piece)
        else:
            self._put_large_block(stream.id, block, ends)
        self.progress += 1
        stream.state = state
        if state == CLOSED:
            self._finish(stream)

    def _put_large_block(self, number: int, block: bytes, ends: int) -> None:
        """Send a block as HEADERS and CONTINUATION frames."""
        at, most, size = 0, self._frame, len(block)
        while at < size:
            part = block[at : at + most]
            at += most
            kind = HEADERS if at == most else CONTINUATION
            flags = (ends if kind == HEADERS else 0) | (END_HEADERS if at >= size else 0)
            self._put(pack_head(len(part) << 8 | kind, flags, number) + part)

    def _write_data(self, stream: Stream, state: int, data: bytes | memoryview, size: int, flags: int) -> None:
        stream.send_window -= size
        self.send_window -= size
        piece = b"".join((pack_head(size << 8 | DATA, flags, stream.id), data))
        if not self._out:
            self._owner.on_output()
        self._out.append(piece)
        self._out_size += len(piece)
        if state != stream.state:
            stream.state = state
            if state == CLOSED:
                self._finish(stream)

    def _enqueue(self, stream: Stream, data: bytes | memoryview, size: int, *, end: bool) -> None:
        if end and not size and not stream.queued:  # an empty frame needs no window
            self._write_data(stream, NEXT[stream.state * WIDTH + SEND_DATA_END], b"", 0, END_STREAM)
            return
        if end:
            stream.tail = NO_FIELDS
        if not size:
            return
        if stream.queue is None:
            stream.queue = deque()
        queue = stream.queue
        if queue and len(queue[-1]) + size <= PIECE_BYTES:
            queue[-1] += data
        else:
            queue.append(bytearray(data))
        stream.queued += size
        self.queued += size
        if stream.queued > MAX_QUEUED:
            sink = stream.sink
            self.reset(stream, INTERNAL_ERROR)
            sink.on_reset(INTERNAL_ERROR, unprocessed=False)
        elif stream.queued > QUEUE_HIGH or self.queued > TOTAL_HIGH:
            stream.congested = True
        self._schedule(stream)

    def _schedule(self, stream: Stream) -> None:
        """Add the stream to the rotation, if it can send."""
        if stream.queued and not stream.scheduled and stream.send_window > 0:
            stream.scheduled = True
            if not self._ready and not self._out and self.send_window > 0:
                self._owner.on_output()
            self._ready.append(stream)

    def _pump(self) -> None:
        """Let the streams send in rotation, until there is enough for one write."""
        ready = self._ready
        while ready and self.send_window > 0 and self._out_size < OUTPUT_BYTES and not self.held:
            stream = ready.popleft()
            stream.scheduled = False
            if stream.queued and stream.send_window > 0:
                self._write_queued(stream)
                self._schedule(stream)
                if stream.congested and stream.queued <= QUEUE_LOW:
                    stream.congested = False
                    stream.sink.on_writable()

    def _write_queued(self, stream: Stream) -> None:
        """Write one DATA frame from the stream's queue."""
        queue = stream.queue
        assert queue is not None  # noqa: S101 -- something is queued
        most = min(self._frame, stream.send_window, self.send_window)
        pieces: list[bytearray] = []
        size = 0
        while queue and size < most:
            piece = queue[0]
            if len(piece) <= most - size:
                queue.popleft()
            else:
                piece = piece[: most - size]
                del queue[0][: len(piece)]  # does not move the remaining bytes
            size += len(piece)
            pieces.append(piece)
        stream.queued -= size
        self.queued -= size
        last = not queue
        if last or size >= MIN_USEFUL_DATA:
            self.progress += 1
        else:
            self.wasted += 1
        tail = stream.tail if last else None
        ends = tail is not None and not tail
        state = NEXT[stream.state * WIDTH + (SEND_DATA_END if ends else SEND_DATA)]
        self._write_data(stream, state, b"".join(pieces), size, END_STREAM if ends else 0)
        if tail:
            self._write_headers(stream, NEXT[stream.state * WIDTH + SEND_HEADERS_END], tail, NO_NAMES)

    # -- the end of streams ---------------------------------------------------------------------------------------

    def _finish(self, stream: Stream) -> None:
        """The stream has ended regularly."""
        if self.streams.pop(stream.id, None) is not None:
            self.completed += 1
            self._owner.on_stream_closed(stream)
            stream.sink = NO_SINK

    def _drop(self, stream: Stream) -> StreamEvents:
        """End the stream early: discard everything that is kept for it. Returns the sink, which the caller must inform."""
        sink = stream.sink
        stream.state = CLOSED
        self.queued -= stream.queued
        stream.queued = 0
        stream.queue = stream.tail = None
        stream.congested = False
        size, stream.unconsumed = stream.unconsumed, 0
        if not self.closed:
            self._owe(size)
        if self.streams.pop(stream.id, None) is not None:
            self._owner.on_stream_closed(stream)
        stream.sink = NO_SINK  # breaks a reference cycle
        return sink

    def _owe(self, size: int) -> None:
        """Add to the bytes by which the connection's window is opened again."""
        self._owed += size
        if self._owed * 2 >= self.config.connection_window:
            self._put(window_update(0, self._owed))
            self.receive_window += self._owed
            self._owed = 0

    def _remember_reset(self, number: int) -> None:
        self._reset_ids[number] = None
        if len(self._reset_ids) > MAX_RESET_IDS:
            oldest = next(iter(self._reset_ids))
            del self._reset_ids[oldest]
            self._forgotten = max(self._forgotten, oldest)
