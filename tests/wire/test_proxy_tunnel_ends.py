"""A tunnel's last words: what a backend said before it closed reaches a client that goes on sending, and a cut shows as one."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fleet.discovery.sources import Backend
from tests.support.loopback import APP
from tests.support.raw_requests import get
from tests.wire.proxy_rig import Rig, eventually, proxy_rig

UPGRADE = get(b"/", b"Connection: Upgrade", b"Upgrade: echo")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
WORDS = b"w" * 200_000 + b"the last"
"""More than a client of a small buffer takes before it reads, and less than sockets hold on their way."""
SMALL_BUFFER = 16 * 1024
RESET = struct.pack("ii", 1, 0)


@asynccontextmanager
async def tunnel(*, receive_buffer: int = SMALL_BUFFER) -> AsyncIterator[tuple[Rig, socket.socket, socket.socket]]:
    """The ends of a tunnel as sockets that do what they are told at once: the client's, which reads nothing yet, and the
    backend's."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        server.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.setblocking(False)
        async with proxy_rig(backends=0) as rig:
            rig.sources.set(APP, [Backend(*server.getsockname())])
            await loop.sock_connect(client, ("127.0.0.1", rig.interceptor.proxy_port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_sendall(client, UPGRADE)
            backend, _ = await loop.sock_accept(server)
            with backend:
                backend.setblocking(False)
                await read_until(backend, b"\r\n\r\n")
                await loop.sock_sendall(backend, SWITCH)
                await read_until(client, b"\r\n\r\n")
                yield rig, client, backend
                client.close()


async def read_until(sock: socket.socket, marker: bytes) -> None:
    data = b""
    while not data.endswith(marker):
        data += await asyncio.get_running_loop().sock_recv(sock, 1)


async def read_to_end(sock: socket.socket) -> tuple[bytes, bool]:
    """All that comes, and whether it ends with a reset."""
    data = b""
    async with asyncio.timeout(60):
        while True:
            try:
                piece = await asyncio.get_running_loop().sock_recv(sock, 1 << 16)
            except ConnectionResetError:
                return data, True
            if not piece:
                return data, False
            data += piece


def is_taken(sock: socket.socket) -> bool:
    """Whether all that was sent has reached the other side's kernel."""
    return fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)) == bytes(4)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


async def test_a_backend_that_ends_its_side_and_then_goes_away_is_heard_to_the_end() -> None:
    """It has said all: that it takes no more of what the client sends cuts nothing."""
    async with tunnel() as (rig, client, backend):
        await asyncio.get_running_loop().sock_sendall(backend, WORDS)
        backend.shutdown(socket.SHUT_WR)
        connection = next(iter(rig.interceptor.proxy.clients))
        await eventually(lambda: connection._tunnel is None or connection._tunnel._ends)  # type: ignore[attr-defined]
        reset(backend)
        client.send(b"more")
        await eventually(rig.ledger.balanced)
        assert await read_to_end(client) == (WORDS, False)


async def test_a_backend_that_resets_is_heard_up_to_there_and_the_client_is_reset_too() -> None:
    async with tunnel() as (rig, client, backend):
        await asyncio.get_running_loop().sock_sendall(backend, WORDS)
        await eventually(lambda: is_taken(backend))
        reset(backend)
        await eventually(rig.ledger.balanced)
        assert await read_to_end(client) == (WORDS, True)


@pytest.mark.parametrize("ends", [True, False])
async def test_what_the_client_sends_meanwhile_loses_none_of_it(ends: bool) -> None:
    """The client's bytes are there before the backend's last, and meet a connection that is gone."""
    async with tunnel(receive_buffer=1 << 20) as (rig, client, backend):
        client.send(b"more")
        backend.send(WORDS[-1000:])
        if ends:
            backend.shutdown(socket.SHUT_WR)
        reset(backend)
        data, was_reset = await read_to_end(client)
        assert data == WORDS[-1000:]
        assert was_reset is not ends
        client.close()
        await eventually(rig.ledger.balanced)


async def test_a_client_that_takes_nothing_does_not_keep_a_lost_tunnel() -> None:
    async with tunnel() as (rig, client, backend):
        await asyncio.get_running_loop().sock_sendall(backend, WORDS)
        await eventually(lambda: is_taken(backend))
        reset(backend)
        await eventually(lambda: not rig.interceptor.proxy.clients)
        data, was_reset = await read_to_end(client)
        assert WORDS.startswith(data)
        assert was_reset
