"""Back-pressure step by step, on transports in memory whose peers stop and go on reading at will."""

from __future__ import annotations

import errno
from time import monotonic

import pytest

from interceptor.http1.client import ClientConnection
from tests.support.proxy_memory import MemoryProxy, MockTransport
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import ok

LARGE = b"x" * 100_000
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"


async def test_a_backend_is_read_from_again_after_its_client_was_slow() -> None:
    """The pause comes with the last bytes of an answer: the connection must not rest with it."""
    memory = MemoryProxy(connections=1)
    client = memory.connect()
    (backend,) = memory.backends
    await memory.deliver(client, [get()])
    await memory.deliver(backend, [ok(LARGE)[:-10]])
    client.stop_taking()
    await memory.deliver(backend, [b"x" * 10])
    assert not memory.ledger.outstanding
    other = memory.connect()
    await memory.deliver(other, [get(b"/2")])
    await memory.deliver(backend, [ok(b"two")])
    assert other.written.endswith(b"two")


async def test_a_client_that_takes_no_answers_gets_no_more() -> None:
    """Requests sent ahead, or one after the other, wait until the answers before them are taken."""
    for wires in ([get(b"/1") + get(b"/2") + get(b"/3")], [get(b"/1"), get(b"/2"), get(b"/3")]):
        memory = MemoryProxy(connections=1)
        client = memory.connect()
        (backend,) = memory.backends
        client.stop_taking()
        await memory.deliver(client, wires)
        await memory.deliver(backend, [ok(LARGE)])
        assert backend.written.count(b"GET ") == 1
        client.go_on_taking()
        await memory.turn()
        assert backend.written.count(b"GET ") == 2
        await memory.deliver(backend, [ok(b"two")])
        await memory.deliver(backend, [ok(b"three")])
        assert client.written.endswith(b"three")


async def test_refusals_wait_too() -> None:
    memory = MemoryProxy()
    client = memory.connect()
    client.stop_taking()
    for _ in range(50):
        await memory.deliver(client, [get(host=b"nobody.test")])
    assert client.written.count(b"HTTP/1.1 404") <= 2
    client.go_on_taking()
    for _ in range(100):
        await memory.turn()
    assert client.written.count(b"HTTP/1.1 404") == 50


async def test_an_answer_after_one_that_was_not_taken_is_paused() -> None:
    """The client stops while its next request is under way: that answer is held back as well."""
    memory = MemoryProxy(connections=1)
    client = memory.connect()
    (backend,) = memory.backends
    await memory.deliver(client, [get(b"/1") + get(b"/2")])
    await memory.deliver(backend, [ok(b"one")])
    client.stop_taking()
    client.protocol.pause_writing()
    await memory.deliver(backend, [ok(LARGE)[:-10]])
    assert backend.paused
    client.go_on_taking()
    assert not backend.paused


async def test_a_backend_that_did_not_take_its_request_is_not_used_again() -> None:
    """It answered before it read: what is unsent stands before the next request, and without back-pressure."""
    memory = MemoryProxy(connections=2)
    client = memory.connect()
    first, second = memory.backends
    await memory.deliver(client, [post(LARGE)[:-10]])
    first.stop_taking()
    await memory.deliver(client, [b"x" * 10])
    await memory.deliver(first, [ok(b"early")])
    assert client.written.endswith(b"early")
    await memory.deliver(client, [get(b"/2")])
    assert (bool(second.written), first.closing) == (True, True)


async def test_the_time_for_an_answer_begins_when_the_whole_request_was_taken() -> None:
    now = [100.0]
    memory = MemoryProxy(clock=lambda: now[0])
    client, backend = memory.connect(), memory.backends[0]
    connection = client.protocol
    assert isinstance(connection, ClientConnection)
    await memory.deliver(client, [post(LARGE)[:-10]])
    backend.stop_taking()
    await memory.deliver(client, [b"x" * 10])
    read = connection.deadline
    now[0] += 1.0
    backend.go_on_taking()
    assert connection.deadline == read + 1.0


