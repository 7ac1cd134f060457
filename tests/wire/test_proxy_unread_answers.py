"""A client that sends requests ahead and reads no answers costs a bounded amount of memory, and loses nothing.

On real sockets as a whole, and guard by guard on transports in memory: each of these fails when its one guard goes.
"""

from __future__ import annotations

import pytest

from interceptor.http1.intake import MAX_PIPELINED_BYTES
from interceptor.transport.tcp import READ_BUFFER
from tests.support.proxy_memory import MemoryProxy
from tests.support.raw_requests import get, post
from tests.support.waiting import settled
from tests.wire.proxy_backend import answer, ok
from tests.wire.proxy_rig import eventually, proxy_rig

AHEAD = 300
LARGE = ok(b"x" * 100_000)
"""Written through to the socket, as it is read."""
SMALL = ok(b"small")
"""Written at the end of the turn: the client turns out to be congested only when its exchange is over."""
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_answers_that_nobody_reads_hold_back_the_next_request() -> None:
    body = b"x" * (100 << 10)
    async with proxy_rig(answer(ok(body))) as rig:
        (backend,) = rig.backends
        client = await rig.client(receive_buffer=16 * 1024)
        client.send(get() * AHEAD)
        await eventually(lambda: backend.requests)
        await settled(lambda: len(backend.requests), seconds=0.2)
        assert len(backend.requests) < AHEAD / 2  # what sockets and one buffer take
        (connection,) = rig.connections
        assert connection._transport.get_write_buffer_size() < 2 * len(READ_BUFFER)
        for _ in range(AHEAD):
            assert (await client.response()).body == body
        assert len(backend.requests) == AHEAD


@pytest.mark.parametrize("first", [LARGE, SMALL], ids=["large", "small"])
async def test_a_request_that_was_sent_ahead_waits_until_answers_are_taken(first: bytes) -> None:
    memory = MemoryProxy(connections=1)
    client, (backend,) = memory.connect(), memory.backends
    client.stop_taking()
    await memory.deliver(client, [get(b"/1") + get(b"/2")])
    await memory.deliver(backend, [first])
    assert backend.written.count(b"GET ") == 1
    client.go_on_taking()
    await memory.turn()
    assert backend.written.count(b"GET ") == 2


@pytest.mark.parametrize("first", [LARGE, SMALL], ids=["large", "small"])
async def test_a_client_that_takes_no_answers_is_not_read_from(first: bytes) -> None:
    """It may send its next request when it likes: that stays in the kernel."""
    memory = MemoryProxy(connections=1)
    client, (backend,) = memory.connect(), memory.backends
    client.stop_taking()
    await memory.deliver(client, [get(b"/1")])
    await memory.deliver(backend, [first])
    await memory.deliver(client, [get(b"/2")])
    assert client.paused
    assert backend.written.count(b"GET ") == 1
    client.go_on_taking()
    await memory.turn()
    assert backend.written.count(b"GET ") == 2


async def test_an_answer_that_begins_while_its_client_is_choked_is_held_back() -> None:
    """The client stopped while this request waited: there was no backend yet that could have been told."""
    memory = MemoryProxy(connections=1)
    client, (backend,) = memory.connect(), memory.backends
    app = memory.proxy.apps["default/a"]
    await memory.deliver(client, [get(b"/1")])
    client.stop_taking()
    memory.endpoint.set_aside(0.0)
    backend.feed(SMALL)
    client.feed(get(b"/2"))
    await memory.turn()
    assert (len(app.room), client.protocol.congested) == (1, True)  # type: ignore[attr-defined]
    memory.endpoint.passed()
    await memory.turn()
    await memory.deliver(backend, [CHUNKED + b"5\r\nhello\r\n"])
    assert backend.paused
    client.go_on_taking()
    assert not backend.paused
    await memory.deliver(backend, [b"0\r\n\r\n"])
    assert memory.ledger.balanced()


async def test_a_connection_that_did_not_take_its_request_is_not_used_again() -> None:
    """Its backend answered before it read: what is unsent would stand before the next request."""
    memory = MemoryProxy(connections=1)
    client, (backend,) = memory.connect(), memory.backends
    request = post(b"x" * 1000)
    await memory.deliver(client, [request[:-10]])
    backend.stop_taking()
    await memory.deliver(client, [request[-10:]])
    await memory.deliver(backend, [SMALL])
    assert client.written.endswith(b"small")
    assert (backend.aborted, memory.endpoint.spare) == (True, [])


async def test_requests_that_are_sent_ahead_are_bounded() -> None:
    """Also where answers are taken: what waits for its turn behind a slow one stays small."""
    memory = MemoryProxy(connections=1)
    client, (backend,) = memory.connect(), memory.backends
    await memory.deliver(client, [get(b"/1")])
    while not client.paused:
        client.feed(get(b"/more"))
        assert len(client.protocol._stash) <= MAX_PIPELINED_BYTES + 1000  # type: ignore[attr-defined]
    await memory.deliver(backend, [SMALL])
    assert backend.written.count(b"GET ") == 2
