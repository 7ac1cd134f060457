"""The state of a stream, and the events for the users of streams and of connections. Pure.

The events are Protocols that users have, and do not inherit: a class of compiled code could be a base of few others.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final, Protocol

from interceptor.core.messages import Fields
from interceptor.http2.core.header_rules import NO_LENGTH, Head
from interceptor.http2.core.states import CLOSED, IDLE

__all__ = ["NO_SINK", "SessionEvents", "Stream", "StreamEvents"]


class StreamEvents(Protocol):
    """The events of a stream."""

    def on_message(self, head: Head, data: bytes | memoryview, trailers: Fields) -> None:
        """On a client whose user takes messages whole: a final head with all of its content, valid only during the call, which
        counts as consumed; and the trailers, if there are any."""

    def on_headers(self, head: Head, *, end: bool) -> None:
        """On a client: an interim head (status below 200) or the final one; `end` if no content follows."""

    def on_data(self, data: bytes | memoryview, *, end: bool) -> None:
        """More of the content, valid only during the call. Its length must be passed to `Session.consumed`, now or later."""

    def on_trailers(self, fields: Fields) -> None:
        """The message has ended, with these trailers."""

    def on_reset(self, code: int, *, unprocessed: bool) -> None:
        """The stream has ended early, by the peer or by us. `unprocessed`: the peer has not processed it, so that the request
        may be sent again."""

    def on_writable(self) -> None:
        """The stream was congested, and is not any more."""


class SessionEvents(Protocol):
    """The events of a connection."""

    whole: ClassVar[bool]
    """Whether messages that are received at once are passed on as one event, of the connection or of the stream's sink."""

    def on_output(self) -> None:
        """`take_output` has something to send, after it had nothing."""

    def on_request(self, stream: Stream, head: Head, *, end: bool, data: bytes | memoryview = b"") -> None:
        """On a server: a request was received. The callee must set the `sink` of its stream. `data` is all of its content, valid
        only during the call, if there is any and messages are passed on `whole`; it counts as consumed."""

    def on_stream_closed(self, stream: Stream) -> None:
        """The stream has ended, and does not count any more."""

    def on_settings(self) -> None:
        """The peer's settings were received, for the first time or again."""

    def on_goaway(self, code: int) -> None:
        """The peer accepts no more streams."""

    def on_pong(self, payload: bytes) -> None:
        """An acknowledged PING, requested or not."""

    def on_closed(self, code: int, message: str) -> None:
        """An error of the peer has ended the connection. `take_output` has the last bytes to send."""


class _NoUser:
    """Ignores all events of a stream."""

    __slots__ = ()

    def on_message(self, head: Head, data: bytes | memoryview, trailers: Fields) -> None:
        """Nobody wants it."""

    def on_headers(self, head: Head, *, end: bool) -> None:
        """Nobody wants it."""

    def on_data(self, data: bytes | memoryview, *, end: bool) -> None:
        """Nobody wants it. The session opens no window by it."""

    def on_trailers(self, fields: Fields) -> None:
        """Nobody wants them."""

    def on_reset(self, code: int, *, unprocessed: bool) -> None:
        """Nobody waits."""

    def on_writable(self) -> None:
        """Nobody sends."""


NO_SINK: Final[StreamEvents] = _NoUser()
"""The sink of a stream that has ended, or has no user yet."""


class Stream:
    """One request and its response. Only the session may change it, except `sink`."""

    __slots__ = (
        "bodiless",
        "congested",
        "deadline",
        "expected",
        "has_head",
        "id",
        "interims",
        "owed",
        "queue",
        "queued",
        "receive_window",
        "received",
        "scheduled",
        "send_window",
        "sink",
        "state",
        "tail",
        "unconsumed",
    )

    def __init__(
        self,
        number: int,
        send_window: int,
        receive_window: int,
        state: int = IDLE,
        expected: int = NO_LENGTH,
    ) -> None:
        """With a `state` after IDLE the peer has opened it, and its head was received."""
        self.id = number
        self.sink: StreamEvents = NO_SINK
        self.state = state
        self.has_head = state != IDLE
        """Whether the peer's final head was received."""
        self.bodiless = False
        """Whether the response has no content although it may have a content-length: the request is HEAD."""
        self.deadline = b""
        """On a server: the value of grpc-timeout, if the head is remembered without it."""
        self.expected = expected
        """The peer's content-length."""
        self.received = 0
        self.interims = 0
        self.receive_window = receive_window
        """Bytes that the peer may send."""
        self.unconsumed = 0
        """Bytes passed to the user and not yet consumed."""
        self.owed = 0
        """Consumed bytes for which no WINDOW_UPDATE was sent yet."""
        self.send_window = send_window
        """Bytes that we may send; negative after the peer has made its initial window smaller."""
        self.queue: deque[bytearray] | None = None
        """Content that waits to be sent. None if none has ever waited."""
        self.queued = 0
        """Bytes in the queue."""
        self.tail: Fields | None = None
        """Trailers after the queue; empty for an end without trailers; None if the message is not complete."""
        self.congested = False
        """Whether the user must send no more until `on_writable`."""
        self.scheduled = False
        """Whether the stream is in the session's list of streams that can send."""

    @property
    def closed(self) -> bool:
        return self.state == CLOSED

    @property
    def stalled(self) -> bool:
        """Whether queued content waits for the peer to open the stream's window."""
        return self.queued > 0 and self.send_window <= 0
