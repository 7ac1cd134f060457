"""A client that sends requests ahead and reads no answers costs a bounded amount of memory, and loses nothing."""

from __future__ import annotations

import asyncio

from tests.wire.proxy_backend import answer, ok
from tests.wire.proxy_client import get
from tests.wire.proxy_rig import eventually, proxy_rig

BODY = b"x" * (100 << 10)
AHEAD = 300


async def test_answers_that_nobody_reads_hold_back_the_next_request() -> None:
    async with proxy_rig(answer(ok(BODY))) as rig:
        (backend,) = rig.backends
        client = await rig.client(receive_buffer=16 * 1024)
        client.send(get() * AHEAD)
        await eventually(lambda: backend.requests)
        seen = -1
        while seen != len(backend.requests):  # until no more come
            seen = len(backend.requests)
            await asyncio.sleep(0.2)
        assert seen < AHEAD / 2  # what sockets and one buffer take
        (connection,) = rig.interceptor.proxy.clients
        assert connection._transport.get_write_buffer_size() < 1 << 20
        for _ in range(AHEAD):
            assert (await client.response()).body == BODY
        assert len(backend.requests) == AHEAD
