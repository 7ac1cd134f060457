"""Large answers of the proxy's own: whole for who reads them, and no burden with those who do not."""

from __future__ import annotations

import socket

import msgspec
import pytest

from fleet.routing.route import Route, StaticResponse
from tests.support.loopback import route
from tests.support.raw_requests import get
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

PAGE = bytes(range(256)) * 4096


def page(body: bytes = PAGE) -> Route:
    """An application in maintenance, with a page as large as one may be."""
    return msgspec.structs.replace(route(), maintenance=StaticResponse(200, (), body))


def small_sockets(rig: Rig) -> None:
    """As far as the kernel may help: to a peer far away its buffers are no larger."""
    for client in rig.connections:
        client._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)


async def test_a_large_page_is_not_buffered_for_each_client_that_does_not_read() -> None:
    async with proxy_rig(routes=[page()]) as rig:
        clients = [await rig.client(receive_buffer=4096, limit=4096) for _ in range(10)]
        await eventually(lambda: len(rig.connections) == 10)
        small_sockets(rig)
        for client in clients:
            client.send(get() + get())
        await eventually(lambda: all(one.congested for one in rig.connections))
        kept = [one._transport.get_write_buffer_size() for one in rig.connections]
        assert max(kept) <= 64 * 1024
        for client in clients:
            for _ in range(2):
                assert (await client.response()).body == PAGE
        assert (await clients[0].ask(get())).body == PAGE  # and the connection goes on


@pytest.mark.parametrize("size", [len(PAGE), 60 * 1024])
async def test_a_client_that_reads_nothing_of_a_page_is_reset(size: int) -> None:
    async with proxy_rig(routes=[page(PAGE[:size])], keep_alive_timeout=0.3) as rig:
        client = await rig.client(receive_buffer=4096, limit=4096)
        await eventually(lambda: bool(rig.connections))
        small_sockets(rig)
        client.send(get())
        await eventually(lambda: not rig.connections)


async def test_an_upload_into_a_large_page_is_answered_whole_and_ended() -> None:
    async with proxy_rig(routes=[page()]) as rig:
        client = await rig.client()
        client.send(get(b"/", b"Content-Length: 99999999", method=b"POST") + b"x" * 65536)
        message = await client.response()
        assert (message.body, message.get(b"connection")) == (PAGE, b"close")
        assert (await (await rig.client()).ask(get(method=b"HEAD"), b"HEAD")).get(b"content-length") == b"%d" % len(PAGE)
