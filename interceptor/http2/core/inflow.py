"""Receives the frames of messages: HEADERS, CONTINUATION and DATA (RFC 9113 6.1, 6.2, 6.10, 8.1). Pure."""

from __future__ import annotations

from typing import Final

from interceptor.http2.core.block_reader import BlockReader
from interceptor.http2.core.config import Config
from interceptor.http2.core.floods import (
    MAX_CONTINUATIONS,
    MAX_UNTAKEN_OUTPUT,
    Allowance,
    empty_frames,
    pings,
    resets,
    settings_frames,
    stray_frames,
    window_updates,
)
from interceptor.http2.core.frames import (
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    PADDED,
    PRIORITY_FIELDS,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    ConnectionFault,
    read_number,
    reset,
)
from interceptor.http2.core.header_rules import Head, Malformed
from interceptor.http2.core.outflow import Outflow
from interceptor.http2.core.states import (
    CLOSED,
    HALF_REMOTE,
    NEXT,
    OPEN,
    RECV_DATA,
    RECV_HEADERS,
    WIDTH,
)
from interceptor.http2.core.stream import SessionEvents, Stream

__all__ = ["MAX_INTERIM", "MAX_SKIPPED", "Inflow"]

MAX_INTERIM: Final = 32
"""Maximum interim responses before a final one. Early hints come once or twice."""
MAX_SKIPPED: Final = 16
"""Remembered gaps in a client's stream numbers, to distinguish skipped streams from closed ones. No known client leaves gaps."""
TOO_LARGE: Final = 2
"""How many times the size that a list may have a block may have at most, for whose list only its stream ends."""
UNITS_PER_BLOCK: Final = 3
"""Work for a new request in addition to its frame, in units of `Session.feed`."""
BYTES_PER_UNIT: Final = 32
"""Bytes of a field block per unit of work, if the block is not cached."""

RESETS: Final = 0
SETTINGS_FRAMES: Final = 1
PINGS: Final = 2
UPDATES: Final = 3
EMPTY: Final = 4
STRAY: Final = 5
_ALLOWANCES: Final = (resets, settings_frames, pings, window_updates, empty_frames, stray_frames)


