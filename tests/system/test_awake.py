"""Apps that are used little, and must not be put to sleep for it: `weir up` with all times a fifteenth of those on a cluster.

WEIR_FULL_SIZE=1 runs at the cluster's own times, for five minutes: polls of 30 seconds, a cooldown of 60, a request every 10.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.support.full import FULL
from tests.support.raw_requests import get
from tests.system.harness import Up, app, fetch, fleet, running_up, until

SCALE = 1.0 if FULL else 1 / 15
COOLDOWN, ACTIVITY, POLL, PAUSE = 60 * SCALE, 15 * SCALE, 30 * SCALE, 10 * SCALE
"""A cooldown, an activity period and a polling interval as KEDA and the scaler have them, and the pause between two requests."""
POD = f"exec {shlex.join([sys.executable, '-I', '-S', str(Path(__file__).parents[1] / 'soak' / 'pod.py')])}"

pytestmark = pytest.mark.timeout(900 if FULL else 600)


def seldom_used(**fields: Any) -> dict[str, Any]:
    times = {"cooldown": COOLDOWN, "activity_period": ACTIVITY, "scale_down_window": COOLDOWN}
    return fleet({**app("web", **times), **fields}, poll_interval=POLL)


async def stays_awake(up: Up, seconds: float) -> None:
    until_then = monotonic() + seconds
    while monotonic() < until_then:
        assert up.backends("web"), up.log
        await asyncio.sleep(0.02)


async def test_one_short_request_now_and_then_keeps_an_app_awake(tmp_path: Path) -> None:
    """5 ms every ten seconds: no look at what is in flight ever sees one."""
    async with running_up(tmp_path, seldom_used(env={"DELAY": "0.005"}, target=10)) as up:
        first = await fetch(up.port, "web.localhost")
        assert first.status == 200
        for _ in range(30 if FULL else 20):
            await stays_awake(up, PAUSE)
            assert (await fetch(up.port, "web.localhost")).body == first.body, "another process than before"
        assert "-> 0" not in up.log
        await until(lambda: not up.backends("web"), timeout=3 * (COOLDOWN + POLL) + 10, what="asleep when nobody asks any more")


async def test_an_open_websocket_keeps_an_app_awake_that_scales_on_its_rate(tmp_path: Path) -> None:
    """Nothing is asked and nothing is sent, for two cooldowns: its rate is zero, and it is in use."""
    document = seldom_used(command=POD, rate=10)
    async with running_up(tmp_path, document) as up:
        reader, writer = await asyncio.open_connection(up.near, up.port)
        writer.write(get(b"/", b"Connection: Upgrade", b"Upgrade: echo", host=b"web.localhost"))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        await stays_awake(up, 2 * COOLDOWN)
        writer.write(b"still there?")
        assert await reader.readexactly(12) == b"still there?"
        assert "-> 0" not in up.log
        writer.close()
        await until(lambda: not up.backends("web"), timeout=3 * (COOLDOWN + POLL) + 10, what="asleep after the last one has left")
