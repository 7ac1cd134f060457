"""Connections without transports meet faults in the turns in which they leave them or get them back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import socket
from typing import Any

import pytest

from interceptor.transport.relay import Relayed
from interceptor.transport.tcp import BULK_VIEW
from tests.support.ports import free_port
from tests.wire.proxy_rig import eventually
from tests.wire.relay_rig import Ends, Sockets, cut, open_files, read, sockets, turns

NUMBER = free_port()
SIDES = pytest.mark.parametrize("side", ["client", "backend"])
PIECE = 3000
"""Less than one read."""


def other(side: str) -> str:
    return "client" if side == "backend" else "backend"


def fill(made: Sockets, ends: Ends, side: str) -> bytes:
    """Send towards a side that does not read, in the same turn, until that is noticed. Returns what was sent."""
    sender, sent = ends.end(side)[1], b""
    while len(made.relay):
        with contextlib.suppress(BlockingIOError):
            sent += (data := os.urandom(PIECE))[: sender.send(data)]
        made.relay._pass_on()
    return sent


@SIDES
async def test_what_waited_for_a_transport_and_is_taken_at_once_lets_the_other_side_go_on(side: str) -> None:
    async with sockets(NUMBER) as made:
        ends = await made.connect(small=True)
        ends.relayed()
        sent, got = fill(made, ends, side), b""
        assert ends.connection(side).congested
        end = ends.end(side)[0]
        while data := read(end):  # before there is a transport
            got += data
        assert len(got) < len(sent), "the rest waits for the transport"
        ends.connection(side)._transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(sent))
        await ends.hears(side, sent[len(got) :])
        assert not ends.connection(side).congested
        await ends.passes()


@pytest.mark.parametrize("relayed", [False, True])
@SIDES
async def test_a_reset_that_a_write_meets_first_is_no_clean_end(side: str, relayed: bool) -> None:
    async with sockets(NUMBER) as made:
        ends = await made.connect()
        await ends.passes()
        if relayed:
            ends.relayed()
        end, peer = ends.end(side)
        peer.send(b"more")
        cut(end)
        assert await ends.ends(other(side))


async def test_a_client_that_is_not_read_from_is_missed_although_it_cannot_be_relayed() -> None:
    async with sockets(NUMBER) as made:
        ends = await made.connect(small=True)
        ends.relayed()
        fill(made, ends, "backend")
        await turns(5)
        assert ends.inside.paused
        assert not ends.relay()
        cut(ends.client)
        await eventually(lambda: not made.rig.clients)
        assert await ends.ends("backend")


class Refusing:
    """An epoll instance that takes only so many more sockets."""

    def __init__(self, epoll: Any, most: int) -> None:
        self._epoll, self.most = epoll, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)

    def register(self, *asked: int) -> None:
        self.most -= 1
        if self.most < 0:
            raise OSError(errno.ENOSPC, "no room for more")
        self._epoll.register(*asked)


@pytest.mark.parametrize("most", [0, 1])
async def test_without_room_in_the_kernel_it_keeps_its_transports(most: int) -> None:
    async with sockets(NUMBER) as made:
        first, ends = await made.connect(), await made.connect()
        first.relayed()
        await first.passes()
        epoll, before = made.relay._epoll, open_files()
        made.relay._epoll = Refusing(epoll, most)  # type: ignore[assignment]
        for _ in range(3):
            made.relay._epoll.most = most  # type: ignore[union-attr]
            assert not ends.relay()
        made.relay._epoll = epoll
        assert open_files() == before
        assert len(made.relay) == 2
        await ends.passes()
        ends.relayed()
        await ends.passes()
        await first.passes()


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "no memory"), RuntimeError("closed")], ids=["os", "other"])
@pytest.mark.parametrize("failing", [(1,), (2,), (1, 2)], ids=["first", "second", "both"])
async def test_sockets_that_get_no_transport_are_reset(
    failing: tuple[int, ...], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    opens, calls = loop.connect_accepted_socket, 0

    async def opens_some(*asked: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in failing:
            raise error
        return await opens(*asked)

    async with sockets(NUMBER) as made:
        stays = await made.connect()
        stays.relayed()
        await turns(5)
        before, ends = open_files(), await made.connect()
        ends.relayed()
        monkeypatch.setattr(loop, "connect_accepted_socket", opens_some)
        ends.inside.end_relay()
        assert await ends.ends("client")
        assert await ends.ends("backend")
        monkeypatch.undo()
        await eventually(lambda: len(made.rig.clients) == 1)
        faults = made.rig.rig.faults
        assert {fault["exception"] for fault in faults} == (set() if isinstance(error, OSError) else {error})
        faults.clear()
        assert made.rig.entry.in_flight == 1
        ends.close()
        await eventually(lambda: open_files() == before)
        await stays.passes()


@SIDES
async def test_a_socket_is_closed_whatever_its_connection_does(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sockets(NUMBER) as made:
        (await made.connect()).relayed()
        await turns(5)
        before, ends = open_files(), await made.connect()
        ends.relayed()
        connection = ends.connection(side)
        lost = type(connection).connection_lost

        def fails(self: Any, error: Exception | None) -> None:
            lost(self, error)
            raise ValueError("a mistake")

        monkeypatch.setattr(type(connection), "connection_lost", fails)
        connection.abort()
        assert await ends.ends(side)
        await turns(5)
        monkeypatch.undo()
        faults = made.rig.rig.faults
        assert [str(fault["exception"]) for fault in faults] == ["a mistake"]
        faults.clear()
        if side == "client":
            assert await ends.ends("backend")
        else:
            ends.inside.abort()
        ends.close()
        await eventually(lambda: open_files() == before)


async def test_closing_the_interceptor_closes_what_is_relayed() -> None:
    async with sockets(NUMBER) as made:
        every = [await made.connect() for _ in range(5)]
        for ends in every:
            ends.relayed()
        await made.rig.rig.interceptor.proxy.close()
        await turns(2)
        assert all([await ends.ends(side) for ends in every for side in ("client", "backend")])


@SIDES
async def test_a_side_that_is_to_be_closed_for_writing_has_reset_meanwhile(side: str) -> None:
    async with sockets(NUMBER) as made:
        ends = await made.connect()
        ends.relayed()
        ends.connection(side).write_eof()
        cut(ends.end(side)[0])
        assert await ends.ends(other(side))


async def test_both_sides_that_take_nothing_have_reset_meanwhile() -> None:
    async with sockets(NUMBER) as made:
        ends = await made.connect(small=True)
        ends.relayed()
        fill(made, ends, "backend")
        while not ends.inside.congested:
            ends.inside.write_through(bytes(PIECE))
        assert ends.connection("backend").congested
        cut(ends.client)
        cut(ends.backend)
        await eventually(lambda: not made.rig.clients)


@pytest.mark.parametrize("how", ["end", "reset", "abort", "left"])
async def test_what_has_ended_needs_no_search_for_cycles(how: str) -> None:
    """Full collections are rare."""

    def found() -> int:
        return sum(isinstance(each, Relayed) for each in gc.get_objects())

    async with sockets(NUMBER) as made:
        gc.collect()
        before = found()
        gc.disable()
        try:
            for _ in range(10):
                ends = await made.connect()
                ends.relayed()
                if how == "end":
                    ends.client.close()
                    assert not await ends.ends("backend")
                elif how == "reset":
                    cut(ends.backend)
                elif how == "abort":
                    ends.inside.abort()
                else:
                    ends.inside.end_relay()
                    await turns(5)
                    await ends.passes()
                ends.close()
                del ends
            made.open.clear()
            await eventually(lambda: not made.rig.clients)
            await turns(5)
            assert found() == before
        finally:
            gc.enable()


@SIDES
async def test_a_reset_behind_much_data_is_no_clean_end(side: str) -> None:
    """Moved inside the kernel: nothing is left to move when the reset is met."""
    async with sockets(NUMBER) as made:
        ends = await made.connect()
        connection, (end, peer) = ends.connection(side), ends.end(side)
        connection._view = BULK_VIEW
        end.send(bytes(len(BULK_VIEW)))
        cut(end)
        assert await ends.ends(other(side))
        assert peer.fileno() >= 0
