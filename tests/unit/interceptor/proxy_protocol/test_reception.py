"""Connections that begin with a header of the PROXY protocol: from whom it is read, and what becomes of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.core.deadlines import Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.errors import ExchangeError
from interceptor.proxy_protocol.reception import HeaderConnection, Reception
from interceptor.trust import TrustedProxies
from tests.support.proxy_memory import MockTransport

LINE = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 8080\r\n"
REST = b"GET / HTTP/1.1\r\n\r\n"


class House:
    """What these connections need of the proxy, and who got them afterwards."""

    head_timeout = 10.0

    def __init__(self, balancers: str = "192.0.2.0/24", *, early: int = 1000) -> None:
        self.now = 100.0
        self.clock: Callable[[], float] = lambda: self.now
        self.deadlines = Deadlines(0.1, now=self.now)
        self.early = EarlyBytes(early)
        self.clients: set[object] = set()
        self.refusals: list[tuple[str, int]] = []
        self.handed: list[tuple[object, str]] = []
        self.reception = Reception(self, TrustedProxies.parse(balancers))

    def client_opened(self, client: object) -> None:
        self.clients.add(client)

    def client_closed(self, client: object) -> None:
        self.clients.discard(client)

    def refused(self, error: ExchangeError) -> None:
        self.refusals.append((error.reason, error.status))

    def connect(self) -> MockTransport:
        return MockTransport(HeaderConnection(self.reception, self._go_on))

    def _go_on(self, transport: Any, told: str) -> None:
        transport.protocol = _Next()
        self.handed.append((transport, told))

    @property
    def left(self) -> tuple[int, int, int]:
        """What is still counted of connections: clients, time limits, early bytes."""
        return len(self.clients), len(self.deadlines), self.early.total


class _Next(asyncio.BufferedProtocol):
    """Takes what follows the header."""

    def __init__(self) -> None:
        self.taken = b""
        self._buffer = bytearray(4096)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.taken += bytes(self._buffer[:nbytes])


async def test_the_header_is_taken_off_and_nothing_else() -> None:
    house = House()
    transport = house.connect()
    assert house.left == (1, 1, 0)
    transport.feed(LINE[:20])
    assert house.left == (1, 1, 20)
    transport.feed(LINE[20:] + REST)
    assert house.handed == [(transport, "203.0.113.7")]
    assert house.left == (0, 0, 0), "it is somebody else's now"
    assert transport.protocol.taken == REST  # type: ignore[attr-defined]


async def test_a_peer_that_is_no_load_balancer_sends_no_header() -> None:
    house = House("10.0.0.0/8")
    transport = house.connect()
    assert house.handed == [(transport, "")]
    assert house.left == (0, 0, 0)
    transport.feed(LINE)
    assert transport.protocol.taken == LINE, "bytes like any others"  # type: ignore[attr-defined]


async def test_a_header_without_an_address() -> None:
    house = House()
    transport = house.connect()
    transport.feed(b"PROXY UNKNOWN\r\n")
    assert house.handed == [(transport, "")]


async def test_what_is_no_header_ends_the_connection_at_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    for _ in range(3):
        transport = house.connect()
        transport.feed(b"GET")
        assert transport.aborted
        assert not transport.written
        await asyncio.sleep(0)
    assert house.refusals == [("proxy_protocol", 400)] * 3
    assert house.handed == []
    assert house.left == (0, 0, 0)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "192.0.2.1" in record.message
    house.now += 61
    house.connect().feed(b"GET")
    assert len(caplog.records) == 2


async def test_a_slow_header_runs_into_the_limit_for_heads() -> None:
    house = House()
    transport = house.connect()
    transport.feed(LINE[:5])
    house.now += 9.9
    house.deadlines.sweep(house.now)
    transport.feed(LINE[5:6])
    assert not transport.aborted
    house.now += 0.3
    house.deadlines.sweep(house.now)
    assert transport.aborted, "what comes meanwhile does not prolong it"
    await asyncio.sleep(0)
    assert house.refusals == [("proxy_protocol", 408)]
    assert house.left == (0, 0, 0)


async def test_bytes_of_headers_count_among_those_of_heads() -> None:
    house = House(early=50)
    first, second = house.connect(), house.connect()
    first.feed(LINE[:30])
    second.feed(LINE[:30])
    assert (first.aborted, second.aborted) == (True, False)
    await asyncio.sleep(0)
    assert house.left == (1, 1, 30)


async def test_a_connection_that_ends_early_leaves_nothing() -> None:
    house = House()
    transport = house.connect()
    transport.feed(LINE[:5])
    transport.feed_eof()
    await asyncio.sleep(0)
    assert house.left == (0, 0, 0)
    assert house.refusals == []


async def test_a_peer_that_has_left_before_its_address_was_read_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of some load balancers send a header and a reset at once. The header would be taken for a request."""
    monkeypatch.setattr(MockTransport, "get_extra_info", lambda self, name: None)
    house = House("all")
    transport = house.connect()
    assert transport.aborted
    assert house.handed == []
    await asyncio.sleep(0)
    assert house.left == (0, 0, 0)
    assert house.refusals == []


async def test_to_the_list_of_clients_it_is_one_whose_head_is_on_its_way() -> None:
    house = House()
    transport = house.connect()
    (client,) = house.clients
    assert isinstance(client, HeaderConnection)
    assert (client.idle, client.begun, client.close_if_idle()) == (False, True, False)
    assert (client.peer, client.protocol, client.requests, client.since) == (b"192.0.2.1", "PROXY", 0, 100.0)
    client.wind_down(0.0, 1.0)
    assert not transport.closing
    client.abort()
    assert transport.aborted
