"""A handshake until it begins: its first byte, its time limit, and its turn. In memory, but for the pair of sockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleet.runtime.backlog import Backlog
from interceptor.core.deadlines import Deadlines
from interceptor.transport.handshakes import MAX_FIRST, Handshakes
from tests.support.waiting import turns, until

ANSWER = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Host:
    """The proxy, as handshakes see it."""

    def __init__(self) -> None:
        self.head_timeout = 10.0
        self.now = 0.0
        self.clock: Callable[[], float] = lambda: self.now
        self.deadlines = Deadlines(0.1, now=0.0)
        self.clients: list[Any] = []
        self.client_opened = self.clients.append
        self.client_closed = self.clients.remove


class Stage:
    def __init__(self) -> None:
        self.host = Host()
        self.started: list[Any] = []
        self.handshakes = Handshakes(
            self.host,
            Backlog(),
            context=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            serve=lambda transport, protocol, source: self.started.append((protocol, source)),
            plaintext_answer=lambda: ANSWER,
        )
        self.sockets: list[socket.socket] = []

    def connect(self, source: str = "") -> socket.socket:
        """The client's end of an accepted connection."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        self.sockets.append(theirs)
        self.handshakes.accept(ours, source)
        return theirs


@pytest.fixture
async def stage() -> Iterator[Stage]:  # type: ignore[misc]
    made = Stage()
    yield made
    for end in made.sockets:
        end.close()
    for client in list(made.host.clients):
        client.abort()
    await made.handshakes.close()


def ended(end: socket.socket) -> bool:
    """Whether the proxy has closed its end."""
    try:
        return end.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


async def test_it_is_a_client_that_has_not_begun(stage: Stage) -> None:
    stage.connect()
    (client,) = stage.host.clients
    assert client.begun
    assert not client.idle
    assert not client.close_if_idle()
    client.wind_down(0.0, 1.0)
    assert stage.host.clients == [client]


async def test_its_address_is_the_one_that_a_load_balancer_has_sent(stage: Stage) -> None:
    stage.connect("203.0.113.7")
    stage.connect("::ffff:203.0.113.8")
    stage.connect()
    assert [client.peer for client in stage.host.clients] == [b"203.0.113.7", b"203.0.113.8", b"unknown"]


async def test_the_time_limit_is_that_of_a_head(stage: Stage) -> None:
    end = stage.connect()
    stage.host.deadlines.sweep(9.9)
    await turns()
    assert not ended(end)
    for now in (5.0, 10.0, 10.2):
        stage.host.deadlines.sweep(now)
    await until(lambda: ended(end))
    assert stage.handshakes.counts == {"slow": 1}
    assert not stage.host.clients


async def test_at_the_limit_of_connections_it_makes_room(stage: Stage) -> None:
    end = stage.connect()
    stage.host.clients[0].evict()
    await until(lambda: ended(end))
    assert stage.handshakes.counts == {"evicted": 1}


async def test_a_client_that_leaves_before_its_first_byte(stage: Stage) -> None:
    stage.connect().close()
    await until(lambda: not stage.host.clients)
    assert stage.handshakes.counts == {"left": 1}


async def test_plaintext_is_answered_in_plaintext(stage: Stage) -> None:
    end = stage.connect()
    end.send(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: not stage.host.clients)
    assert end.recv(100) == ANSWER
    await until(lambda: ended(end))
    assert stage.handshakes.counts == {"plaintext": 1}


async def test_handshakes_are_started_in_turns(stage: Stage) -> None:
    """Those that are ready are queued, and the backlog starts some in each turn of the event loop."""
    now = iter(range(1000))
    backlog = stage.handshakes.backlog = Backlog(lambda: float(next(now)))  # each look at the clock is a second later
    backlog._scheduled = True  # it is run here
    begun: list[int] = []
    context = stage.handshakes.context

    def note() -> ssl.SSLContext:
        begun.append(1)
        return context()

    stage.handshakes.context = note
    for _ in range(3):
        stage.connect().send(b"\x16\x03\x01")
    await until(lambda: len(backlog) == 3)
    assert not begun
    for count in (1, 2, 3):
        backlog._run()
        assert len(begun) == count


async def test_a_client_that_sends_much_before_its_turn_is_not_read(stage: Stage) -> None:
    backlog = stage.handshakes.backlog
    backlog._scheduled = True  # it never runs
    end = stage.connect()
    sent = end.send(b"\x16\x03\x01" + bytes(MAX_FIRST))
    await until(lambda: len(backlog) == 1)
    (client,) = stage.host.clients
    await until(lambda: len(client._first) == sent)
    assert end.send(bytes(MAX_FIRST))
    await turns()
    assert len(client._first) == sent


async def test_nonsense_is_answered_with_an_alert(stage: Stage) -> None:
    end = stage.connect()
    end.send(b"\x16\x03\x01\x00\x04\xff\x00\x00\x00")
    await until(lambda: not stage.host.clients)
    assert end.recv(100)[:1] == b"\x15"
    assert stage.handshakes.counts == {"failed": 1}


async def test_a_client_that_leaves_in_its_handshake(stage: Stage) -> None:
    end = stage.connect()
    end.send(b"\x16\x03\x01\x02\x00\x01")
    await until(lambda: stage.host.clients[0]._engine is not None)
    end.close()
    await until(lambda: not stage.host.clients)
    assert stage.handshakes.counts == {"left": 1}
