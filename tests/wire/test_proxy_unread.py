"""Clients that take their answers slowly, or never, and backends that do so with what a tunnel brings: the last bytes are neither
cut off nor kept for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interceptor.http1 import backend as backends
from tests.support.raw_requests import get
from tests.support.waiting import settled, turns
from tests.wire.proxy_backend import BackendPeer, Script, answer, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

SMALL_BUFFER = 4096
SIZE = 60_000
"""Of an answer that is read at once, and of which more waits in the proxy than the kernel takes."""
LIMIT = 0.4
"""Of keep-alive, and so of the time for which a client may take nothing of its answer."""
CLOSE = b"Connection: close"
UPGRADE = (b"Connection: upgrade", b"Upgrade: x")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


@asynccontextmanager
async def a_rig(script: Script | None = None, **settings: Any) -> AsyncIterator[Rig]:
    """The kernel takes little of what the proxy writes to its clients."""
    settings = {"keep_alive_timeout": LIMIT, **settings}
    async with proxy_rig(script or answer(ok(b"x" * SIZE)), **settings) as rig:
        listening = rig.interceptor._listener._socket
        assert listening is not None
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)  # those that are accepted have it from there
        yield rig


async def unread(rig: Rig, *fields: bytes) -> RawClient:
    """A client that was answered, and has read nothing of it; most of it waits in the proxy."""
    client = await rig.client(receive_buffer=SMALL_BUFFER, limit=SMALL_BUFFER)
    client.send(get(b"/", *fields))
    await eventually(lambda: rig.app.entry.requests_total and rig.ledger.balanced())
    assert [each.congested for each in rig.connections] == [True]
    return client


async def read_slowly(client: RawClient) -> bytes:
    """In pieces, with pauses that are shorter than the limit, and longer in all."""
    data = b""
    while len(data) < SIZE:
        piece = await client.reader.read(SIZE // 16)
        assert piece, f"ended early, after {len(data)}"
        data += piece
        await asyncio.sleep(LIMIT / 4)  # how slow it is, is what is tried: the kernel takes part in it, and has no other clock
    return data


@pytest.mark.parametrize("fields", [(), (CLOSE,)])
async def test_a_client_that_takes_nothing_of_its_answer_is_cut(fields: tuple[bytes, ...]) -> None:
    async with a_rig() as rig:
        await unread(rig, *fields)
        await eventually(lambda: not rig.connections)


@pytest.mark.parametrize("fields", [(), (CLOSE,)])
async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(fields: tuple[bytes, ...]) -> None:
    async with a_rig() as rig:
        client = await unread(rig, *fields)
        assert (await read_slowly(client)).endswith(b"x" * 1000)
        await eventually(lambda: not rig.connections)


async def test_a_client_that_has_all_of_its_answer_may_send_another_request() -> None:
    async with a_rig(answer(ok(b"x" * SIZE), ok(b"again")), keep_alive_timeout=4 * LIMIT) as rig:
        client = await unread(rig)
        await read_slowly(client)
        client.send(get())
        while b"again" not in (data := await client.reader.read(SIZE)):
            assert data, "ended early"


async def test_a_client_whose_answer_waits_is_not_idle() -> None:
    """Room for others is made by closing those that wait for nothing."""
    async with a_rig(keep_alive_timeout=30) as rig:
        client = await unread(rig)
        rig.interceptor.proxy.close_idle(0.0)
        await turns()
        assert not any(each._transport.is_closing() for each in rig.connections)
        client.reset()


async def test_a_backend_that_never_takes_the_last_bytes_of_a_tunnel_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "FLUSH_SECONDS", LIMIT)

    async def takes_nothing(peer: BackendPeer) -> None:
        await peer.request()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.send(SWITCH)
        peer.writer.write_eof()
        await asyncio.Event().wait()

    async with a_rig(backends=0) as rig:
        await rig.backend(takes_nothing, receive_buffer=SMALL_BUFFER)
        client = await rig.client()
        client.send(get(b"/", *UPGRADE))
        await client.read_until(b"\r\n\r\n")
        client.send(b"x" * 8_000_000)
        await eventually(lambda: any(each.paused for each in rig.connections))
        await settled(client.writer.transport.get_write_buffer_size, seconds=0.1)  # all sockets on the way are full
        client.writer.write_eof()
        client.reset()
        await eventually(lambda: not rig.connections_open)
