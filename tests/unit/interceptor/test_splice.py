"""Moving bytes from socket to socket through the one pipe: in order, within bounds, and with nothing left in it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from interceptor.transport.splice import Splicer

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
