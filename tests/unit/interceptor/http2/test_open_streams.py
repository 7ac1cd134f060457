"""Time limits of connections are for idle ones: a connection with an open stream is kept, on both sides, however long the stream
lasts, as long as something is received on it now and then.
"""

from __future__ import annotations

from interceptor.core.messages import Fields
from interceptor.http2.client import MAX_DUE
from interceptor.http2.core.frames import DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM
from tests.support.h2_memory import frames_of
from tests.support.h2_proxy import Http2Memory

CALL: Fields = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"a.test"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)
SERVED: Fields = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS: Fields = ((b"grpc-status", b"0"),)
MESSAGE = b"\0\0\0\0\1a"
STEP = 7.0
"""Seconds between two messages: no divisor of any limit."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_streams_outlive_the_limits_of_idle_connections() -> None:
    clock = Clock()
    memory = Http2Memory(http2=True, clock=clock)
    client, backend, proxy = memory.client, memory.backend, memory.proxy
    await memory.deliver(client.transport, [client.head(1, CALL), client.head(3, CALL)])
    await memory.deliver(backend.transport, [backend.head(1, SERVED), backend.head(3, SERVED)])
    client.transport.written.clear()
    backend.transport.written.clear()
    messages = int(4 * proxy.keep_alive_timeout / STEP)
    for _ in range(messages):
        for _ in range(int(STEP * 10)):
            clock.now += 0.1
            proxy.deadlines.sweep(clock.now)
        await memory.turn()
        await memory.deliver(client.transport, [client.data(1, MESSAGE)])
        await memory.deliver(backend.transport, [backend.data(3, MESSAGE)])
    for speaker, stream in ((client, 3), (backend, 1)):
        assert not speaker.transport.closing
        got = [(kind, number) for kind, _, number, _ in frames_of(bytes(speaker.transport.written))]
        assert not {GOAWAY, RST_STREAM} & {kind for kind, _ in got}
        assert got.count((DATA, stream)) == messages
    await memory.deliver(client.transport, [client.data(1, b"", end=True), client.data(3, b"", end=True)])
    await memory.deliver(backend.transport, [backend.head(1, TRAILERS, end=True), backend.head(3, TRAILERS, end=True)])
    assert not client.transport.closing
    assert proxy.apps[memory.endpoint.owner.key.partition(":")[0]].entry.in_flight == 0
    for _ in range(int(proxy.keep_alive_timeout * 10) + 10):
        clock.now += 0.1
        proxy.deadlines.sweep(clock.now)
    await memory.turn()
    assert client.transport.closing


def timed(milliseconds: int) -> Fields:
    return (*CALL, (b"grpc-timeout", b"%dm" % milliseconds))


def ended(memory: Http2Memory) -> list[int]:
    """Streams of the client that have ended, since the last call."""
    written, memory.client.transport.written = bytes(memory.client.transport.written), bytearray()
    return [number for kind, flags, number, _ in frames_of(written) if kind == HEADERS and flags & END_STREAM]


async def pass_time(memory: Http2Memory, clock: Clock, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        memory.proxy.deadlines.sweep(clock.now)
    await memory.turn()


async def test_each_stream_has_its_own_deadline_whichever_is_next() -> None:
    clock = Clock()
    memory = Http2Memory(http2=True, clock=clock)
    for number, milliseconds in ((1, 20_000), (3, 1000), (5, 90_000), (7, 1000), (9, 3000)):
        await memory.deliver(memory.client.transport, [memory.client.head(number, timed(milliseconds))])
    ended(memory)
    for seconds, expected in ((0.9, []), (0.3, [3, 7]), (1.6, []), (0.4, [9]), (16.6, []), (0.4, [1]), (69.5, []), (0.5, [5])):
        await pass_time(memory, clock, seconds)
        assert sorted(ended(memory)) == expected
    assert not memory.client.transport.closing
    await pass_time(memory, clock, memory.proxy.keep_alive_timeout - 1)
    assert not memory.client.transport.closing
    await pass_time(memory, clock, 2)
    assert memory.client.transport.closing


async def test_many_deadlines_at_once_are_answered_some_at_a_time() -> None:
    clock = Clock()
    memory = Http2Memory(http2=True, clock=clock)
    numbers = range(1, 2 * 100, 2)
    for number in numbers:
        await memory.deliver(memory.client.transport, [memory.client.head(number, timed(1000))])
    await pass_time(memory, clock, 0.9)
    ended(memory)
    answered = []
    for _ in range(8):
        await pass_time(memory, clock, 0.1)
        answered.append(ended(memory))
    assert max(map(len, answered)) == MAX_DUE
    assert sorted(number for some in answered for number in some) == list(numbers)
