"""One connection, in either role: turns received bytes into events, and calls into bytes to send. Pure.

This module has the start, the end, and the splitting of bytes into frames. Frames about the connection are in
`interceptor.http2.core.control`, received messages in `interceptor.http2.core.inflow`, and sending in
`interceptor.http2.core.outflow`. These are base classes of each other, so that a frame costs no more calls than in one class.
"""

from __future__ import annotations

from typing import Final

from interceptor.core.messages import Fields
from interceptor.http2.core.config import DEFAULT_WINDOW, Config
from interceptor.http2.core.control import Control
from interceptor.http2.core.frames import (
    DATA,
    END_HEADERS,
    FRAME_SIZE_ERROR,
    HEAD_SIZE,
    HEADERS,
    INTERNAL_ERROR,
    LARGEST_ID,
    LAST_HEADERS,
    NO_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    ConnectionFault,
    frame,
    goaway,
    read_head,
    settings,
    window_update,
)
from interceptor.http2.core.header_rules import NO_FIELDS, NO_NAMES
from interceptor.http2.core.states import NEXT, SEND_HEADERS, SEND_HEADERS_END
from interceptor.http2.core.stream import SessionEvents, Stream, StreamEvents

__all__ = ["UNITS_BEHIND", "UNITS_PER_TURN", "Session"]

UNITS_PER_TURN: Final = 32
"""Units of work done by one call of `feed`, and by one of `go_on` on a client, which then takes about 0.1 ms. A frame is one unit
(1 to 3 µs, without the user's work), a new request four, and a field block that is not cached one per 32 bytes."""
UNITS_BEHIND: Final = 8
"""Units done by one call of `go_on` on a server. With the user's work a new request takes 0.1 ms by itself. A client that sends
hundreds at once, and perhaps resets them at once, gets on with two in each turn, and what other clients have sent comes between
them."""


