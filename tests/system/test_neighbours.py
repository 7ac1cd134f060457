"""Two tenants of one interceptor: what a flood does to the one must hardly be felt by the other.

WEIR_FULL_SIZE=1 floods with 8,000 connections; every day it is a tenth of that.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.routing.route import Route, Rule, Target
from tests.support.full import FULL
from tests.support.neighbour import apart, flooded, p99
from tests.system.alone import alone
from tests.wire.proxy_backend import RawBackend

CONNECTIONS = 8000 if FULL else 800
ROUNDS = 12 if FULL else 4
FLOOR = 0.001 if FULL else 0.002
"""Seconds below which a percentile says more of the machine than of the interceptor."""

pytestmark = pytest.mark.timeout(300 if FULL else 120)


async def test_a_flooded_tenant_leaves_the_other_in_peace(tmp_path: Path) -> None:
    """The best of some rounds of each: what a shared machine adds is not the flood's doing."""
    backend = RawBackend()
    await backend.start()
    routes = [Route(app=f"default/{name}", target=Target(f"default/{name}"), rules=(Rule(hosts=(f"{name}.test",)),))
              for name in ("flooded", "quiet")]  # fmt: skip
    backends = {"default/quiet": [backend.backend]}
    try:
        async with alone(tmp_path, *routes, backends=backends, max_held=CONNECTIONS // 4) as running:
            with apart(running.process.pid):
                quiet = [await p99(running.port, "quiet.test") for _ in range(ROUNDS)]
                async with flooded(running.port, "flooded.test", CONNECTIONS):
                    assert (await running.queue("default/flooded"))["held"] > 0
                    flood = [await p99(running.port, "quiet.test") for _ in range(ROUNDS)]
                    assert await running.metric("weir_interceptor_client_connections") > CONNECTIONS / 2
            assert min(flood) <= 2 * max(FLOOR, min(quiet)), (quiet, flood)
            await running.until_queue("default/flooded", held=0)
    finally:
        await backend.close()
