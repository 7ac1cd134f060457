"""Frames that control a connection or a stream: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY
(RFC 9113 6.3 to 6.9). Pure.
"""

from __future__ import annotations

from typing import Final

from interceptor.http2.core.config import Config
from interceptor.http2.core.floods import UPDATES_PER_STREAM
from interceptor.http2.core.frames import (
    ACK,
    CONTINUATION,
    DATA,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADERS,
    LARGEST_ID,
    LARGEST_WINDOW,
    NO_ERROR,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionFault,
    frame,
    goaway,
    pack_head,
    read_number,
)
from interceptor.http2.core.inflow import PINGS, SETTINGS_FRAMES, STRAY, UPDATES
from interceptor.http2.core.states import NEXT, RECV_RESET, WIDTH
from interceptor.http2.core.stream import SessionEvents, Stream
from interceptor.http2.core.whole import WholeMessages

__all__ = ["DRAIN_PING", "STREAMS_PER_UNIT", "Control"]

DRAIN_PING: Final = b"draining"
"""Payload of a PING after the first GOAWAY; its acknowledgement shows that the peer has read that GOAWAY."""
STREAMS_PER_UNIT: Final = 8
"""Streams whose windows one SETTINGS changes for a unit of work."""
_PONG: Final = pack_head(len(DRAIN_PING) << 8 | PING, ACK, 0)
"""What precedes the payload in the acknowledgement of a PING."""


