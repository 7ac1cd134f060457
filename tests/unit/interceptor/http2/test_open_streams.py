"""Time limits of connections are for idle ones: a connection with an open stream is kept, on both sides, however long the stream
lasts, as long as something is received on it now and then.
"""

from __future__ import annotations

from interceptor.core.messages import Fields
from interceptor.http2.core.frames import DATA, GOAWAY, RST_STREAM
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
