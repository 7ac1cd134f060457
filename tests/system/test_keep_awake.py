"""Apps that go on working after their answers, on `weir up`: with cooldowns of a second instead of minutes."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.system.harness import Answer, Up, app, fetch, fleet, running_up, until

BUSY = f"exec {shlex.join([sys.executable, '-I', '-S', str(Path(__file__).parent / 'apps' / 'busy.py')])}"
COOLDOWN = 1.0
SEVERAL = 6 * COOLDOWN
"""Seconds in which an app without demand is asleep for long: the cooldown, the activity period, and the polls."""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))


def busy(**fields: Any) -> dict[str, Any]:
    return fleet({**app("web", command=BUSY, max_busy="1h", scale_down_window=0), **fields})


async def ask(up: Up, path: str) -> Answer:
    found = await fetch(up.port, "web.localhost", path)
    assert found.status == 202
    return found


async def stays_awake(up: Up, pid: str, seconds: float) -> None:
    until_then = monotonic() + seconds
    while monotonic() < until_then:
        assert up.backends("web"), up.log
        await asyncio.sleep(0.05)
    assert "-> 0" not in up.log
    assert (await ask(up, "/")).body == pid, "another process than before"


async def asleep(up: Up) -> None:
    await until(lambda: not up.backends("web"), what="asleep")


def _weir(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "weir", *arguments], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_a_job_after_its_answer_survives_many_cooldowns_until_it_says_that_it_is_done(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    async with running_up(tmp_path, busy(), *flags) as up:
        pid = (await ask(up, "/say/20m")).body
        await stays_awake(up, pid, SEVERAL)
        queue = json.loads((await asyncio.to_thread(_weir, "queue", "--json")).stdout)
        (web,) = queue["apps"]
        assert (web["busy"], web["in_flight"]) == (1, 0)
        (row,) = json.loads((await asyncio.to_thread(_weir, "ps", "-o", "json")).stdout)
        assert (row["busy"], row["state"]) == (1, "ready, busy")
        refused = await asyncio.to_thread(_weir, "sleep", "web")
        assert (refused.returncode, refused.stderr) == (1, "default/web is busy: it has said that it goes on working\n")
        await ask(up, "/say/0")
        await asleep(up)


async def test_it_sleeps_when_its_time_is_over(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy()) as up:
        pid = (await ask(up, f"/say/{SEVERAL:g}")).body
        await stays_awake(up, pid, SEVERAL / 2)
        await asleep(up)


async def test_a_crash_ends_it_at_once_and_nothing_else_keeps_the_app_awake(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy()) as up:
        pid = (await ask(up, "/say/20m")).body
        assert (await fetch(up.port, "web.localhost", "/crash", method="POST")).status == 502
        await until(lambda: "ended" in up.log)
        await asleep(up)
        assert (await ask(up, "/")).body != pid


async def test_a_hostile_app_does_not_keep_itself_awake_beyond_the_maximum(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy(max_busy=1)) as up:
        for _ in range(5):
            await ask(up, "/say/1000h")
        last = monotonic()
        await asleep(up)
        assert monotonic() - last < 60


async def test_without_permission_it_sleeps_as_always(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy(max_busy=0)) as up:
        await ask(up, "/say/20m")
        await asleep(up)


async def test_an_edit_that_takes_the_permission_away_ends_it(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy()) as up:
        pid = (await ask(up, "/say/20m")).body
        await stays_awake(up, pid, SEVERAL / 2)
        up.write(busy(max_busy=0))
        await asleep(up)
