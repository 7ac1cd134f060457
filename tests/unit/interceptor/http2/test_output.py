"""What a connection writes in one turn of the event loop."""

from __future__ import annotations

import asyncio

from interceptor.core.deadlines import NEVER
from interceptor.http2.connection import SessionConnection
from interceptor.http2.core.config import Config
from interceptor.http2.core.frames import LARGEST_WINDOW, PREFACE, settings, window_update
from interceptor.http2.core.outflow import OUTPUT_BYTES
from interceptor.transport.tcp import Outbox
from tests.support.h2_memory import OK, headers
from tests.support.proxy_memory import MockTransport

TOTAL = 4 * OUTPUT_BYTES


async def test_a_peer_with_a_wide_window_gets_a_bounded_part_in_each_turn() -> None:
    connection = SessionConnection(Outbox(), lambda: 0.0, Config(), client=False, deadline=NEVER)
    transport = MockTransport(connection)
    wide = settings({4: LARGEST_WINDOW}) + window_update(0, 1 << 20)
    transport.feed(PREFACE + wide + headers(1))
    stream = connection.session.streams[1]
    connection.session.send_headers(stream, OK)
    await asyncio.sleep(0)
    before, turns = len(transport.written), list[int]()
    connection.session.send_data(stream, bytes(TOTAL))
    while len(transport.written) - before < TOTAL:
        at = len(transport.written)
        await asyncio.sleep(0)
        turns.append(len(transport.written) - at)
        assert len(turns) < 100
    assert len([turn for turn in turns if turn]) == TOTAL // OUTPUT_BYTES
    assert max(turns) < 1.1 * OUTPUT_BYTES
