"""Two tenants of one interceptor: what a flood does to the one must hardly be felt by the other.

WEIR_FULL_SIZE=1 floods with 8,000 connections; every day it is a tenth of that.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from fleet.routing.route import Route, Rule, Target
from tests.support.caller import Caller
from tests.support.full import FULL
from tests.system.alone import Alone, alone
from tests.system.harness import PATIENCE
from tests.wire.proxy_backend import RawBackend
from tests.wire.proxy_client import get

CONNECTIONS = 8000 if FULL else 800
ROUNDS = 12 if FULL else 4
FLOOR = 0.001 if FULL else 0.002
"""Seconds below which a percentile says more of the machine than of the interceptor."""

pytestmark = pytest.mark.timeout(300 if FULL else 120)


@asynccontextmanager
async def flooded(running: Alone) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "tests.support.flood", str(running.port), "flooded.test", str(CONNECTIONS)]
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(2 * PATIENCE):
            assert await process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        await process.wait()


@contextmanager
def apart(running: Alone) -> Iterator[None]:
    """The interceptor has a processor of its own, as it would if all the others were on other machines."""
    if sys.platform != "linux" or len(processors := os.sched_getaffinity(0)) == 1:
        yield
        return
    own = min(processors)
    os.sched_setaffinity(running.process.pid, {own})
    os.sched_setaffinity(0, processors - {own})
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


async def p99(port: int) -> float:
    """Of the quiet tenant's requests: eight clients, each of them asking every few milliseconds."""
    seconds: list[float] = []

    async def ask(caller: Caller) -> None:
        for _ in range(200):
            reply = await caller.ask(get(host=b"quiet.test"))
            assert reply.status == 200
            seconds.append(reply.seconds)
            await asyncio.sleep(0.005)
        caller.leave()

    await asyncio.gather(*(ask(Caller(port)) for _ in range(8)))
    return sorted(seconds)[len(seconds) * 99 // 100]


async def test_a_flooded_tenant_leaves_the_other_in_peace(tmp_path: Path) -> None:
    """The best of some rounds of each: what a shared machine adds is not the flood's doing."""
    backend = RawBackend()
    await backend.start()
    routes = [Route(app=f"default/{name}", target=Target(f"default/{name}"), rules=(Rule(hosts=(f"{name}.test",)),))
              for name in ("flooded", "quiet")]  # fmt: skip
    try:
        settings = {"max_held": CONNECTIONS // 4}
        async with alone(tmp_path, *routes, backends={"default/quiet": [backend.backend]}, **settings) as running:
            with apart(running):
                quiet = [await p99(running.port) for _ in range(ROUNDS)]
                async with flooded(running):
                    assert (await running.queue("default/flooded"))["held"] > 0
                    flood = [await p99(running.port) for _ in range(ROUNDS)]
                    assert await running.metric("weir_interceptor_client_connections") > CONNECTIONS / 2
            assert min(flood) <= 2 * max(FLOOR, min(quiet)), (quiet, flood)
            await running.until_queue("default/flooded", held=0)
    finally:
        await backend.close()