class Control(WholeMessages):
    """The part of a session that handles control frames and shutdown."""

    __slots__ = ("_acknowledged", "_draining", "_most_streams", "going_away", "ready")

    def __init__(self, config: Config, owner: SessionEvents, *, client: bool) -> None:
        super().__init__(config, owner, client=client)
        self._acknowledged = False
        self.ready = False
        """Whether the peer's first SETTINGS were received."""
        self._draining = False
        self.going_away = False
        """Whether no more streams may be opened: the peer has sent GOAWAY, or we shut down."""
        self._most_streams = config.streams
        """Maximum open streams of ours; 0 when no more may be opened."""

    def shutdown(self) -> None:
        """Accept no more streams, and let the open ones end. A server sends GOAWAY twice (6.8): the second one, with the number
        of the last stream, after the peer has received the first, or on a second call if the peer does not confirm that."""
        if self.closed or self._final:
            return
        self.going_away, self._most_streams = True, 0
        if self._client:
            self._final = True
            self._put(goaway(0, NO_ERROR, b""))
        elif self._draining:
            self._send_last_goaway()
        else:
            self._draining = True
            self._put(goaway(LARGEST_ID, NO_ERROR, b""))
            self._put(frame(PING, 0, 0, DRAIN_PING))

    def _send_last_goaway(self) -> None:
        self._final = True
        self._put(goaway(self._last, NO_ERROR, b""))

    @property
    def drained(self) -> bool:
        """Whether everything that `shutdown` waits for has ended, so that the transport can be closed."""
        return self.closed or (self._final and not self.streams)

    # -- frames ---------------------------------------------------------------------------------------------------

    def _on_frame(self, kind: int, flags: int, number: int, payload: bytes | memoryview) -> None:
        if self._block is not None and kind != CONTINUATION:
            raise ConnectionFault(PROTOCOL_ERROR, "a block of fields that is interrupted")
        if not self.ready and (kind != SETTINGS or flags & ACK):
            raise ConnectionFault(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind == WINDOW_UPDATE:  # clients of gRPC send it and PING with every few calls
            self._on_window_update(number, bytes(payload))
        elif kind == PING and not number:
            self._on_ping(flags, bytes(payload))
        elif kind == DATA:
            self._on_data(flags, number, payload)
        elif kind == HEADERS:
            self._on_headers(flags, number, bytes(payload))
        else:
            self._on_rarer_frame(kind, flags, number, bytes(payload))

    def _on_rarer_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == CONTINUATION:
            self._on_continuation(flags, number, payload)
        elif kind == RST_STREAM:
            self._on_reset(number, payload)
        elif kind == PRIORITY:
            self._on_priority(number, payload)
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(PROTOCOL_ERROR, "PUSH_PROMISE, which is off")
        elif kind > CONTINUATION:
            self._spend(STRAY)
        else:
            self._on_connection_frame(kind, flags, number, payload)

    def _on_connection_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "a frame of the connection's with a stream")
        if kind == SETTINGS:
            self._on_settings(flags, payload)
        else:
            self._on_goaway(payload)

    def _on_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise ConnectionFault(FRAME_SIZE_ERROR, "an acknowledgement with content")
            if not self._acknowledged:
                self._acknowledged = True
                self._reader.agree()
            return
        self._spend(SETTINGS_FRAMES)
        peer, before = self.peer, self.peer.window
        peer.update(payload, from_server=self._client)
        self._frame = peer.frame
        if not self.going_away:
            self._most_streams = min(peer.streams, self.config.streams)
        self._writer.resize(peer.smallest_table, peer.table)
        if peer.window != before:
            self._change_windows(peer.window - before)
        self.ready = True
        self._answer(frame(SETTINGS, ACK, 0, b""))
        self._owner.on_settings()

    def _change_windows(self, by: int) -> None:
        """Change the send windows of all streams (6.9.2). Raises ConnectionFault."""
        self._units -= len(self.streams) // STREAMS_PER_UNIT
        for stream in self.streams.values():
            stream.send_window += by
            if stream.send_window > LARGEST_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "SETTINGS that open a window above 2**31 - 1")
            self._schedule(stream)

    def _on_ping(self, flags: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "PING of a length other than eight")
        if not flags & ACK:
            self._allowance(PINGS).spend(self.now, self.progress)
            self._answer(_PONG + payload)
        elif payload == DRAIN_PING and self._draining and not self._final:
            self._send_last_goaway()
        else:
            self._owner.on_pong(payload)

    def _on_goaway(self, payload: bytes) -> None:
        if len(payload) < 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "GOAWAY that is too short")
        self._spend(STRAY)
        self.going_away, self._most_streams = True, 0
        last = read_number(payload) & LARGEST_ID
        unprocessed = [stream for stream in self.streams.values() if stream.id > last] if self._client else []
        for stream in unprocessed:
            self._remember_reset(stream.id)
            self._drop(stream).on_reset(REFUSED_STREAM, unprocessed=True)
        self._owner.on_goaway(read_number(payload, 4))

    def _on_window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "WINDOW_UPDATE of a length other than four")
        if not self._client:  # a slow backend shares its connection among many clients: all of them would lose their calls
            room = UPDATES_PER_STREAM * len(self.streams)
            self._allowance(UPDATES).spend(self.now, self.progress, 1.0 + self.wasted, room=room)
            self.wasted = 0
        more = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if number:
            self._open_window(number, more)
            return
        if not more:
            raise ConnectionFault(PROTOCOL_ERROR, "WINDOW_UPDATE by zero")
        self.send_window += more
        if self.send_window > LARGEST_WINDOW:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "the connection's window above 2**31 - 1")
        if self._ready and not self._out and self.send_window <= more:  # it was closed, and streams have waited for it
            self._owner.on_output()

    def _open_window(self, number: int, more: int) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._check_was_open(number)
        elif not more:
            self._end_stream(number, stream, PROTOCOL_ERROR)
        elif stream.send_window + more > LARGEST_WINDOW:
            self._end_stream(number, stream, FLOW_CONTROL_ERROR)
        else:
            stream.send_window += more
            self._schedule(stream)

    def _on_reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "RST_STREAM of a length other than four")
        if not number:
            raise ConnectionFault(PROTOCOL_ERROR, "RST_STREAM without a stream")
        stream = self.streams.get(number)
        if stream is None:
            self._check_was_open(number)
            self._spend(STRAY)
            return
        self._spend_reset()
        code = read_number(payload)
        unprocessed = code == REFUSED_STREAM and not stream.has_head
        stream.state = NEXT[stream.state * WIDTH + RECV_RESET]
        self._drop(stream).on_reset(code, unprocessed=unprocessed)

    def _on_priority(self, number: int, payload: bytes) -> None:
        """Ignore PRIORITY, except for errors in it (6.3)."""
        if not number:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY without a stream")
        self._spend(STRAY)
        stream = self.streams.get(number)
        if len(payload) != 5:
            self._end_priority(number, stream, FRAME_SIZE_ERROR)
        elif read_number(payload) & LARGEST_ID == number:
            self._end_priority(number, stream, PROTOCOL_ERROR)

    def _end_priority(self, number: int, stream: Stream | None, code: int) -> None:
        """Reset the stream; an idle or closed stream cannot be reset, so then it is a connection error."""
        if stream is None:
            raise ConnectionFault(code, "PRIORITY that is wrong")
        self._end_stream(number, stream, code)
