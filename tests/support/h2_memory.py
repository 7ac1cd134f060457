"""An HTTP/2 session in memory: a test feeds frames, and checks events and sent frames."""

from __future__ import annotations

from hpack import Encoder

from interceptor.core.messages import Fields
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LARGEST_ID,
    PREFACE,
    RST_STREAM,
    frame,
    read_head,
    read_number,
    settings,
)
from interceptor.http2.core.header_rules import Head
from interceptor.http2.core.session import Session
from interceptor.http2.core.stream import Stream
from tests.support.h2_events import IgnoredSession, IgnoredStream

__all__ = ["GET", "OK", "POST", "Frame", "Peer", "Told", "data", "frames_of", "headers", "literal"]

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""
Told = tuple[object, ...]
"""An event: its name, the stream, and its arguments."""

GET: Fields = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.test"))
POST: Fields = ((b":method", b"POST"), *GET[1:])
OK: Fields = ((b":status", b"200"),)


def literal(fields: Fields) -> bytes:
    """A block that does not use the dynamic table, so it is decoded in the same way in any order."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, out = len(text) - 127, bytearray(b"\x7f")
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out) + text


def headers(stream: int, fields: Fields = GET, *, end: bool = True) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, literal(fields))


def data(stream: int, content: bytes, *, end: bool = False) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream, content)


def frames_of(wire: bytes) -> list[Frame]:
    found: list[Frame] = []
    at = 0
    while at < len(wire):
        word, flags, stream = read_head(wire, at)
        end = at + 9 + (word >> 8)
        found.append((word & 0xFF, flags, stream & LARGEST_ID, wire[at + 9 : end]))
        at = end
    return found


class _Sink(IgnoredStream):
    def __init__(self, peer: Peer, number: int) -> None:
        self._recorded, self._number, self._peer = peer.recorded, number, peer

    def on_headers(self, head: Head, *, end: bool) -> None:
        self._recorded.append(("headers", self._number, head.fields, end))

    def on_message(self, head: Head, data: bytes | memoryview, trailers: Fields) -> None:
        self.on_headers(head, end=False)
        self._recorded.append(("data", self._number, bytes(data), not trailers))
        if trailers:
            self.on_trailers(trailers)

    def on_data(self, data: bytes | memoryview, *, end: bool) -> None:
        self._recorded.append(("data", self._number, bytes(data), end))
        if self._peer.consumes:
            self._peer.session.consumed(self._peer.streams[self._number], len(data))

    def on_trailers(self, fields: Fields) -> None:
        self._recorded.append(("trailers", self._number, fields))

    def on_reset(self, code: int, *, unprocessed: bool) -> None:
        self._recorded.append(("reset", self._number, code, unprocessed))

    def on_writable(self) -> None:
        self._recorded.append(("writable", self._number))


class Peer(IgnoredSession):
    """A session whose events are recorded."""

    def __init__(self, config: Config | None = None, *, client: bool = False, begun: bool = True, consumes: bool = True) -> None:
        """`begun`: both sides' SETTINGS have been exchanged."""
        self.recorded: list[Told] = []
        self.streams: dict[int, Stream] = {}
        self.heads: list[Head] = []
        self.consumes = consumes
        self.outputs = 0
        self.encoder = Encoder()
        self.now = 0.0
        self.session = Session(config or Config(), self, client=client)
        self.session.start()
        if begun:
            self.feed((b"" if client else PREFACE) + settings({}) + frame(4, 1, 0, b""))
            self.wire()
            self.recorded.clear()

    # -- events ---------------------------------------------------------------------------------------------------

    def on_output(self) -> None:
        self.outputs += 1

    def on_request(self, stream: Stream, head: Head, *, end: bool, data: bytes | memoryview = b"") -> None:
        self.streams[stream.id] = stream
        stream.sink = _Sink(self, stream.id)
        self.heads.append(head)
        self.recorded.append(("request", stream.id, head.fields, end))
        if data:
            self.recorded.append(("data", stream.id, bytes(data), True))

    def on_stream_closed(self, stream: Stream) -> None:
        self.recorded.append(("closed", stream.id))

    def on_settings(self) -> None:
        self.recorded.append(("settings",))

    def on_goaway(self, code: int) -> None:
        self.recorded.append(("goaway", code))

    def on_pong(self, payload: bytes) -> None:
        self.recorded.append(("pong", payload))

    def on_closed(self, code: int, message: str) -> None:
        self.recorded.append(("connection", code, message))

    # -- called by tests ------------------------------------------------------------------------------------------

    def feed(self, wire: bytes) -> None:
        """Process all bytes, in as many turns as needed."""
        more = self.session.feed(wire, self.now)
        while more:
            more = self.session.go_on(self.now)

    def request(self, fields: Fields = GET, *, end: bool = True, bodiless: bool = False) -> Stream:
        sink = _Sink(self, 0)
        stream = self.session.request(sink, fields, end=end, bodiless=bodiless)
        sink._number = stream.id
        self.streams[stream.id] = stream
        return stream

    def wire(self) -> bytes:
        """The bytes to send."""
        return b"".join(iter(self._taken, b""))

    def _taken(self) -> bytes:
        return b"".join(self.session.take_output())

    def frames(self) -> list[Frame]:
        return frames_of(self.wire())

    def kinds(self) -> list[int]:
        return [kind for kind, *_ in self.frames()]

    def resets(self) -> list[tuple[int, int]]:
        """Streams and codes of the resets to send."""
        return [(stream, read_number(payload)) for kind, _, stream, payload in self.frames() if kind == RST_STREAM]

    def fault(self) -> int | None:
        """The error code of the connection error, if any."""
        for kind, _, _, payload in self.frames():
            if kind == GOAWAY:
                assert self.session.closed
                return read_number(payload, 4)
        assert not self.session.closed
        return None

    def only(self, *words: str) -> list[Told]:
        return [event for event in self.recorded if event[0] in words]
