"""A TCP connection ends while one of its sides is not read from, or is still to be told of a fault."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest

from tests.support.ports import free_port
from tests.wire.proxy_rig import eventually
from tests.wire.relay_rig import Ends, cut, read, sockets, turns

NUMBER = free_port()
PIECE = 3000
FEW = 100
"""Bytes. The kernel has room for more of these after the first that it cannot send on."""


async def fill(ends: Ends) -> bytes:
    """Send from the client until the interceptor reads no more, and the kernel takes no more. Returns what was sent."""
    sent = b""
    while not ends.inside.paused:
        with contextlib.suppress(BlockingIOError):
            sent += (data := os.urandom(PIECE))[: ends.client.send(data)]
        await turns(2)
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += (data := os.urandom(PIECE))[: ends.client.send(data)]
    return sent


async def rest(end: socket.socket) -> bytes:
    """All that comes until the end."""
    got = b""

    def ended() -> bool:
        nonlocal got
        while data := read(end):
            got += data
        return data == b""

    await eventually(ended)
    return got


@pytest.mark.parametrize("backend_first", [False, True], ids=["client_first", "backend_first"])
@pytest.mark.parametrize("closes", [False, True], ids=["half", "close"])
async def test_what_a_client_has_sent_arrives_although_both_sides_have_ended(*, backend_first: bool, closes: bool) -> None:
    async with sockets(NUMBER) as made:
        ends = await made.connect(small=True)
        sent = await fill(ends)
        assert ends.inside.paused
        if backend_first:
            ends.backend.shutdown(socket.SHUT_WR)
            await eventually(lambda: read(ends.client) == b"")
        ends.client.shutdown(socket.SHUT_WR)
        if not backend_first:
            await turns(20)
            ends.backend.shutdown(socket.SHUT_WR)
            await eventually(lambda: read(ends.client) == b"")
        if closes:
            ends.client.close()
        await turns(50)
        assert ends.inside.paused
        assert await rest(ends.backend) == sent


@pytest.mark.parametrize("ended", ["", "client", "backend"])
async def test_a_client_that_resets_while_it_is_not_read_from_is_missed_at_once(ended: str) -> None:
    async with sockets(NUMBER) as made:
        ends = await made.connect(small=True)
        await fill(ends)
        if ended:
            ends.end(ended)[0].shutdown(socket.SHUT_WR)
            await turns(20)
        cut(ends.client)
        await eventually(lambda: not made.rig.clients)


@pytest.mark.parametrize("relayed", [False, True], ids=["with transports", "relayed"])
@pytest.mark.parametrize("ended", ["", "backend"])
async def test_a_client_that_resets_has_not_ended_cleanly_for_its_backend(*, ended: str, relayed: bool) -> None:
    """Also one whose backend had closed its sending side, and is still told things: a part of them must not look complete."""
    async with sockets(NUMBER) as made:
        ends = await made.connect()
        await ends.passes()
        if relayed:
            ends.relayed()
        if ended:
            ends.backend.shutdown(socket.SHUT_WR)
            await eventually(lambda: read(ends.client) == b"")
        ends.client.send(b"the first part")
        await ends.hears("backend", b"the first part")
        cut(ends.client)
        assert await ends.ends("backend")


async def test_a_client_that_ends_while_it_is_to_be_reset_gets_the_reset() -> None:
    async with sockets(NUMBER) as made:
        ends = await made.connect(small=True)
        sent = b""
        while not ends.inside.in_flight():
            sent += (data := os.urandom(FEW))
            ends.backend.send(data)
            await turns(2)
        assert not ends.inside.congested
        cut(ends.backend)
        await eventually(lambda: ends.inside._tunnel is None)
        ends.client.shutdown(socket.SHUT_WR)
        await turns(50)
        got = b""

        def has_reset() -> bool:
            nonlocal got
            try:
                while (data := read(ends.client)) is not None:
                    assert data, "a clean end after a part of it"
                    got += data
            except ConnectionResetError:
                return True
            return False

        await eventually(has_reset)
        assert sent.startswith(got)