class Session(Control):
    """A connection. Pass received bytes to `feed`, and write the bytes of `take_output`."""

    __slots__ = ("_kept", "_need", "_preface", "_rest", "_rest_at")

    def __init__(self, config: Config, owner: SessionEvents, *, client: bool) -> None:
        super().__init__(config, owner, client=client)
        self._preface = b"" if client else PREFACE
        """The part of the preface that was not received yet."""
        self._kept = bytearray()
        """The beginning of an incomplete frame."""
        self._need = HEAD_SIZE
        """The length of `_kept` from which on it can be processed further."""
        self._rest = b""
        """Input that waits for another turn, from `_rest_at` on."""
        self._rest_at = 0

    def start(self) -> None:
        """Send the preface (on a client), SETTINGS and the connection's window."""
        first = settings(self.config.settings(client=self._client))
        self._put(PREFACE + first if self._client else first)
        more = self.config.connection_window - DEFAULT_WINDOW
        if more:
            self._put(window_update(0, more))
            self.receive_window += more

    # -- streams of ours ------------------------------------------------------------------------------------------

    @property
    def available(self) -> int:
        """How many more streams a client may open now."""
        left = self._most_streams - len(self.streams)
        return left if left > 0 and self._next <= LARGEST_ID else 0

    def request(
        self,
        sink: StreamEvents,
        fields: Fields,
        *,
        end: bool = False,
        never: frozenset[bytes] = NO_NAMES,
        bodiless: bool = False,
        deadline: bytes = b"",
        data: bytes | memoryview = b"",
    ) -> Stream:
        """Open a stream, if one is `available`. `bodiless` for HEAD, whose response has no content; `deadline` is the value of a
        grpc-timeout that is not among the fields; `data` is all of the content."""
        stream = Stream(self._next, self.peer.window, self.config.window)
        stream.sink = sink
        stream.bodiless = bodiless
        self._next += 2
        self.streams[stream.id] = stream
        if data:
            self.send_message(stream, fields, data, NO_FIELDS, deadline)
        else:
            self._write_headers(stream, NEXT[SEND_HEADERS_END if end else SEND_HEADERS], fields, never, deadline=deadline)
        return stream

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self, code: int = NO_ERROR, message: bytes = b"") -> None:
        """End the connection at once. Streams get `on_reset`; `take_output` then has the last bytes to send."""
        if not self.closed:
            self._put(goaway(self._last, code, message))
            self.lost(code)

    def lost(self, code: int = INTERNAL_ERROR) -> None:
        """The transport was closed. Streams get `on_reset`."""
        self.closed = True
        self._most_streams = 0
        self._rest = b""
        self._kept.clear()
        self._block = None
        streams = list(self.streams.values())
        self._ready.clear()
        for stream in streams:
            self._drop(stream).on_reset(code, unprocessed=False)

    def ping(self, payload: bytes) -> None:
        """Send a PING with eight bytes, which the peer sends back."""
        self._put(frame(PING, 0, 0, payload))

    # -- bytes in -------------------------------------------------------------------------------------------------

    def feed(self, data: bytes | memoryview, now: float) -> bool:
        """Process received bytes at the time `now`. Returns whether input is left: then stop reading, and call `go_on` in later
        turns until none is left. Call `take_output` after each call. Views are not kept."""
        if self.closed:
            return False
        self.now = now
        self._units = UNITS_PER_TURN
        if self._rest:
            self._rest = self._rest[self._rest_at :] + bytes(data)
            self._rest_at = 0
            return True
        try:
            at = self._check_preface(data) if self._preface else 0
            if self._kept:
                at = self._complete(data, at)
            return self._take(data, at)
        except ConnectionFault as fault:
            self._fail(fault)
        return False

    def go_on(self, now: float) -> bool:
        """Process a bounded part of the input that is left. Returns whether there is more."""
        if self.closed:
            return False
        self.now = now
        self._units = UNITS_PER_TURN if self._client else UNITS_BEHIND
        rest, self._rest = self._rest, b""
        try:
            return self._take(rest, self._rest_at)
        except ConnectionFault as fault:
            self._fail(fault)
        return False

    def _fail(self, fault: ConnectionFault) -> None:
        """Close after a connection error of the peer."""
        message = str(fault)
        self.close(fault.code, message.encode())
        self._owner.on_closed(fault.code, message)

    def _check_preface(self, data: bytes | memoryview) -> int:
        """Returns where the preface ends. Raises ConnectionFault."""
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            raise ConnectionFault(PROTOCOL_ERROR, "this is not HTTP/2")
        self._preface = self._preface[size:]
        return size

    def _complete(self, data: bytes | memoryview, at: int) -> int:
        """Complete and process the frame that began in an earlier call. Returns where it ends, or the end of the data."""
        kept = self._kept
        while True:
            more = data[at : at + self._need - len(kept)]
            kept += more
            at += len(more)
            if len(kept) < self._need:
                return at
            size = HEAD_SIZE + (read_head(kept)[0] >> 8)
            if size <= len(kept):
                break
            self._need = size
            _check_size(size - HEAD_SIZE, self.config.frame)
        whole = bytes(kept)
        kept.clear()
        self._need = HEAD_SIZE
        word, flags, number = read_head(whole)
        self._units -= 1
        self._on_frame(word & 0xFF, flags, number & LARGEST_ID, whole[HEAD_SIZE:])
        return at

    def _take(self, data: bytes | memoryview, at: int) -> bool:
        """Process frames, within the units of this turn. Returns whether some are left. Raises ConnectionFault."""
        end, most = len(data), self.config.frame
        while end - at >= HEAD_SIZE and not self.closed:
            if self._units <= 0:
                self._leave(data, at)
                return True
            word, flags, number = read_head(data, at)
            size = word >> 8
            if size > most:
                _check_size(size, most)
            start, at = at + HEAD_SIZE, at + HEAD_SIZE + size
            if at > end:
                at = start - HEAD_SIZE
                self._need = HEAD_SIZE + size
                break
            self._units -= 1
            kind = word & 0xFF
            number &= LARGEST_ID
            if kind > HEADERS or self._block is not None or not self.ready:
                self._on_frame(kind, flags, number, data[start:at])
            elif kind == DATA:
                self._on_data(flags, number, data[start:at])
            elif flags == END_HEADERS and end - at >= HEAD_SIZE and self._whole:
                at = self._on_open_headers(number, data, start, at, end)
            elif flags == LAST_HEADERS and number > self._last and not self._client:  # as _on_headers would find in more steps
                self._on_request_block(number, 1, bytes(data[start:at]))
            else:
                self._on_headers(flags, number, bytes(data[start:at]))
        if at < end and not self.closed:
            self._kept += data[at:]
        return False

    def _leave(self, data: bytes | memoryview, at: int) -> None:
        """Keep the rest for later turns."""
        if isinstance(data, bytes):  # do not copy it in each turn
            self._rest, self._rest_at = data, at
        else:
            self._rest, self._rest_at = bytes(data[at:]), 0


def _check_size(size: int, most: int) -> None:
    """Raises ConnectionFault (4.2)."""
    if size > most:
        raise ConnectionFault(FRAME_SIZE_ERROR, "a frame that is longer than SETTINGS_MAX_FRAME_SIZE")
