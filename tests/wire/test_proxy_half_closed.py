"""Clients that end their side after their request have left, or get their answer where a setting or a route says so."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from msgspec.structs import replace

from tests.support.loopback import route
from tests.support.raw_requests import get, post
from tests.wire.proxy_backend import BackendPeer, answer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import eventually, proxy_rig


class Gate:
    """A backend that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, peer: BackendPeer) -> None:
        while True:
            message = await peer.request()
            self.asked.set()
            await self.open.wait()
            peer.send(ok(message.target))


async def half_close(client: RawClient, data: bytes) -> None:
    client.send(data)
    await client.writer.drain()
    client.writer.write_eof()


@pytest.mark.parametrize("request_", [get(b"/a"), post(b"body", b"/a"), post(b"body", b"/a", chunked=True)])
async def test_the_answer_comes_where_the_setting_says_so(request_: bytes) -> None:
    gate = Gate()
    async with proxy_rig(gate, answer_half_closed=True) as rig:
        client = await rig.client()
        await half_close(client, request_)
        await gate.asked.wait()
        assert rig.ledger.outstanding == 1
        gate.open.set()
        assert (await client.response()).body == b"/a"
        assert await client.ends()
        assert rig.ledger.outstanding == 0


async def test_the_client_has_left_where_nothing_says_so() -> None:
    gate = Gate()
    async with proxy_rig(gate) as rig:
        client = await rig.client()
        await half_close(client, get())
        await eventually(lambda: rig.interceptor.proxy.clients == set())
        assert rig.ledger.outstanding == 0
        gate.open.set()
        assert await client.ends()


@pytest.mark.parametrize(("setting", "of_route", "answered"), [(False, True, True), (True, False, False), (True, None, True)])
async def test_a_route_has_its_own_word(setting: bool, of_route: bool | None, answered: bool) -> None:
    routes = [replace(route(), answer_half_closed=of_route)]
    async with proxy_rig(answer(ok()), routes=routes, backends=0, answer_half_closed=setting) as rig:
        client = await rig.client()
        client.send(get())
        await eventually(lambda: rig.ledger.outstanding == 1)
        client.writer.write_eof()
        if answered:
            await rig.backend()
            assert (await client.response()).body == b"ok"
        assert await client.ends()
        await eventually(lambda: rig.ledger.outstanding == 0)


async def test_one_that_is_held_is_answered_when_the_application_is_up() -> None:
    async with proxy_rig(backends=0, answer_half_closed=True) as rig:
        client = await rig.client()
        await half_close(client, get())
        await eventually(lambda: rig.app.entry.held == 1)
        await rig.backend()
        assert (await client.response()).body == b"ok"


async def test_one_that_is_held_and_gone_gives_up_its_place_when_that_shows() -> None:
    async with proxy_rig(backends=0, answer_half_closed=True) as rig:
        client = await rig.client()
        await half_close(client, get())
        await eventually(lambda: rig.app.entry.held == 1)
        sock: socket.socket = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await eventually(lambda: rig.app.entry.held == 0)
        assert not rig.app.room


async def test_half_a_request_is_not_waited_for() -> None:
    async with proxy_rig(answer_half_closed=True) as rig:
        for data in (b"GET / HTT", post(b"body")[:-2], post(b"body", chunked=True)[:-2], b""):
            client = await rig.client()
            await half_close(client, data)
            assert await client.ends()
            await eventually(lambda: not rig.interceptor.proxy.clients)


async def test_what_was_sent_ahead_is_answered_too() -> None:
    async with proxy_rig(answer(ok(b"1"), ok(b"2"), ok(b"3")), answer_half_closed=True) as rig:
        client = await rig.client()
        await half_close(client, get() + get() + get())
        assert [(await client.response()).body for _ in range(3)] == [b"1", b"2", b"3"]
        assert await client.ends()


async def test_a_tunnel_hears_that_its_client_has_ended() -> None:
    async def switch(peer: BackendPeer) -> None:
        await peer.request()
        await asyncio.wait_for(ended.wait(), 60)
        peer.send(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n")
        await peer.read_to_end()
        peer.send(b"bye")

    ended = asyncio.Event()
    async with proxy_rig(switch, answer_half_closed=True) as rig:
        client = await rig.client()
        await half_close(client, get(b"/", b"Connection: upgrade", b"Upgrade: a") + b"early")
        (one,) = rig.connections
        await eventually(lambda: one.half_closed)
        ended.set()
        assert (await client.response()).status == 101
        assert (await client.read_to_end()).endswith(b"bye")
        assert bytes(rig.backends[0].peers[0].received).endswith(b"early")


@pytest.mark.parametrize("size", [50_000, 6_000_000])
async def test_the_end_of_one_that_is_not_read_from_comes_after_its_body(size: int) -> None:
    """A large body for an application that sleeps: `nc -N < file`."""
    async with proxy_rig(answer(ok(b"done")), backends=0, answer_half_closed=True) as rig:
        client = await rig.client()
        client.send(post(b"x" * size))
        client.writer.write_eof()
        await eventually(lambda: rig.app.entry.held == 1)
        (one,) = rig.connections
        assert one.paused
        await rig.backend(answer(ok(b"done")))
        assert (await client.response()).body == b"done"
        assert len(rig.backends[0].requests[0].body) == size
