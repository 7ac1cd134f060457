"""Pulled plugs: components that freeze and die while requests are held and carried.

WEIR_FREEZE_SECONDS makes the freeze longer than the four seconds of every day, which are more than the three after
which a scaler calls a member silent.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.harness import PATIENCE, Answer, Gate, Up, app, fetch, fleet, running_up, until

FREEZE = float(os.environ.get("WEIR_FREEZE_SECONDS", "4"))
WAKES = 4
WAKE_LIMIT = 3.0
"""How many times longer than the slowest of WAKES wakes of the same run the quickest may take while one interceptor is frozen:
what waits for it waits each time."""
BELIEVED = 50.0
"""Seconds, a little less than those for which the counts of a silent interceptor are believed."""

pytestmark = pytest.mark.timeout(600 + 4 * FREEZE)


def _pid(component: dict[str, Any]) -> int:
    return int(component["pid"])


async def _carry(up: Up, index: int, count: int, gate: Gate) -> list[asyncio.Task[Answer]]:
    """Requests that one interceptor carries until the gate is opened."""
    return [asyncio.create_task(fetch(up.ports[index], "web.localhost", gate.path, timeout=4 * PATIENCE)) for _ in range(count)]


async def test_a_frozen_interceptor_does_not_delay_the_others(tmp_path: Path) -> None:
    sleepers = [app(f"a{number}") for number in range(2 * WAKES)]
    web = app("web", min=2, max=2, target=100)
    gate = Gate(tmp_path)
    async with running_up(tmp_path, fleet(web, *sleepers, interceptors=3), "--processes") as up:
        await until(lambda: len(up.backends("web")) == 2)
        carried = [task for index, count in enumerate((2, 3, 4)) for task in await _carry(up, index, count, gate)]
        await up.until_value("web", 9.0)

        quick = [(await fetch(up.ports[1 + number % 2], f"a{number}.localhost")).seconds for number in range(WAKES)]
        frozen = psutil.Process(_pid(up.components("interceptor")[0]))
        frozen.suspend()
        try:
            freeze_ends = asyncio.get_running_loop().time() + FREEZE
            took = []
            for number in range(WAKES):
                answer = await fetch(up.ports[1 + number % 2], f"a{WAKES + number}.localhost")
                assert answer.status == 200
                took.append(answer.seconds)
                assert await up.value("web") == 9.0
                await asyncio.sleep(max(0.0, (freeze_ends - asyncio.get_running_loop().time()) / (WAKES - number)))
            assert min(took) < WAKE_LIMIT * max(quick), (took, quick)
        finally:
            frozen.resume()

        # What it carries has not changed, and what comes to it now is counted at once.
        carried += await _carry(up, 0, 1, gate)
        await up.until_value("web", 10.0)
        gate.open()
        assert {answer.status for answer in await asyncio.gather(*carried)} == {200}
        await up.until_value("web", 0.0)


async def test_held_requests_are_answered_after_the_scaler_was_killed(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web"), interceptors=2), "--processes") as up:
        (scaler,) = up.components("scaler")
        # Frozen first, so that the requests are held when it dies and not a moment earlier or later.
        psutil.Process(_pid(scaler)).suspend()
        held = [asyncio.create_task(fetch(port, "web.localhost")) for port in up.ports for _ in range(5)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in held)
        os.kill(_pid(scaler), signal.SIGKILL)
        answers = await asyncio.wait_for(asyncio.gather(*held), PATIENCE)
        assert {answer.status for answer in answers} == {200}
        await until(lambda: [_pid(found) for found in up.components("scaler")] != [_pid(scaler)])
        (restarted,) = up.components("scaler")
        assert restarted["port"] == scaler["port"]


async def test_an_app_that_runs_keeps_its_replicas_while_there_is_no_scaler(tmp_path: Path) -> None:
    web = app("web", min=0, max=3, target=1, cooldown=30)
    gate = Gate(tmp_path)
    async with running_up(tmp_path, fleet(web), "--processes") as up:
        carried = await _carry(up, 0, 3, gate)
        await until(lambda: len(up.backends("web")) == 3)
        os.kill(_pid(up.components("scaler")[0]), signal.SIGKILL)
        await up.logs("scaler: ended with SIGKILL; starts again in")
        gate.open()
        assert {answer.status for answer in await asyncio.gather(*carried)} == {200}
        assert len(up.backends("web")) >= 1
        assert "3 -> 0" not in up.log


async def test_the_leases_of_a_killed_interceptor_leave_the_sum(tmp_path: Path) -> None:
    web = app("web", min=1, max=1, target=100)
    gate = Gate(tmp_path)
    async with running_up(tmp_path, fleet(web, interceptors=3), "--processes") as up:
        await until(lambda: up.backends("web"))
        lost = await _carry(up, 0, 3, gate)
        kept = await _carry(up, 1, 4, gate)
        await up.until_value("web", 7.0)
        victim = up.components("interceptor")[0]
        os.kill(_pid(victim), signal.SIGKILL)
        await until(lambda: "interceptor-1" not in up.members())
        # Not after the minute for which a silent one is believed.
        assert await up.until_value("web", 4.0) < BELIEVED
        # It comes back under its name and ports, with nothing of its own to tell.
        await until(lambda: len(up.members()) == 3)
        assert (await fetch(up.ports[0], "web.localhost")).status == 200
        assert [component["proxy_port"] for component in up.components("interceptor")].count(victim["proxy_port"]) == 1
        gate.open()
        assert {answer.status for answer in await asyncio.gather(*kept)} == {200}
        assert all(isinstance(result, Exception) for result in await asyncio.gather(*lost, return_exceptions=True))
        await up.until_value("web", 0.0)