class Inflow(Outflow):
    """The half of a session that receives messages."""

    __slots__ = (
        "_allowances",
        "_block",
        "_block_flags",
        "_block_stream",
        "_client",
        "_continued",
        "_final",
        "_largest_whole",
        "_last",
        "_next",
        "_reader",
        "_skipped",
        "_units",
        "_whole",
        "now",
    )

    def __init__(self, config: Config, owner: SessionEvents, *, client: bool) -> None:
        super().__init__(config, owner)
        self._client = client
        self._whole = owner.whole
        self._largest_whole = min(config.frame, config.window)
        """Maximum content of a message that is received at once."""
        self._reader = BlockReader(config)
        self._last = 0
        """The highest accepted stream number of the peer."""
        self._next = 1
        """The number of our next stream."""
        self._final = False
        """Whether a GOAWAY with the number of the peer's last stream was sent."""
        self._skipped: list[tuple[int, int]] = []
        self._block: bytearray | None = None
        """An incomplete field block."""
        self._block_stream = self._block_flags = self._continued = 0
        self._units = 0
        """Units of work left for this turn."""
        self._allowances: dict[int, Allowance] = {}
        self.now = 0.0
        """The caller's time in seconds."""

    def _allowance(self, kind: int) -> Allowance:
        """What is left of one kind of work."""
        return self._allowances.get(kind) or self._allowances.setdefault(kind, _ALLOWANCES[kind]())

    def _spend(self, kind: int) -> None:
        """Charge a unit of work to an allowance. Raises ConnectionFault if it is used up."""
        self._allowance(kind).spend(self.now, self.completed if kind == RESETS else self.progress)

    def _spend_reset(self) -> None:
        """Count a reset. Not on a client, because a backend that resets our streams causes no work. Raises ConnectionFault."""
        if not self._client:
            self._spend(RESETS)

    def _answer(self, piece: bytes) -> None:
        """Send an answer to a frame. Raises ConnectionFault if the peer does not read the answers that it causes."""
        self._put(piece)
        if self._out_size > MAX_UNTAKEN_OUTPUT:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "frames whose answers are not read")

    def _end_stream(self, number: int, stream: Stream | None, code: int) -> None:
        """Reset a stream after a stream error of the peer (5.4.2)."""
        self._spend_reset()
        self._answer(reset(number, code))
        self._remember_reset(number)
        if stream is not None:
            self._drop(stream).on_reset(code, unprocessed=False)

    # -- HEADERS and CONTINUATION ---------------------------------------------------------------------------------

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & (PADDED | PRIORITY_FIELDS | END_HEADERS) == END_HEADERS:
            stream = self.streams.get(number)
            if stream is not None:
                self._on_later_block(stream, flags & 1, payload)
                return
        own = False
        if flags & (PADDED | PRIORITY_FIELDS):
            payload, own = _without_extras(flags, number, payload)
        if flags & END_HEADERS:
            self._on_block(number, flags & 1, payload, own=own)
        elif not number:
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS without a stream")
        else:
            self._block = bytearray(payload)
            self._block_stream, self._block_flags = number, flags & 1 | (2 if own else 0)
            self._continued = 0
            self._bound_block(self._block)

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        block = self._block
        if block is None or number != self._block_stream:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION that continues nothing")
        block += payload
        self._continued += 1
        self._bound_block(block)
        if flags & END_HEADERS:
            self._block = None
            self._on_block(number, self._block_flags & 1, bytes(block), own=self._block_flags > 1)

    def _bound_block(self, block: bytearray) -> None:
        """Raises ConnectionFault for a block that is far too long. One of a list that is only too large ends its own stream: what
        else is on the connection may be of others, behind a proxy."""
        if self._continued > MAX_CONTINUATIONS or len(block) > TOO_LARGE * self.config.list_size:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a block of fields that does not end")

    def _on_block(self, number: int, end: int, block: bytes, *, own: bool) -> None:
        """A complete block. It must always be decoded, because it may change the dynamic table."""
        stream = self.streams.get(number)
        if own:  # a stream that depends on itself, which is an error
            self._reader.fields(block)
            if stream is None:
                self._take_number(number)
            self._end_stream(number, stream, PROTOCOL_ERROR)
        elif stream is not None:
            self._on_later_block(stream, end, block)
        elif not self._client and number > self._last:
            self._on_request_block(number, end, block)
        else:
            self._on_late_block(number, block)

    def _on_request_block(self, number: int, end: int, block: bytes, content: bytes | memoryview = b"") -> bool:
        """The head of a request, and perhaps all of its `content`. Returns whether that was passed on as well."""
        if number == self._last + 2 and number & 1 and not self._final:
            self._last = number
        else:
            self._take_number(number)
        head, deadline = self._reader.heads.get(block), b""
        if head is None:
            self._units -= len(block) // BYTES_PER_UNIT
            try:
                head = self._reader.request(block)
            except Malformed:
                self._end_stream(number, None, PROTOCOL_ERROR)
                return False
            deadline = self._reader.deadline
        self._units -= UNITS_PER_BLOCK
        if self._final:
            self._spend(STRAY)
            return False
        if len(self.streams) >= self.config.streams:
            self._end_stream(number, None, REFUSED_STREAM)
            return False
        if end and head.length > 0:
            self._end_stream(number, None, PROTOCOL_ERROR)
            return False
        if self._out_size > MAX_UNTAKEN_OUTPUT:
            self._answer(b"")
        length, size = head.length, len(content)
        whole = size > 0 and (length < 0 or length == size)
        state = HALF_REMOTE if end or whole else OPEN
        stream = self.streams[number] = Stream(number, self.peer.window, self.config.window, state, length)
        stream.deadline = deadline
        if not whole:
            self._owner.on_request(stream, head, end=end != 0)
            return False
        self._units -= 1
        self.receive_window -= size
        stream.unconsumed = size
        self._owner.on_request(stream, head, end=False, data=content)
        self._owed += stream.unconsumed  # its user keeps no more of it than it would anyway
        stream.unconsumed = 0
        if self._owed * 2 >= self.config.connection_window:
            self._owe(0)
        return True

    def _take_number(self, number: int) -> None:
        """Check and record the number of a new stream of the peer (5.1.1). Raises ConnectionFault."""
        if self._client or not number & 1 or number <= self._last:
            raise ConnectionFault(PROTOCOL_ERROR, "a stream of a number that it cannot have")
        if number > self._last + 2 and len(self._skipped) < MAX_SKIPPED:
            self._skipped.append((self._last + 1, number - 1))
        if not self._final:
            self._last = number

    def _on_later_block(self, stream: Stream, end: int, block: bytes) -> None:
        state = NEXT[stream.state * WIDTH + RECV_HEADERS + end]
        if state < 0:
            self._reader.fields(block)
            self._end_stream(stream.id, stream, STREAM_CLOSED)
        elif stream.has_head:
            self._on_trailers(stream, state, end, block)
        else:
            self._on_response(stream, state, end, block)

    def _on_trailers(self, stream: Stream, state: int, end: int, block: bytes) -> None:
        fields = self._reader.trailers.get(block)
        if fields is None:
            self._units -= len(block) // BYTES_PER_UNIT
            try:
                fields = self._reader.trailer(block)
            except Malformed:
                self._end_stream(stream.id, stream, PROTOCOL_ERROR)
                return
        if not end or 0 <= stream.expected != stream.received:
            self._end_stream(stream.id, stream, PROTOCOL_ERROR)
            return
        stream.state = state
        stream.sink.on_trailers(fields)
        if state == CLOSED:
            self._finish(stream)

    def _on_response(self, stream: Stream, state: int, end: int, block: bytes) -> None:
        head = self._reader.heads.get(block)
        if head is None:
            self._units -= len(block) // BYTES_PER_UNIT
            try:
                head = self._reader.response(block)
            except Malformed:
                self._end_stream(stream.id, stream, PROTOCOL_ERROR)
                return
        if head.status < 200:
            self._on_interim(stream, end, head)
            return
        stream.has_head = True
        stream.expected = 0 if stream.bodiless or head.status == 204 or head.status == 304 else head.length  # noqa: PLR1714 -- quicker
        if end and stream.expected > 0:
            self._end_stream(stream.id, stream, PROTOCOL_ERROR)
            return
        stream.state = state
        stream.sink.on_headers(head, end=end != 0)
        if state == CLOSED:
            self._finish(stream)

    def _on_interim(self, stream: Stream, end: int, head: Head) -> None:
        stream.interims += 1
        if end or head.status == 101:
            self._end_stream(stream.id, stream, PROTOCOL_ERROR)
        elif stream.interims > MAX_INTERIM:
            self._end_stream(stream.id, stream, ENHANCE_YOUR_CALM)
        else:
            stream.sink.on_headers(head, end=False)

    def _on_late_block(self, number: int, block: bytes) -> None:
        """A block for a stream that is not open. Raises ConnectionFault, unless we have reset the stream."""
        self._reader.fields(block)
        self._check_was_open(number)
        self._check_is_late(number)
        self._spend(STRAY)

    def _check_was_open(self, number: int) -> None:
        """Raises ConnectionFault for an idle stream, which has not been opened (5.1)."""
        ours = bool(number & 1) == self._client
        if ours and self._client:
            idle = number >= self._next
        else:
            idle = ours or number > self._last or any(first <= number <= last for first, last in self._skipped)
        if idle and not (self._final and not ours and number & 1):
            raise ConnectionFault(PROTOCOL_ERROR, "a frame for a stream that was not begun")

    def _check_is_late(self, number: int) -> None:
        """Raises ConnectionFault, unless the peer may have sent the frame before it knew that the stream was closed."""
        if number not in self._reset_ids and number > self._forgotten and not (self._final and number > self._last):
            raise ConnectionFault(STREAM_CLOSED, "a frame for a stream that is over")

    # -- DATA -----------------------------------------------------------------------------------------------------

    def _on_data(self, flags: int, number: int, payload: bytes | memoryview) -> None:
        size = len(payload)
        if size > self.receive_window:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more than the connection's window")
        self.receive_window -= size
        stream = self.streams.get(number)
        if stream is None:
            self._on_late_data(flags, number, payload)
            return
        end = flags & 1
        state = NEXT[stream.state * WIDTH + RECV_DATA + end]
        if state < 0 or not stream.has_head or size > stream.receive_window:
            self._on_wrong_data(stream, state, flags, payload)
            return
        stream.receive_window -= size
        if flags & PADDED:
            payload = _without_padding(payload)
            padding, size = size - len(payload), len(payload)
            self._owe(padding)
            stream.owed += padding
        if not size and not end:
            self._spend(EMPTY)
            return
        stream.received = received = stream.received + size
        if stream.expected >= 0 and (received > stream.expected or (end and received < stream.expected)):
            self._owe(size)
            self._end_stream(number, stream, PROTOCOL_ERROR)
            return
        stream.unconsumed += size
        stream.state = state
        stream.sink.on_data(payload, end=end != 0)
        if state == CLOSED:
            self._finish(stream)

    def _on_wrong_data(self, stream: Stream, state: int, flags: int, payload: bytes | memoryview) -> None:
        if flags & PADDED:
            _without_padding(payload)
        self._owe(len(payload))
        code = PROTOCOL_ERROR if not stream.has_head else FLOW_CONTROL_ERROR
        if state < 0:
            code = STREAM_CLOSED
        self._end_stream(stream.id, stream, code)

    def _on_late_data(self, flags: int, number: int, payload: bytes | memoryview) -> None:
        """DATA for a stream that is not open. It still counts in the connection's window."""
        if not number:
            raise ConnectionFault(PROTOCOL_ERROR, "DATA without a stream")
        self._check_was_open(number)
        self._check_is_late(number)
        if flags & PADDED:
            _without_padding(payload)
        size = len(payload)
        if not size:  # frames with content are limited by the windows, as on open streams
            self._spend(EMPTY)
        self._owe(size)


def _without_padding(payload: bytes | memoryview) -> bytes | memoryview:
    """The payload without its padding. Raises ConnectionFault (6.1)."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _without_extras(flags: int, number: int, payload: bytes) -> tuple[bytes, bool]:
    """HEADERS without padding and priority, and whether the stream depends on itself. Raises ConnectionFault."""
    if flags & PADDED:
        payload = bytes(_without_padding(payload))
    if not flags & PRIORITY_FIELDS:
        return payload, False
    if len(payload) < 5:
        raise ConnectionFault(PROTOCOL_ERROR, "HEADERS that are shorter than their priority")
    return payload[5:], read_number(payload) & 0x7FFFFFFF == number
