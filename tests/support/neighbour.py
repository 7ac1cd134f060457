"""How one application's requests fare while another one is flooded: the load, the flood, and what keeps them apart."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.support.caller import Caller
from tests.wire.proxy_client import get

__all__ = ["apart", "flooded", "p99"]

CLIENTS = 8
REQUESTS = 200
"""Of each client."""
PAUSE_SECONDS = 0.005
OPENING_SECONDS = 60.0


async def p99(port: int, host: str, path: str = "/") -> float:
    """Seconds. Of a load so light that it waits for nobody but itself: eight clients, each asking every few milliseconds."""
    seconds: list[float] = []
    wire = get(path.encode(), host=host.encode())

    async def ask(caller: Caller) -> None:
        for _ in range(REQUESTS):
            reply = await caller.ask(wire)
            assert reply.status == 200
            seconds.append(reply.seconds)
            await asyncio.sleep(PAUSE_SECONDS)
        caller.leave()

    await asyncio.gather(*(ask(Caller(port)) for _ in range(CLIENTS)))
    return sorted(seconds)[len(seconds) * 99 // 100]


@asynccontextmanager
async def flooded(port: int, host: str, connections: int) -> AsyncIterator[None]:
    """A flood for an application, from the moment that nearly all of its connections are open."""
    command = [sys.executable, "-m", "tests.support.flood", str(port), host, str(connections)]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            assert await process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        await process.wait()


@contextmanager
def apart(pid: int) -> Iterator[None]:
    """A process has a processor of its own, as it would if this one and those it starts were on other machines."""
    if sys.platform != "linux" or len(processors := os.sched_getaffinity(0)) == 1:
        yield
        return
    own = min(processors)
    os.sched_setaffinity(pid, {own})
    os.sched_setaffinity(0, processors - {own})
    try:
        yield
    finally:
        os.sched_setaffinity(pid, processors)
        os.sched_setaffinity(0, processors)
