"""Moving bytes from socket to socket through the shared pipe: in order, within limits, and with nothing left in it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from interceptor.transport import tcp
from interceptor.transport.splice import Splicer
from interceptor.transport.tcp import FULL_READ, LONG_BODY, SERVED_SECONDS, SMALL_MOVE, Connection, Outbox

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def splicer() -> Iterator[Splicer]:
    splicer = Splicer()
    yield splicer
    splicer.close()


@pytest.fixture
def source() -> Iterator[Pair]:
    yield from _pair()


@pytest.fixture
def target() -> Iterator[Pair]:
    yield from _pair()


def _pair() -> Iterator[Pair]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    yield near, far
    near.close()
    far.close()


def move(splicer: Splicer, first: bytes, source: Pair, target: Pair, count: int) -> tuple[int, bytes]:
    return splicer.move(first, source[0].fileno(), target[0].fileno(), count)


def test_what_has_arrived_follows_the_first_bytes(splicer: Splicer, source: Pair, target: Pair) -> None:
    source[1].send(b"and the rest")
    assert move(splicer, b"first ", source, target, 100) == (12, b"")
    assert target[1].recv(100) == b"first and the rest"


def test_no_more_is_taken_than_was_asked_for(splicer: Splicer, source: Pair, target: Pair) -> None:
    source[1].send(b"body" + b"next answer")
    assert move(splicer, b">", source, target, 4) == (4, b"")
    assert target[1].recv(100) == b">body"
    assert source[0].recv(100) == b"next answer"


def test_a_source_with_nothing_gives_nothing(splicer: Splicer, source: Pair, target: Pair) -> None:
    assert move(splicer, b"first", source, target, 100) == (0, b"")
    source[1].close()
    assert move(splicer, b"first", source, target, 100) == (0, b"")
    assert target[1].recv(100) == b"firstfirst"


def test_what_a_full_target_does_not_take_is_handed_back_in_order(splicer: Splicer, source: Pair, target: Pair) -> None:
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += target[0].send(bytes(4096))
    source[1].send(b"the rest")
    assert move(splicer, b"first, ", source, target, 100) == (8, b"first, the rest")
    assert len(target[1].recv(filled + 100)) <= filled


def test_a_target_that_is_gone_leaves_nothing_behind_for_the_next_one(splicer: Splicer, source: Pair, target: Pair) -> None:
    gone, peer = socket.socketpair()
    peer.close()
    source[1].send(b"for nobody")
    assert splicer.move(b"lost ", source[0].fileno(), gone.fileno(), 100) == (10, b"lost for nobody")
    gone.close()
    source[1].send(b"for you")
    assert move(splicer, b"sent ", source, target, 100) == (7, b"")
    assert target[1].recv(100) == b"sent for you"


def test_without_descriptors_the_first_bytes_are_handed_back(
    splicer: Splicer, source: Pair, target: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pipe(_flags: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "too many open files")

    source[1].send(b"the rest")
    with monkeypatch.context() as patched:
        patched.setattr(os, "pipe2", no_pipe)
        assert move(splicer, b"first", source, target, 100) == (0, b"first")
    assert move(splicer, b"first ", source, target, 100) == (8, b"")


class _Unbuffered:
    """A transport over a socket, with nothing buffered."""

    def __init__(self, near: socket.socket) -> None:
        self._near = near

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._near if name == "socket" else None

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is ever buffered."""

    paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def _over(pair: Pair, outbox: Outbox | None = None) -> Connection:
    connection = Connection(outbox or Outbox(), deadline=0.0)
    transport: Any = _Unbuffered(pair[0])
    connection.connection_made(transport)
    return connection


def test_a_connection_moves_what_arrived_at_another_unless_it_has_to_be_encoded(source: Pair, target: Pair) -> None:
    near, far = _over(source), _over(target)
    source[1].send(b"and the rest")
    assert far.splice(b"first ", near, 7) == 7
    assert target[1].recv(100) == b"first and the"
    far.framer = lambda data: b"<%b>" % bytes(data)
    assert far.splice(b"coded", near, 5) == -1
    assert target[1].recv(100) == b"<coded>"
    assert source[0].recv(100) == b" rest"


class _Moves:
    """In place of the pipe: what has arrived is as much as is asked for, up to a limit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.asked: list[int] = []
        self._most = most
        monkeypatch.setattr(tcp, "_splicer", self)

    def move(self, first: bytes, source: int, target: int, count: int) -> tuple[int, bytes]:
        self.asked.append(count)
        return min(self._most, count), b""


@pytest.mark.parametrize(("moved", "waits"), [(FULL_READ - 1, False), (FULL_READ, True)])
async def test_after_much_went_past_the_process_the_others_have_their_turn(
    source: Pair, target: Pair, moved: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox()
    near, far = _over(source, outbox), _over(target, outbox)
    moves = _Moves(monkeypatch, moved)
    assert far.splice(b"first", near, LONG_BODY) == moved
    assert moves.asked == [LONG_BODY]
    transport: Any = near._transport
    assert transport.paused == waits
    await asyncio.sleep(0)
    assert not transport.paused


@pytest.mark.parametrize(("moved", "waits"), [(SMALL_MOVE // 2 - 1, False), (SMALL_MOVE // 2, True)])
async def test_a_long_body_moves_less_at_once_while_others_are_served(
    source: Pair, target: Pair, moved: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1.0
    outbox = Outbox()
    outbox.backlog.clock = lambda: now
    near, far = _over(source, outbox), _over(target, outbox)
    moves = _Moves(monkeypatch, moved)
    _over(target, outbox).write(b"a message of another connection")
    assert far.splice(b"first", near, LONG_BODY) == moved
    transport: Any = near._transport
    assert transport.paused == waits
    await asyncio.sleep(0)
    assert not transport.paused
    far.splice(b"first", near, LONG_BODY - 1)  # is over soon
    far.splice(b"first", near, LONG_BODY)
    now += SERVED_SECONDS
    far.splice(b"first", near, LONG_BODY)
    assert moves.asked == [SMALL_MOVE, LONG_BODY - 1, SMALL_MOVE, LONG_BODY]
