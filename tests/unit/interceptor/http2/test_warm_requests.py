"""What a warm request over HTTP/2 costs in the whole interceptor: the number of our functions that it calls, and of the
instructions that they execute. Exact measures, unlike time. An increase needs a reason.
"""

from __future__ import annotations

import sys

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from interceptor.core.messages import Fields
from interceptor.http2.core.frames import PING, frame, window_update
from interceptor.http2.core.huffman import decode
from tests.support.calls import calls, instructions
from tests.support.compiled import COMPILED
from tests.support.h2_proxy import Http2Memory

GET: Fields = (
    (b":method", b"GET"),
    (b":path", b"/small"),
    (b":scheme", b"http"),
    (b":authority", b"a.test"),
    (b"user-agent", b"h2load nghttp2/1.52.0"),
)
CALL: Fields = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/grpc.health.v1.Health/Check"),
    (b":authority", b"a.test"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-go/1.65.0"),
    (b"te", b"trailers"),
)
MESSAGE = b"\0\0\0\0\x06\x0a\x04shop"
DATE = (b"date", b"Thu, 26 Nov 2026 12:00:00 GMT")
OK: Fields = ((b":status", b"200"), (b"content-type", b"text/plain"), (b"content-length", b"5"), DATE)
SMALL = b"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello"
SERVED: Fields = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS: Fields = ((b"grpc-status", b"0"), (b"grpc-message", b""))


def _timeout(number: int) -> bytes:
    """Another one in each call."""
    return b"%du" % (19_999_999 - number)


class Rig(Http2Memory):
    """Requests and their responses, each in one read."""

    def __init__(self, kind: str) -> None:
        super().__init__(http2=kind != "to http/1.1", clock=lambda: 1000.0)
        self.proxy.outbox.backlog.clock = lambda: 0.0  # all of it in one turn, however slow the machine is
        self._kind = kind
        self._streams = 0

    def _message(self, number: int) -> tuple[bytes, bytes]:
        if not self._kind.startswith("call"):
            request = self.client.head(number, GET, end=True)
            if self._kind == "to http/1.1":
                return request, SMALL
            return request, self.backend.head(number, OK) + self.backend.data(number, b"hello", end=True)
        asked = number // 4 if "pairs" in self._kind else number
        timeout = ((b"grpc-timeout", _timeout(asked)),) if "deadline" in self._kind else ()
        request = self.client.head(number, CALL + timeout) + self.client.data(number, MESSAGE, end=True)
        if "PING" in self._kind and number > 1:  # after a response, as grpc-go measures the bandwidth
            request = window_update(0, 1) + frame(PING, 0, 0, b"bdp-ping") + request
        head, trailers = self.backend.head(number, SERVED), self.backend.head(number, TRAILERS, end=True)
        return request, head + self.backend.data(number, MESSAGE) + trailers

    def messages(self, count: int) -> tuple[bytes, bytes]:
        """The bytes of the next requests, and those of their responses."""
        first, self._streams = self._streams, self._streams + count
        made = [self._message(2 * number + 1) for number in range(first, first + count)]
        return b"".join(request for request, _ in made), b"".join(response for _, response in made)

    async def serve(self, requests: bytes, responses: bytes) -> None:
        await self.deliver(self.client.transport, [requests])
        backend = self.backends[0] if self._kind == "to http/1.1" else self.backend.transport
        await self.deliver(backend, [responses])


COSTS = [
    ("to http/1.1", 1, 50, 2040),
    ("to http/2", 1, 66, 2855),
    ("to http/2", 10, 477, 24109),
    ("call", 1, 72, 3287),
    ("call", 10, 542, 28580),
    ("call with a deadline", 1, 87, 4189),
    ("call with a deadline", 10, 692, 37600),
    ("call with a deadline, the same in pairs", 10, 667, 35585),
    ("call with a deadline and a PING", 1, 101, 4756),
]
"""What is asked for, how many at once, and the calls and instructions of all of them."""


async def _warm(kind: str) -> Rig:
    rig = Rig(kind)
    for number in range(200):  # the steps of the decoder of Huffman's code are shared by all connections
        decode(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(_timeout(number)))
    for _ in range(8):  # index the repeated fields, and fill caches
        await rig.serve(*rig.messages(1))
    if kind != "to http/1.1":
        for _ in range(3):
            await rig.serve(*rig.messages(10))
    return rig


@pytest.fixture(autouse=True)
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Date of responses is made anew each second."""
    monkeypatch.setattr("interceptor.date.time", lambda: 1_800_000_000.0)


@pytest.mark.skipif(COMPILED, reason="no calls of Python")
@pytest.mark.parametrize(("kind", "count", "number", "_"), COSTS)
async def test_calls_of_warm_requests(kind: str, count: int, number: int, _: int) -> None:
    rig = await _warm(kind)
    messages = rig.messages(count)
    before = bytes(rig.client.transport.written)
    with calls() as made:
        await rig.serve(*messages)
    assert len(rig.client.transport.written) > len(before)
    assert made.total() == number, f"more calls need a reason; fewer are the new number: {made}"


@pytest.mark.skipif(COMPILED or sys.version_info[:2] != (3, 11), reason="each version of Python has other instructions")
@pytest.mark.parametrize(("kind", "count", "_", "number"), COSTS)
async def test_instructions_of_warm_requests(kind: str, count: int, _: int, number: int) -> None:
    rig = await _warm(kind)
    messages = rig.messages(count)
    with instructions() as made:
        await rig.serve(*messages)
    assert made.total() == number, f"more instructions need a reason; fewer are the new number: {made.most_common(30)}"
