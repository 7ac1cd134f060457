"""Draining and closing over real sockets: what is open finishes, what rests is closed, and nothing is left."""

from __future__ import annotations

import asyncio
from time import monotonic

import httpx
import pytest

from tests.support.raw_requests import get
from tests.support.strict_reader import NotStrict
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually, proxy_rig


async def test_held_and_in_flight_requests_finish_and_the_rest_is_closed() -> None:
    go = asyncio.Event()

    async def slow(peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            if message.target == b"/slow":
                await go.wait()
            peer.send(ok(message.target))

    async with proxy_rig(backends=0) as rig:
        held = await rig.client()
        held.send(get(b"/held"))
        await eventually(lambda: rig.ledger.totals.held == 1)
        backend = await rig.backend(slow, listed=False)
        resting, busy = await rig.client(), await rig.client()
        rig.sources.set("default/a", [backend.backend])
        assert (await held.response()).body == b"/held"
        assert (await resting.ask(get(b"/quick"))).status == 200
        busy.send(get(b"/slow"))
        await eventually(lambda: len(backend.requests) == 3)
        rig.sources.set("default/a", [])
        held.send(get(b"/held/again"))
        await eventually(lambda: rig.ledger.totals.held == 1)
        port = rig.interceptor.proxy_port
        draining = asyncio.create_task(rig.interceptor.drain())
        assert await resting.ends()
        with pytest.raises(ConnectionRefusedError):
            await RawClient.connect(port)
        assert not draining.done()
        go.set()
        message = await busy.response()
        assert (message.body, message.get(b"connection")) == (b"/slow", b"close")
        assert await busy.ends()
        assert not draining.done()
        rig.sources.set("default/a", [backend.backend])
        message = await held.response()
        assert (message.status, message.get(b"connection")) == (200, b"close")
        await asyncio.wait_for(draining, 60)


async def test_an_answer_under_way_finishes_and_then_its_connection_is_closed() -> None:
    """Its head went out before the drain and promised to go on; it ends all the same."""
    go = asyncio.Event()

    async def halves(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await go.wait()
        peer.send(b"half")
        await peer.read_to_end()

    async with proxy_rig(halves) as rig:
        client = await rig.client()
        client.send(get())
        await client.read_until(b"half")
        draining = asyncio.create_task(rig.interceptor.drain())
        await eventually(lambda: rig.interceptor.proxy.draining)
        go.set()
        await client.read_until(b"half")
        assert await client.ends()
        await asyncio.wait_for(draining, 60)


async def test_not_ready_comes_before_not_listening() -> None:
    async with proxy_rig(drain_delay=600, diagnostics=True) as rig, httpx.AsyncClient(trust_env=False) as probe:
        ready = f"http://127.0.0.1:{rig.interceptor.diagnostics_port}/readyz"
        assert (await probe.get(ready)).status_code == 200
        draining = asyncio.create_task(rig.interceptor.drain())
        await eventually(lambda: rig.interceptor.proxy.draining)
        response = await probe.get(ready)
        assert (response.status_code, "draining" in response.text) == (503, True)
        client = await rig.client()
        message = await client.ask(get())
        assert (message.status, message.get(b"connection")) == (200, b"close")
        draining.cancel()
        await asyncio.wait([draining])


async def test_what_does_not_end_is_cut_when_the_time_is_up() -> None:
    async def endless(peer: BackendPeer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await peer.read_to_end()

    async with proxy_rig(endless, drain_timeout=0.3) as rig:
        client = await rig.client()
        client.send(get())
        await client.read_until(b"half")
        before = monotonic()
        await rig.interceptor.drain()
        assert 0.25 < monotonic() - before < 10
        await rig.interceptor.proxy.close()
        with pytest.raises((ConnectionError, NotStrict)):
            await client.response()


async def test_the_next_answer_to_an_idle_client_closes_its_connection() -> None:
    """Its connection is not closed under a request that is on its way."""
    async with proxy_rig() as rig:
        active, passive = await rig.client(), await rig.client()
        for client in (active, passive):
            assert (await client.ask(get())).status == 200
        draining = asyncio.create_task(rig.interceptor.drain())
        await eventually(lambda: rig.interceptor.proxy.draining)
        message = await active.ask(get())
        assert (message.status, message.get(b"connection")) == (200, b"close")
        assert await passive.ends()
        await asyncio.wait_for(draining, 60)


def looks_for_idle_ones(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When idle connections were closed, from now on: the drain does it again and again, once it has begun to."""
    looks: list[float] = []
    close_idle = rig.interceptor.proxy.close_idle

    def look(now: float) -> None:
        close_idle(now)
        looks.append(now)

    monkeypatch.setattr(rig.interceptor.proxy, "close_idle", look)
    return looks


async def test_a_request_that_arrived_unread_is_not_closed_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy_rig() as rig:
        looks = looks_for_idle_ones(rig, monkeypatch)
        client = await rig.client()
        assert (await client.ask(get())).status == 200
        (connection,) = rig.connections
        connection._transport.pause_reading()  # as if the event loop had not come to it
        draining = asyncio.create_task(rig.interceptor.drain())
        client.send(get())
        await eventually(lambda: len(looks) > 3)
        connection._transport.resume_reading()
        assert (await client.response()).status == 200
        await asyncio.wait_for(draining, 60)


async def test_requests_that_wait_at_the_end_of_a_drain_get_503() -> None:
    async with proxy_rig(backends=0, drain_timeout=0.6) as rig:
        clients = [await rig.client() for _ in range(3)]
        for client in clients:
            client.send(get())
        await eventually(lambda: rig.ledger.totals.held == 3)
        draining = asyncio.create_task(rig.interceptor.drain())
        for client in clients:
            message = await client.response()
            told = (message.status, message.get(b"retry-after"), message.get(b"connection"))
            assert told == (503, b"1", b"close")
        await asyncio.wait_for(draining, 60)


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


async def test_a_tunnel_ends_with_its_backends_last_words() -> None:
    """The backend hears that its client is through, says goodbye, and both ends are clean."""

    async def polite(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        peer.send(SWITCH)
        await peer.read_to_end()
        peer.send(b"goodbye")

    async with proxy_rig(polite, drain_timeout=1.0) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
        assert (await client.response()).status == 101
        draining = asyncio.create_task(rig.interceptor.drain())
        await client.read_until(b"goodbye")
        client.send(b"too late")
        assert await client.reader.read(1) == b""
        await asyncio.wait_for(draining, 60)
        assert b"too late" not in rig.backends[0].received


async def test_a_tunnel_that_does_not_end_is_closed_and_not_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        peer.send(SWITCH)
        await peer.read_to_end()
        while not peer.writer.is_closing():
            peer.send(b"x")
            await asyncio.sleep(0.01)  # it trickles, for as long as it is let

    async with proxy_rig(stubborn, drain_timeout=4.0) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
        assert (await client.response()).status == 101
        draining = asyncio.create_task(rig.interceptor.drain())
        while data := await client.reader.read(1000):  # a reset would raise
            assert set(data) == {ord("x")}
        await asyncio.wait_for(draining, 60)
        assert not any("are cut" in record.message for record in caplog.records)


async def test_tunnels_go_on_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(peer: BackendPeer) -> None:
        await peer.read_until(b"\r\n\r\n")
        peer.send(SWITCH)
        while data := await peer.read_some():
            peer.send(data)

    async with proxy_rig(echo, drain_timeout=60) as rig:
        looks = looks_for_idle_ones(rig, monkeypatch)
        client = await rig.client()
        client.send(get(b"/", b"Connection: upgrade", b"Upgrade: x"))
        assert (await client.response()).status == 101
        draining = asyncio.create_task(rig.interceptor.drain())
        for number in range(5):
            await eventually(lambda: len(looks) > number)  # noqa: B023 -- it is waited for here
            client.send(b"ping")
            await client.read_until(b"ping")
        client.close()
        await asyncio.wait_for(draining, 60)


async def test_close_leaves_nothing_whatever_is_open() -> None:
    """Held, dialling, in flight, answering, in a tunnel, resting: all are cut, and every count is zero."""

    async def by_target(peer: BackendPeer) -> None:
        message = await peer.request()
        if message.target == b"/tunnel":
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        elif message.target == b"/half":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        elif message.target == b"/rest":
            peer.send(ok())
        await peer.read_to_end()

    async with proxy_rig(by_target, settle=False) as rig:
        port = rig.interceptor.proxy_port
        wires = [get(b"/rest"), get(b"/none"), get(b"/half"), get(b"/tunnel", b"Connection: upgrade", b"Upgrade: x"), b"GET /pa"]
        for wire in wires:
            (await rig.client()).send(wire)
        await eventually(lambda: len(rig.backends[0].requests) == 4)
        rig.sources.set("default/a", [])
        (await rig.client()).send(get(b"/held"))
        await eventually(lambda: rig.ledger.totals.held == 1)
        tasks = asyncio.all_tasks()
        await rig.interceptor.close()
        await eventually(lambda: not rig.connections)
        assert rig.ledger.balanced()
        await eventually(lambda: not rig.connections_open)
        own = [task for task in asyncio.all_tasks() & tasks if "interceptor" in repr(task.get_coro())]
        assert not own, own
    with pytest.raises(ConnectionRefusedError):
        await RawClient.connect(port)


async def test_dials_under_way_end_with_the_interceptor() -> None:
    async with proxy_rig(answer(ok()), settle=False) as rig:
        for _ in range(10):
            (await rig.client()).send(get())
        await rig.interceptor.close()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("dial")]
        await asyncio.sleep(0)
        assert rig.ledger.balanced()
