"""No connection gets more than a bounded part of a turn of the event loop, whatever it sends: the others have their turn between.

In memory, with a transport that goes on reading for as long as it may, as some event loops do. What a turn did is counted in what
came out of it, so that no clock decides.
"""

from __future__ import annotations

import asyncio

import pytest

from fleet.runtime.backlog import SLICE_SECONDS, Backlog
from interceptor.http1.chunked import LINES_AT_ONCE
from interceptor.http1.intake import MAX_PIPELINED_BYTES
from interceptor.transport.tcp import BODY_VIEW
from tests.support.proxy_memory import MemoryProxy, MockTransport
from tests.support.raw_requests import get
from tests.support.strict_reader import read_requests
from tests.wire.proxy_backend import ok

CHUNK = b"1\r\na\r\n"
BODY = CHUNK * 40_000
CHUNKED = b"Transfer-Encoding: chunked"
READ = len(BODY_VIEW)
QUIET_TURNS = 10


def memory_proxy() -> MemoryProxy:
    """Its clock makes one piece of work the whole slice of a turn."""
    memory, now = MemoryProxy(), [0.0]

    def clock() -> float:
        now[0] += SLICE_SECONDS
        return now[0]

    memory.proxy.outbox.backlog = Backlog(clock)
    return memory


async def grown_by_turn(*sinks: MockTransport) -> list[int]:
    """By how many bytes all of them grew in each turn, until nothing has come for some turns."""
    grown: list[int] = []
    size = sum(len(sink.written) for sink in sinks)
    while not grown or any(grown[-QUIET_TURNS:]) or len(grown) < QUIET_TURNS:
        await asyncio.sleep(0)
        before, size = size, sum(len(sink.written) for sink in sinks)
        grown.append(size - before)
    return grown


async def test_a_body_of_tiny_chunks() -> None:
    memory = memory_proxy()
    client, backend = memory.connect(), memory.backends[0]
    await memory.deliver(client, [get(b"/", CHUNKED, method=b"POST") + CHUNK])
    before = len(backend.written)
    client.feed(BODY)
    assert len(backend.written) - before <= LINES_AT_ONCE * len(CHUNK)
    grown = await grown_by_turn(backend)
    assert max(grown) <= LINES_AT_ONCE * len(CHUNK)
    client.feed(b"0\r\n\r\n")
    await grown_by_turn(backend)
    assert bytes(backend.written).endswith(BODY + b"0\r\n\r\n")


async def test_many_bodies_of_tiny_chunks_share_what_one_gets() -> None:
    memory = memory_proxy()
    clients = [memory.connect() for _ in range(4)]
    for client in clients:
        client.feed(get(b"/", CHUNKED, method=b"POST") + CHUNK)
        client.feed(BODY[: 1000 * len(CHUNK)])
    grown = await grown_by_turn(*memory.backends)
    assert max(grown) <= LINES_AT_ONCE * len(CHUNK)
    assert all(bytes(backend.written).endswith(BODY[: 1000 * len(CHUNK)]) for backend in memory.backends)


async def test_an_answer_of_tiny_chunks() -> None:
    memory = memory_proxy()
    client, backend = memory.connect(), memory.backends[0]
    await memory.deliver(client, [get()])
    backend.feed(b"HTTP/1.1 200 OK\r\nDate: x\r\n" + CHUNKED + b"\r\n\r\n" + BODY)
    grown = await grown_by_turn(client)
    assert sorted(grown)[-2] <= LINES_AT_ONCE * len(CHUNK)  # the first has the head too
    backend.feed(b"0\r\n\r\n")
    await grown_by_turn(client)
    assert bytes(client.written).endswith(BODY + b"0\r\n\r\n")


async def test_a_client_that_leaves_is_not_caught_up_with() -> None:
    memory = memory_proxy()
    client = memory.connect()
    client.feed(get(b"/", CHUNKED, method=b"POST") + BODY)
    client.close()
    await memory.turn()
    assert not memory.proxy.outbox.backlog
    assert (memory.ledger.balanced(), memory.endpoint.load) == (True, 0)


