"""Two tenants of one interceptor: what a flood, or the worst senders known, do to the one must hardly be felt by the other.

WEIR_FULL_SIZE=1 floods with 8,000 connections, and the other tenant's requests may take twice what they take in quiet. Every day
the flood is a tenth of that, and a wait is counted in work of the interceptor, since a busy machine makes others wait for longer
than any sender may.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

import psutil
import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Rule, Target
from tests.bench.processes import free_ports
from tests.support.full import FULL
from tests.support.neighbour import ahead, apart, felt_p99, flooded, p99, sending, work_of, worst_backend
from tests.support.senders import SENDERS
from tests.support.stalls import watched
from tests.system.alone import alone
from tests.wire.proxy_backend import RawBackend

CONNECTIONS = 8000 if FULL else 800
ROUNDS = 12 if FULL else 5
"""At most: one within the limit is enough."""
QUIET_ROUNDS = ROUNDS if FULL else 2
FLOOR = 0.001 if FULL else 0.005
"""Seconds below which a percentile says more of the machine than of the interceptor."""

SENDER_FLOOR = 0.001 if FULL else 0.02
"""Seconds, as above. Every day no stall of 50 ms may be missed, and twice this is a little less; the interceptor goes on with its
work while a busy machine lets the other tenant wait for the processor, so that much less would tell of the machine."""
SENDER_REQUESTS = 200 if FULL else 60
"""Of each client in a round."""
MEMORY = 32 << 20
"""Bytes by which a sender may make the interceptor grow: several times its buffers for twenty connections."""

pytestmark = pytest.mark.timeout(300 if FULL else 120)


async def test_a_flooded_tenant_leaves_the_other_in_peace(tmp_path: Path) -> None:
    backend = RawBackend()
    await backend.start()
    routes = [_route("flooded"), _route("quiet")]
    backends = {"default/quiet": [backend.backend]}
    try:
        async with alone(tmp_path, *routes, backends=backends, max_held=CONNECTIONS // 4) as running:
            with _undisturbed(running.process.pid):
                wait = partial(p99, running.port, "quiet.test", clock=_clock(running.process.pid))
                quiet = [await wait() for _ in range(QUIET_ROUNDS)]
                flood: list[float] = []
                async with flooded(running.port, "flooded.test", CONNECTIONS):
                    assert (await running.queue("default/flooded"))["held"] > 0
                    while len(flood) < ROUNDS and not _within(flood, quiet, FLOOR):
                        flood.append(await wait())
                    assert await running.metric("weir_interceptor_client_connections") > CONNECTIONS / 2
            assert _within(flood, quiet, FLOOR), (quiet, flood)
            await running.until_queue("default/flooded", held=0)
    finally:
        await backend.close()


@pytest.mark.parametrize("sender", SENDERS)
async def test_the_worst_senders_leave_the_other_in_peace(sender: str, tmp_path: Path) -> None:
    backend = RawBackend()
    await backend.start()
    (port,) = free_ports(1)
    backends = {"default/quiet": [backend.backend], "default/worst": [Backend("127.0.0.1", port)]}
    try:
        async with alone(tmp_path, _route("worst"), _route("quiet"), backends=backends) as running:
            with _undisturbed(running.process.pid):
                async with worst_backend(port):
                    wait = partial(_felt, running.port, _clock(running.process.pid))
                    quiet: list[float] = []
                    beside: list[float] = []
                    memory = running.rss
                    while len(quiet) < ROUNDS and not _within(beside, quiet, SENDER_FLOOR):
                        quiet.append(await wait())
                        ends = SENDERS[sender].ends
                        async with sending(sender, running.port, "worst.test", ended=ends) as moved:
                            beside.append(await wait())
                        assert moved.sent + moved.received > 0, moved
                        assert running.rss - memory < MEMORY, moved
                assert _within(beside, quiet, SENDER_FLOOR), (quiet, beside)
    finally:
        await backend.close()


def test_a_watcher_that_cannot_run_reports_a_stall() -> None:
    with watched(os.getpid()) as stalls:
        watchers = psutil.Process().children()
        began = perf_counter()
        for watcher in watchers:
            watcher.suspend()
        stopped = perf_counter()
        time.sleep(0.05)  # the stall itself
        for watcher in watchers:
            watcher.resume()
        met = (stopped, perf_counter())
        if not _real_time_permitted():
            assert stalls.spared([met]) == [True]
            return
        while stalls.spared([met]) == [True]:  # the watchers have only just been woken
            time.sleep(0.001)
        assert stalls.spared([(began - 1, began - 0.9), met]) == [True, False]


def _real_time_permitted() -> bool:
    with ahead(os.getpid()) as permitted:
        return permitted


@contextmanager
def _undisturbed(pid: int) -> Iterator[None]:
    """The interceptor has a processor of its own; with the full size this process, the other tenant, waits for nothing else."""
    with apart(pid), ahead(*([os.getpid()] if FULL else [])):
        yield


def _clock(pid: int) -> Callable[[], float]:
    return perf_counter if FULL else work_of(pid)


def _within(beside: Sequence[float], quiet: Sequence[float], floor: float) -> bool:
    """Whether the best round beside a load is within twice the best in quiet: a shared machine adds to a wait as it likes."""
    return bool(beside) and min(beside) <= 2 * max(floor, min(quiet))


async def _felt(port: int, clock: Callable[[], float]) -> float:
    (seconds,) = await felt_p99(port, "quiet.test", requests=SENDER_REQUESTS, longest=2.0, clocks=[clock])
    return seconds


def _route(name: str) -> Route:
    return Route(app=f"default/{name}", target=Target(f"default/{name}"), rules=(Rule(hosts=(f"{name}.test",)),))