async def test_an_early_answer_drops_what_is_unsent() -> None:
    """Closing politely would wait for a backend that may never read."""
    memory = MemoryProxy()
    client = memory.connect()
    await memory.deliver(client, [post(LARGE)[:-10]])
    await memory.deliver(memory.backends[0], [ok(b"no", status=b"413 Content Too Large")])
    assert memory.backends[0].aborted
    assert client.ended


async def test_a_client_whose_reset_was_not_read_yet_gets_its_answer_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio tells of it where the end is written: nothing else may be left out for that."""

    def is_not_connected(transport: MockTransport) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(MockTransport, "write_eof", is_not_connected)
    memory = MemoryProxy()
    client = memory.connect()
    connection = client.protocol
    assert isinstance(connection, ClientConnection)
    await memory.deliver(client, [post(LARGE)[:-10]])
    await memory.deliver(memory.backends[0], [ok(b"no", status=b"413 Content Too Large")])
    assert connection.deadline < monotonic() + 3.0
    assert memory.ledger.balanced()


async def test_a_broken_body_cuts_an_answer_that_has_begun() -> None:
    """A refusal in the middle of an answer would be taken for a part of it."""
    memory = MemoryProxy()
    client = memory.connect()
    chunked = get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
    await memory.deliver(client, [chunked + b"5\r\nhello\r\n"])
    await memory.deliver(memory.backends[0], [HALF])
    await memory.deliver(client, [b"nonsense\r\n"])
    assert client.written.endswith(b"hello")
    assert client.aborted
    assert memory.backends[0].aborted
    assert memory.ledger.balanced()


async def test_bytes_after_an_answer_are_nobodys() -> None:
    """In the same read, or before the next request: neither is given to the next client."""
    for parts in ([ok(b"one") + ok(b"evil")], [ok(b"one"), ok(b"evil")], [ok(b"one")[:-1], b"e" + b"HTTP/1.1 200 OK\r\n\r\n"]):
        memory = MemoryProxy(connections=2)
        first, second = memory.connect(), memory.connect()
        await memory.deliver(first, [get()])
        await memory.deliver(memory.backends[0], parts)
        assert memory.backends[0].closing
        await memory.deliver(second, [get(b"/2")])
        assert memory.backends[1].written
        await memory.deliver(memory.backends[1], [ok(b"two")])
        assert b"evil" not in first.written + second.written
        assert second.written.endswith(b"two")


async def test_pausing_is_passed_on_both_ways() -> None:
    memory = MemoryProxy()
    client = memory.connect()
    backend: MockTransport = memory.backends[0]
    await memory.deliver(client, [post(LARGE)[:-10]])
    backend.protocol.pause_writing()
    assert client.paused
    backend.protocol.resume_writing()
    assert not client.paused
    await memory.deliver(client, [b"x" * 10])
    await memory.deliver(backend, [HALF])
    client.protocol.pause_writing()
    assert backend.paused
    client.protocol.resume_writing()
    assert not backend.paused


async def test_a_request_that_came_in_time_and_is_not_read_yet_is_not_lost() -> None:
    """A process that was not given its time finds the limits passed first, and the requests after them."""
    now = [1000.0]
    memory = MemoryProxy(clock=lambda: now[0])
    late, silent = memory.connect(unread=True), memory.connect()
    now[0] += memory.proxy.head_timeout + 1.0
    memory.proxy.deadlines.sweep(now[0])
    assert (late.closing, silent.closing) == (False, True)
    now[0] += 1.0
    memory.proxy.deadlines.sweep(now[0])
    assert not late.closing
    await memory.deliver(late, [get()])
    await memory.deliver(memory.backends[0], [ok(b"here")])
    assert late.written.endswith(b"here")


@pytest.mark.parametrize("unread", [True, False])
async def test_no_request_is_lost_for_want_of_room(*, unread: bool) -> None:
    """A connection at rest is closed to make room, unless a request is there that is not read yet."""
    now = [1000.0]
    memory = MemoryProxy(clock=lambda: now[0])
    longest = memory.connect(unread=unread)
    now[0] += 2.0
    memory.proxy.most_clients = 2
    memory.connect()
    assert memory.proxy.full
    assert longest.closing is not unread
