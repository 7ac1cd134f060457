"""Since when a peer has taken nothing of what is queued for it."""

from __future__ import annotations

import math

from interceptor.http2.core.frames import settings, window_update
from interceptor.http2.core.outflow import QUEUE_HIGH
from interceptor.http2.core.session import Session
from interceptor.http2.core.stream import Stream
from interceptor.http2.side import StreamSide
from tests.support.h2_memory import OK, Peer, headers


class Side(StreamSide):
    """Answers a request whose client opens no window by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.peer = Peer()
        self.peer.feed(settings({4: 0}) + headers(1))
        self.stream = self.peer.streams[1]
        self.peer.session.send_headers(self.stream, OK)

    def now(self) -> float:
        return self.seconds

    def current(self) -> tuple[Session, Stream]:
        return self.peer.session, self.stream

    def write(self, size: int) -> bool:
        self.peer.session.send_data(self.stream, bytes(size))
        return self.becomes_congested(self.stream)

    def takes(self, size: int) -> None:
        self.peer.feed(window_update(1, size))
        self.peer.wire()


def test_a_peer_that_takes_nothing_is_stuck_since_then() -> None:
    side = Side()
    assert not side.write(QUEUE_HIGH)
    assert side.stuck_for() == math.inf, "nothing has to wait yet"
    assert side.write(1)
    side.seconds = 10.0
    assert side.stuck_for() == 10.0
    side.takes(100)
    assert side.stuck_for() == 0.0
    side.seconds = 30.0
    assert side.stuck_for() == 20.0


def test_what_was_under_way_when_the_peer_stopped_does_not_hide_that_it_takes_more() -> None:
    side = Side()
    assert side.write(QUEUE_HIGH + 1)
    assert not side.write(QUEUE_HIGH), "told once"
    side.seconds = 10.0
    side.takes(100)
    assert side.stuck_for() == 0.0
    side.seconds = 30.0
    assert side.stuck_for() == 20.0
