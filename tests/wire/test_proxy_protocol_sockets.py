"""Accepted sockets that begin with a header of the PROXY protocol: exactly the header is read, within its limits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from interceptor.core.deadlines import Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.errors import ExchangeError
from interceptor.proxy_protocol.header import LONGEST_V1, LONGEST_V2
from interceptor.proxy_protocol.reception import Reception
from interceptor.proxy_protocol.sockets import HeaderSocket, receive
from interceptor.trust import TrustedProxies
from tests.support.waiting import turns, until

LINE = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 8443\r\n"
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
ADDRESSES = bytes([203, 0, 113, 7, 10, 0, 0, 1, 1, 1, 2, 2])
WITH_VALUES = SIGNATURE + b"\x21\x11\x00\x13" + ADDRESSES + b"\x03\x00\x04abcd"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
HELLO = b"\x16\x03\x01\x02\x00"
"""How TLS begins."""


class House:
    """What these sockets need of the proxy, and who got them afterwards."""

    head_timeout = 10.0

    def __init__(self) -> None:
        self.now = 100.0
        self.clock: Callable[[], float] = lambda: self.now
        self.deadlines = Deadlines(0.1, now=self.now)
        self.early = EarlyBytes(1000)
        self.clients: set[object] = set()
        self.client_opened = self.clients.add
        self.refusals: list[tuple[str, int]] = []
        self.handed: list[tuple[bytes, str]] = []
        """What was left to be read of each socket, and the address that it was handed on with."""
        self.ends: list[socket.socket] = []

    def client_closed(self, client: object) -> None:
        self.clients.remove(client)  # once

    def refused(self, error: ExchangeError) -> None:
        self.refusals.append((error.reason, error.status))

    def connect(self, first: bytes = b"", *, balancers: str = "127.0.0.0/8") -> socket.socket:
        """The other end of an accepted connection, on which these bytes have arrived."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
        ours.setblocking(False)
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs.setblocking(False)
        theirs.send(first)
        self.ends.append(theirs)
        receive(Reception(self, TrustedProxies.parse(balancers)), self._go_on, ours)
        return theirs

    def _go_on(self, connection: socket.socket, source: str) -> None:
        left = b""
        with contextlib.suppress(BlockingIOError):
            left = connection.recv(1 << 16)
        self.handed.append((left, source))
        connection.close()

    @property
    def left(self) -> tuple[int, int, int]:
        """What is still counted of sockets: clients, time limits, early bytes."""
        return len(self.clients), len(self.deadlines), self.early.total

    def keeps(self, size: int) -> bool:
        """Whether it waits for the rest of one header, of which so many bytes came."""
        return self.left == (1, 1, size)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    for client in list(made.clients):
        assert isinstance(client, HeaderSocket)
        client.abort()
    for end in made.ends:
        end.close()


def ended(end: socket.socket) -> bool:
    """Whether the proxy has closed its end, with nothing said."""
    try:
        return end.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("header", "source"), [(LINE, "203.0.113.7"), (WITH_VALUES, "203.0.113.7"), (LOCAL, ""), (b"PROXY UNKNOWN\r\n", "")]
)
async def test_the_header_is_taken_off_and_nothing_else(house: House, header: bytes, source: str) -> None:
    house.connect(header + HELLO)
    assert house.handed == [(HELLO, source)], "at once, as it was all there"
    assert house.left == (0, 0, 0), "it is somebody else's now"


@pytest.mark.parametrize("header", [LINE, WITH_VALUES])
async def test_byte_by_byte(house: House, header: bytes) -> None:
    end = house.connect()
    for sent in range(1, len(header)):
        end.send(header[sent - 1 : sent])
        await until(partial(house.keeps, sent))
    end.send(header[-1:])
    await until(lambda: house.handed)
    assert house.handed == [(b"", "203.0.113.7")]
    assert house.left == (0, 0, 0)


async def test_a_peer_that_is_no_load_balancer_sends_no_header(house: House) -> None:
    house.connect(LINE, balancers="192.0.2.1")
    assert house.handed == [(LINE, "")], "the handshake refuses it"
    assert house.left == (0, 0, 0)


@pytest.mark.parametrize(
    "first",
    [
        HELLO,
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 203.0.113.7\r\n" + HELLO,
        b"PROXY UNKNOWN " + b"x" * LONGEST_V1,
        SIGNATURE + b"\x21\x11" + LONGEST_V2.to_bytes(2, "big"),
        SIGNATURE + b"\x11\x11\x00\x0c" + ADDRESSES,
    ],
)
async def test_what_is_no_header_ends_the_connection_without_an_answer(house: House, first: bytes) -> None:
    end = house.connect(first)
    assert ended(end)
    assert house.refusals == [("proxy_protocol", 400)]
    assert (house.handed, house.left) == ([], (0, 0, 0))


async def test_a_slow_header_runs_into_the_limit_for_heads(house: House) -> None:
    end = house.connect(LINE[:5])
    house.now += 9.9
    house.deadlines.sweep(house.now)
    end.send(LINE[5:6])
    await until(lambda: house.left == (1, 1, 6))
    house.now += 0.3
    house.deadlines.sweep(house.now)
    assert ended(end), "what comes meanwhile does not prolong it"
    assert house.refusals == [("proxy_protocol", 408)]
    assert house.left == (0, 0, 0)


async def test_bytes_of_headers_count_among_those_of_heads(house: House) -> None:
    house.early.limit = 50
    first, second = house.connect(LINE[:30]), house.connect(LINE[:30])
    assert (ended(first), ended(second)) == (True, False)
    assert house.left == (1, 1, 30)
    third = house.connect()
    house.early.limit = 5
    third.send(LINE[:20])
    await until(lambda: ended(second) and ended(third))
    assert house.left == (0, 0, 0), "it may have to make room for itself"
    assert house.refusals == []


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_connection_that_ends_early_leaves_nothing(house: House, how: str) -> None:
    end = house.connect(LINE[:5])
    if how == "reset":
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    end.close()
    await until(lambda: house.left == (0, 0, 0))
    assert (house.handed, house.refusals) == ([], [])


async def test_a_peer_that_has_left_before_its_address_was_read_is_not_asked(house: House) -> None:
    """The checks of some load balancers send a header and a reset at once. The header would be taken for plaintext."""
    unconnected = socket.socket()
    receive(Reception(house, TrustedProxies.parse("all")), house._go_on, unconnected)
    assert unconnected.fileno() < 0
    assert (house.handed, house.refusals, house.left) == ([], [], (0, 0, 0))


async def test_its_descriptor_is_not_watched_any_more(house: House) -> None:
    """A number of a descriptor is used again: a reader that is left would read another client's bytes."""
    end = house.connect(LINE[:5])
    (client,) = house.clients
    assert isinstance(client, HeaderSocket)
    assert client._socket is not None
    number = client._socket.fileno()
    end.send(LINE[5:])
    await until(lambda: house.handed)
    assert not asyncio.get_running_loop().remove_reader(number)
    await turns()


async def test_to_the_list_of_clients_it_is_one_whose_head_is_on_its_way(house: House) -> None:
    end = house.connect()
    (client,) = house.clients
    assert isinstance(client, HeaderSocket)
    assert (client.idle, client.begun, client.close_if_idle()) == (False, True, False)
    assert (client.peer, client.protocol, client.requests, client.since) == (b"127.0.0.1", "PROXY", 0, 100.0)
    client.wind_down(0.0, 1.0)
    assert not ended(end)
    client.evict()
    client.abort()
    assert ended(end)
    assert house.left == (0, 0, 0)
