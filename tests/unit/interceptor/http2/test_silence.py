"""A backend's connection that says nothing: it is asked whether it is there, seldom, and given up if it is not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from interceptor.core.deadlines import Deadlines
from interceptor.core.messages import Request
from interceptor.http2.backend import PING_SECONDS, PONG_SECONDS, SILENCE_SECONDS, Http2Backend
from interceptor.http2.core.frames import ACK, PING, frame, settings
from interceptor.http2.heads import ProbeRequest
from interceptor.http2.place import StreamPlace
from interceptor.transport.tcp import Outbox
from tests.support.h2_memory import OK, frames_of, headers
from tests.support.proxy_memory import MockTransport


class Sink:
    """Records how a request ended."""

    method = b"GET"
    unframed = False

    def __init__(self) -> None:
        self.recorded: list[str] = []

    def on_answer(self, head: Any, body: Any, *, complete: bool, reusable: bool, trailers: Any = ()) -> None:
        self.recorded.append(f"{head.status}")

    def on_lost(self, error: Exception) -> None:
        self.recorded.append(f"{type(error).__name__}: {error}")


class Rig:
    """A backend's connection; its endpoint keeps places."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.deadlines = Deadlines(0.1, now=self.now)
        self.places: list[StreamPlace] = []
        endpoint: Any = SimpleNamespace(
            offer=lambda place, now: self.places.append(place),
            withdraw=lambda place: self.places.remove(place) if place in self.places else None,
            owner=SimpleNamespace(deadlines=self.deadlines),
            authority=b"a",
            backend=SimpleNamespace(app_protocol="h2c"),
        )
        self.connection = Http2Backend(endpoint, Outbox(), lambda: self.now)
        self.transport = MockTransport(self.connection)
        self.transport.feed(settings({}))
        self.places.append(self.connection.place())
        self.streams = 0

    def request(self) -> Sink:
        """On the next place."""
        sink: Any = Sink()
        head: Request = ProbeRequest(b"GET", b"/", b"/", b"a")
        self.places.pop(0).send_request(sink, head, None, end=True, peer=b"192.0.2.1", trusted=False)
        self.streams += 1
        return sink  # type: ignore[no-any-return]

    def answer(self, number: int) -> None:
        self.transport.feed(headers(2 * number - 1, OK))

    async def pings(self) -> int:
        """How many were sent since the last call."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        sent, self.transport.written = bytes(self.transport.written), bytearray()
        return sum(kind == PING for kind, *_ in frames_of(sent.removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))

    def pong(self) -> None:
        self.transport.feed(frame(PING, ACK, 0, b"isthere?"))

    def at(self, seconds: float) -> None:
        """After the begin."""
        self.now = 1000.0 + seconds
        self.deadlines.sweep(self.now)


async def test_one_that_speaks_is_not_asked() -> None:
    rig = Rig()
    for second in range(0, 100, 10):
        rig.at(second)
        rig.request()
        rig.answer(rig.streams)
        assert await rig.pings() == 0


async def test_one_that_is_silent_and_gone_loses_its_requests_at_once() -> None:
    rig = Rig()
    first = rig.request()
    rig.at(SILENCE_SECONDS - 1)
    second = rig.request()
    assert await rig.pings() == 0
    rig.at(SILENCE_SECONDS)
    third = rig.request()
    assert await rig.pings() == 1
    rig.at(SILENCE_SECONDS + PONG_SECONDS - 1)
    rig.request()
    assert await rig.pings() == 0
    assert first.recorded == []
    rig.at(SILENCE_SECONDS + PONG_SECONDS + 1)
    lost = ["BackendError: the backend does not answer any more"]
    assert (first.recorded, second.recorded, third.recorded) == (lost, lost, lost)
    assert rig.places == []
    assert rig.transport.closing


async def test_one_that_is_there_keeps_its_requests_and_is_not_asked_soon_again() -> None:
    rig = Rig()
    slow = rig.request()
    rig.at(SILENCE_SECONDS)
    rig.request()
    assert await rig.pings() == 1
    rig.pong()
    for second in range(20, int(PING_SECONDS), 20):
        rig.at(second)
        rig.request()
        assert await rig.pings() == 0
    rig.at(SILENCE_SECONDS + PING_SECONDS)
    rig.request()
    assert await rig.pings() == 1
    assert slow.recorded == []


async def test_after_a_response_it_may_be_asked_again() -> None:
    rig = Rig()
    rig.request()
    rig.at(20)
    rig.request()
    assert await rig.pings() == 1
    rig.pong()
    rig.answer(1)
    rig.at(40)
    rig.request()
    assert await rig.pings() == 1


async def test_any_byte_is_an_answer() -> None:
    rig = Rig()
    first = rig.request()
    rig.at(20)
    rig.request()
    rig.at(21)
    rig.answer(1)
    rig.at(60)
    assert first.recorded == ["200"]
    assert not rig.transport.closing
