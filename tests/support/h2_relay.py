"""Unary gRPC calls through two sessions, as a proxy relays them: a server session to the client, a client session to the backend.

The bytes of both peers are prepared; `tests/unit/interceptor/http2/test_warm_relay.py` counts the function calls of one relayed
call, and `python -m tests.support.h2_relay` measures its time.
"""

from __future__ import annotations

import gc
from statistics import median
from time import process_time

from hpack import Encoder

from interceptor.core.messages import Fields
from interceptor.http2.core.config import DEFAULT_WINDOW, Config
from interceptor.http2.core.frames import LARGEST_WINDOW, PREFACE, frame, settings, window_update
from interceptor.http2.core.header_rules import Head
from interceptor.http2.core.session import Session
from interceptor.http2.core.stream import Stream
from tests.support.h2_events import IgnoredSession, IgnoredStream

__all__ = ["Relay"]

# As grpc-go and ghz send them.
REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/helloworld.Greeter/SayHello"),
    (b":authority", b"127.0.0.1:50051"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"ghz/0.120.0 grpc-go/1.65.0"),
    (b"te", b"trailers"),
]
RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
MESSAGE = b"\x00\x00\x00\x00\x07\x0a\x05world"
ANSWER = b"\x00\x00\x00\x00\x0d\x0a\x0bHello world"


class _Call(IgnoredStream):
    """One side of a call: its events are passed on to the other side's stream."""

    __slots__ = ("other", "session", "stream", "to")

    def __init__(self, session: Session, to: Session) -> None:
        self.session, self.to = session, to
        self.stream: Stream
        self.other: Stream

    def on_headers(self, head: Head, *, end: bool) -> None:
        self.to.send_headers(self.other, head.fields, end=end)

    def on_data(self, data: bytes | memoryview, *, end: bool) -> None:
        self.to.send_data(self.other, data, end=end)
        self.session.consumed(self.stream, len(data))

    def on_trailers(self, fields: Fields) -> None:
        self.to.send_trailers(self.other, fields)


class Relay(IgnoredSession):
    """Both sessions, and the bytes of their peers."""

    __slots__ = ("_encoder", "_timeouts", "answers", "backend", "client", "requests", "status")

    def __init__(self, *, timeouts: bool = False) -> None:
        self.client = Session(Config(), self, client=False)
        self.backend = Session(Config(connection_window=1 << 23), self, client=True)
        self.client.start()
        self.backend.start()
        wide = window_update(0, LARGEST_WINDOW - DEFAULT_WINDOW)  # so that the peers send no window updates
        self.client.feed(PREFACE + settings({}) + wide, 0.0)
        self.backend.feed(settings({}) + wide, 0.0)
        self._encoder, self.status = Encoder(), Encoder()
        self._timeouts = timeouts

    def on_request(self, stream: Stream, head: Head, *, end: bool, data: bytes | memoryview = b"") -> None:
        ours, theirs = _Call(self.client, self.backend), _Call(self.backend, self.client)
        ours.stream = theirs.other = stream
        stream.sink = ours
        theirs.stream = ours.other = self.backend.request(theirs, head.fields, end=end, deadline=stream.deadline)

    def call(self, number: int) -> tuple[bytes, bytes]:
        """The bytes that client and backend send in the next call, on stream `number`."""
        fields = REQUEST
        if self._timeouts:  # a deadline has another value in every call
            fields = [*REQUEST, (b"grpc-timeout", b"%du" % (19_999_999 - number))]
        request = frame(1, 4, number, self._encoder.encode(fields)) + frame(0, 1, number, MESSAGE)
        answer = (
            frame(1, 4, number, self.status.encode(RESPONSE))
            + frame(0, 0, number, ANSWER)
            + frame(1, 5, number, self.status.encode(TRAILERS))
        )
        return request, answer

    def relay(self, request: bytes, answer: bytes) -> tuple[bytes, bytes]:
        """The bytes sent to the backend, and to the client."""
        self.client.feed(request, 0.0)
        to_backend = b"".join(self.backend.take_output())
        self.backend.feed(answer, 0.0)
        return to_backend, b"".join(self.client.take_output())


def _measure(count: int, *, timeouts: bool) -> float:
    """Microseconds of one call."""
    relay = Relay(timeouts=timeouts)
    calls = [relay.call(at * 2 + 1) for at in range(count + 100)]
    for request, answer in calls[:100]:
        relay.relay(request, answer)
    gc.collect()
    gc.disable()
    began = process_time()
    for request, answer in calls[100:]:
        relay.relay(request, answer)
    seconds = process_time() - began
    gc.enable()
    assert not relay.client.closed
    assert not relay.client.streams
    return seconds / count * 1e6


if __name__ == "__main__":
    for timeouts in (False, True):
        best = [_measure(5000, timeouts=timeouts) for _ in range(5)]
        print(f"deadlines {timeouts}: median {median(best):.1f} µs, least {min(best):.1f} µs")  # noqa: T201 -- its result
