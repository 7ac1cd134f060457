"""Back-pressure, time limits and broken peers, over real sockets: what is bounded, what is cut, and what is never mixed up."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from fleet.routing.route import Route
from interceptor.server import LIMITS_AT_ONCE
from interceptor.transport.tcp import READ_BUFFER
from tests.support.loopback import route
from tests.support.raw_requests import get, post
from tests.support.strict_reader import read_response
from tests.support.waiting import settled
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

MEBI = 1 << 20
KERNEL_BYTES = 8 * MEBI
"""What the sockets between two peers may keep on top of the proxy."""


async def in_turn(peer: BackendPeer) -> None:
    """Answer with the number in the target: so many bytes; then its own count of them."""
    while True:
        message = await peer.request()
        peer.send(ok(b"x" * int(message.target[1:])))


# -- back-pressure ------------------------------------------------------------------------------------------------


async def test_a_slow_reader_pauses_the_backend() -> None:
    """A client that reads nothing costs the proxy a bounded buffer, and the backend is not read from."""
    sent = 0

    async def flood(peer: BackendPeer) -> None:
        nonlocal sent
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MEBI))
        for _ in range(64):
            peer.send(b"x" * MEBI)
            await peer.writer.drain()
            sent += MEBI

    async with proxy_rig(flood) as rig:
        client = await rig.client(receive_buffer=65536, limit=65536)
        client.send(get())
        await eventually(lambda: sent > 0)
        await settled(lambda: sent, seconds=0.1)
        assert sent < 32 * MEBI
        body = len(await client.read_until(b"\r\n\r\n")) * 0
        while body < 64 * MEBI - len(client.received):
            body += len(client.received)
            client.received = b""
            await client.read_some()
        assert body + len(client.received) == 64 * MEBI


async def test_pipelined_answers_that_nobody_reads_are_bounded() -> None:
    """One answer after the other is held back by a client that does not read; it cannot make the proxy keep them all."""
    async with proxy_rig(in_turn) as rig:
        client = await rig.client(receive_buffer=65536, limit=65536)
        client.send(get(b"/%d" % (2 * MEBI)) * 40)
        await settled(lambda: len(rig.backends[0].requests), seconds=0.2)
        (connection,) = rig.connections
        assert connection._transport.get_write_buffer_size() < 2 * len(READ_BUFFER)
        assert len(rig.backends[0].requests) < 20
        received = 0
        for _ in range(40):
            message = await client.response()
            received += len(message.body)
        assert received == 80 * MEBI


async def test_a_slow_backend_pauses_the_client() -> None:
    """A backend that does not read its request's body: the client is not read from, and memory stays bounded."""
    go = asyncio.Event()

    async def late(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        await go.wait()
        while len(peer.received) < size:
            await peer.read_some(MEBI)
        peer.send(ok(b"%d" % len(peer.received)))

    size = 32 * MEBI
    async with proxy_rig(late, backends=0) as rig:
        await rig.backend(late, receive_buffer=65536)
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: %d" % size, method=b"POST"))
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(size // 65536):
                client.send(b"x" * 65536)
                await client.writer.drain()
                sent += 65536

        sending = asyncio.create_task(send())
        await eventually(lambda: any(each.paused for each in rig.connections))
        await settled(lambda: sent, seconds=0.05)
        assert sent < 24 * MEBI
        go.set()
        await sending
        assert int((await client.response()).body) >= size


async def test_a_stuck_backend_that_answers_early_is_cut() -> None:
    """It answers, keeps its connection and never reads the body: nothing of it may stay open."""
    hold = asyncio.Event()

    async def early(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        peer.send(ok(b"no", status=b"413 Content Too Large"))
        await hold.wait()
        await peer.read_to_end()

    async with proxy_rig(early, backends=0) as rig:
        backend = await rig.backend(early, receive_buffer=4096)
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: %d" % (64 * MEBI), method=b"POST") + b"x" * 8 * MEBI)
        message = await client.response()
        assert (message.status, message.get(b"connection")) == (413, b"close")
        await eventually(rig.ledger.balanced)
        await eventually(lambda: not rig.sockets_to(backend))
        hold.set()
        await eventually(lambda: not backend.open)
        assert len(backend.received) < 8 * MEBI


# -- time limits --------------------------------------------------------------------------------------------------


async def test_an_answer_that_flows_outlives_the_idle_limit() -> None:
    """The idle limit is about silence, also where the whole request has a limit."""

    async def trickle(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
        for _ in range(12):
            peer.send(b"x")
            await asyncio.sleep(0.08)  # a fifth of the limit, which is of real time here

    async with proxy_rig(trickle, routes=[route(idle=0.4, request=30.0)]) as rig:
        client = await rig.client()
        assert len((await client.ask(get())).body) == 12


async def test_silence_in_an_answer_ends_it() -> None:
    async def stop(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhalf")
        await peer.read_to_end()

    async with proxy_rig(stop, routes=[route(idle=0.2)]) as rig:
        client = await rig.client()
        client.send(get())
        with pytest.raises(ConnectionError):
            await client.response()


async def test_the_request_limit_covers_the_time_held() -> None:
    async with proxy_rig(backends=0, routes=[route(readiness=30.0, request=0.3)]) as rig:
        client = await rig.client()
        async with asyncio.timeout(60):
            message = await client.ask(get())
        assert message.status == 504


async def test_the_request_limit_cuts_an_answer() -> None:
    async def endless(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not peer.writer.is_closing():
            peer.send(b"x")
            await asyncio.sleep(0.05)  # it trickles, for as long as it is let

    async with proxy_rig(endless, routes=[route(request=0.3)]) as rig:
        client = await rig.client()
        client.send(get())
        with pytest.raises(ConnectionError):
            await client.response()


@pytest.mark.parametrize(
    ("limited", "what"),
    [(route(response_header=0.2), b"no response within 0.2 s"), (route(request=0.2), b"longer than 0.2 s for the whole")],
)
async def test_a_silent_backend_is_a_504(limited: Route, what: bytes) -> None:
    async def silent(peer: BackendPeer) -> None:
        await peer.read_to_end()

    async with proxy_rig(silent, routes=[limited]) as rig:
        client = await rig.client()
        message = await client.ask(get())
        assert message.status == 504
        assert what in message.body
        assert (await client.ask(get(host=b"nobody.test"))).status == 404  # the connection is as good as before


async def test_a_slow_head_is_a_408() -> None:
    async with proxy_rig(head_timeout=0.2) as rig:
        client = await rig.client()
        client.send(b"GET / HT")
        message = await client.response()
        assert (message.status, message.get(b"connection")) == (408, b"close")
        assert await client.ends()


async def test_many_slow_heads_are_refused_in_parts() -> None:
    """Others have their turns between: a flood ends as it began, all at once."""
    async with proxy_rig(head_timeout=0.5) as rig:
        clients = []
        for _ in range(300):
            clients.append(await rig.client())
            clients[-1].send(b"GET / HT")  # at once: one that was silent for so long would be closed without a word
        refusals = rig.interceptor.proxy.refusals
        parts = [refusals["slow_head", 408]]  # of those that came first the time may be up
        while parts[-1] < len(clients):
            await asyncio.sleep(0)
            if (refused := refusals["slow_head", 408]) > parts[-1]:
                parts.append(refused)
        assert max(after - before for before, after in pairwise(parts)) <= LIMITS_AT_ONCE
        assert {(await client.response()).status for client in clients} == {408}


async def test_a_slow_second_head_is_a_408() -> None:
    """Drops that come before each limit do not move it."""
    async with proxy_rig(head_timeout=0.4, keep_alive_timeout=30.0) as rig:
        client = await rig.client()
        assert (await client.ask(get())).status == 200
        for byte in get()[:20]:
            if not client.closed:
                client.send(bytes((byte,)))
                await asyncio.sleep(0.05)  # an eighth of the limit, which is of real time here
        assert (await client.response()).status == 408


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with proxy_rig(keep_alive_timeout=0.2, head_timeout=0.2) as rig:
        silent, used = await rig.client(), await rig.client()
        assert (await used.ask(get())).status == 200
        assert await used.ends()
        assert await silent.ends()


async def test_a_slow_body_is_cut_by_the_idle_limit() -> None:
    async def reads(peer: BackendPeer) -> None:
        await peer.read_to_end()

    async with proxy_rig(reads, routes=[route(idle=0.2)]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: 10", method=b"POST") + b"half")
        message = await client.response()
        assert (message.status, message.get(b"connection")) == (408, b"close")
        assert b"body" in message.body


async def test_backend_connections_do_not_rest_for_ever() -> None:
    async with proxy_rig(backend_idle_timeout=0.2) as rig:
        client = await rig.client()
        await client.ask(get())
        assert rig.pooled == 1
        await eventually(lambda: not rig.pooled and not rig.connections_open)


# -- bounds -------------------------------------------------------------------------------------------------------


async def refusal(rig: Rig, wire: bytes) -> int:
    client = await rig.client()
    client.send(wire)
    found = read_response(await client.read_to_end(), closed=True)
    assert found is not None
    message, rest = found
    assert (message.get(b"connection"), rest) == (b"close", b"")
    return message.status


async def test_heads_have_bounds() -> None:
    async with proxy_rig() as rig:
        assert await refusal(rig, get(b"/", b"X: " + b"x" * 40_000)) == 431
        assert await refusal(rig, get(b"/", b"X: " + b"x" * 40_000)[:39_000]) == 431
        assert await refusal(rig, get(b"/", *[b"X%d: y" % number for number in range(300)])) == 431
        assert await refusal(rig, get(b"/" + b"x" * 20_000)) == 414
        assert await refusal(rig, (b"GET /" + b"x" * 40_000)) == 414
        assert not rig.backends[0].received
        client = await rig.client()
        assert (await client.ask(get(b"/" + b"x" * 15_000, b"X: " + b"x" * 15_000))).status == 200
        assert (await client.ask(get(b"/", *[b"X%d: y" % number for number in range(200)]))).status == 200


async def test_a_full_waiting_room_is_a_503() -> None:
    async with proxy_rig(backends=0, max_held=2) as rig:
        held = [await rig.client() for _ in range(2)]
        for client in held:
            client.send(get())
        await eventually(lambda: len(rig.app.room) == 2)
        message = await (await rig.client()).ask(get())
        assert (message.status, message.get(b"retry-after")) == (503, b"1")
        await rig.backend(answer(ok(b"late")))
        assert [(await client.response()).body for client in held] == [b"late", b"late"]


async def test_bodies_held_are_bounded() -> None:
    """A held client that sends a large body is not read from, and its request is whole when a backend comes."""
    async with proxy_rig(backends=0) as rig:
        client = await rig.client()
        body = b"0123456789abcdef" * (MEBI // 4)
        client.send(post(body))
        await eventually(lambda: any(each.paused for each in rig.connections))
        backend = await rig.backend(answer(ok(b"got it")))
        assert (await client.response()).body == b"got it"
        assert backend.requests[0].body == body