async def test_one_that_is_paused_is_not_caught_up_with_until_it_goes_on() -> None:
    memory = memory_proxy()
    client, backend = memory.connect(), memory.backends[0]
    client.feed(get(b"/", CHUNKED, method=b"POST") + CHUNK)
    backend.stop_taking()
    client.feed(BODY)
    await memory.turn()
    before = len(backend.written)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(backend.written) == before
    backend.go_on_taking()
    await grown_by_turn(backend)
    assert bytes(backend.written).endswith(BODY)


@pytest.mark.parametrize("host", [b"nobody.test", b"a.test"])
async def test_requests_sent_ahead_are_taken_up_one_a_turn(host: bytes) -> None:
    """Also when nobody has to be asked for the answers."""
    memory = memory_proxy()
    client = memory.connect()
    client.feed(get(host=host) * 5000)
    for _ in range(20):
        await asyncio.sleep(0)
        assert bytes(client.written).count(b"HTTP/1.1 404") <= 25
    (connection,) = memory.clients
    assert len(connection._stash) <= MAX_PIPELINED_BYTES + len(BODY_VIEW[: 32 * 1024])
    if host == b"nobody.test":
        await grown_by_turn(client)
        assert bytes(client.written).count(b"HTTP/1.1 404") == 5000


@pytest.mark.parametrize("host", [b"nobody.test", b"a.test"])
async def test_what_is_behind_leads_to_what_is_behind(host: bytes) -> None:
    """A body of tiny chunks among requests sent ahead, and requests behind it, all in one read: nothing is left lying."""
    body = CHUNK * 200 + b"0\r\n\r\n"
    request = get(b"/", CHUNKED, method=b"PUT") + body
    memory = memory_proxy()
    client = memory.connect()
    await memory.deliver(client, [(get(host=host) + request) * 4 + get(host=host)])
    answered = 0
    for _ in range(400):
        await asyncio.sleep(0)
        for backend in memory.backends:
            requests = len(read_requests(bytes(backend.written))[0])
            if requests > answered:
                answered = requests
                backend.feed(ok())
    assert bytes(client.written).count(b"HTTP/1.1 ") == 9
    assert memory.ledger.balanced()


async def test_a_tunnel_at_full_speed() -> None:
    memory = memory_proxy()
    client, backend = memory.connect(), memory.backends[0]
    await memory.deliver(client, [get(b"/", b"Connection: upgrade", b"Upgrade: a")])
    backend.feed(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n")
    before = len(backend.written)
    client.feed(b"x" * (8 * READ))
    assert len(backend.written) - before <= READ
    backend.feed(b"y" * (8 * READ))
    size = 0
    for _ in range(200):  # 64 KiB each at least, in both directions
        before, size = size, len(backend.written) + len(client.written)
        if before:
            assert size - before <= 2 * READ
        await asyncio.sleep(0)
    assert bytes(backend.written).count(b"x") == bytes(client.written).count(b"y") == 8 * READ


async def test_bodies_at_full_speed() -> None:
    memory = memory_proxy()
    client, backend = memory.connect(), memory.backends[0]
    await memory.deliver(client, [get()])
    backend.feed(b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n")
    backend.feed(b"y" * (4 * READ))
    assert bytes(client.written).count(b"y") <= READ
    for _ in range(100):
        await asyncio.sleep(0)
    assert bytes(client.written).count(b"y") == 4 * READ


async def test_what_is_dropped_of_a_refused_request() -> None:
    memory = memory_proxy()
    client = memory.connect()
    client.feed(b"\x00")
    reads: list[int] = []
    client.protocol = _Counted(client.protocol, reads)  # type: ignore[assignment]
    client.feed(b"z" * (4 * READ))
    assert sum(reads) <= READ // 8


class _Counted:
    """Notes how much each read was."""

    def __init__(self, protocol: asyncio.BufferedProtocol, reads: list[int]) -> None:
        self._protocol, self._reads = protocol, reads

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._protocol.get_buffer(sizehint))

    def buffer_updated(self, nbytes: int) -> None:
        self._reads.append(nbytes)
        self._protocol.buffer_updated(nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
