"""Apps that say by a call of their own that they go on working, on `weir up`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.system.harness import running_up, until
from tests.system.test_keep_awake import COOLDOWN, SEVERAL, ask, asleep, busy, stays_awake


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))


async def _said(*command: str) -> Any:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "weir", *command],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


async def _ps() -> Any:
    (row,) = await _said("ps", "-o", "json")
    return row


async def _queue() -> Any:
    (row,) = (await _said("queue", "--json"))["apps"]
    return row


@pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
async def test_a_job_survives_many_cooldowns_by_a_call_until_the_app_says_that_it_is_done(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    async with running_up(tmp_path, busy(), *flags) as up:
        pid = (await ask(up, "/")).body
        status, _, said = (await ask(up, "/call/20m")).body.partition(" ")
        kept = json.loads(said)
        assert (status, kept["app"], kept["seconds"], kept["until"][-1]) == ("200", "default/web", 1200.0, "Z")
        await stays_awake(up, pid, SEVERAL)
        row = await _ps()
        assert (row["busy"], row["in_flight"], row["state"]) == (1, 0, "ready, busy")
        row = await _queue()
        assert (row["busy"], row["busy_by_call"], row["in_flight"]) == (0, 1, 0)
        assert json.loads((await ask(up, "/call/0")).body.partition(" ")[2]) == {
            "app": "default/web",
            "seconds": 0,
            "until": None,
        }
        await asleep(up)


async def test_it_sleeps_when_its_time_is_over(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy()) as up:
        pid = (await ask(up, "/")).body
        assert (await ask(up, f"/call/{SEVERAL:g}")).body.startswith("200 ")
        await stays_awake(up, pid, SEVERAL / 2)
        await asleep(up)


async def test_a_crash_ends_it(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy()) as up:
        pid = (await ask(up, "/")).body
        await ask(up, "/call/20m")
        os.kill(int(pid), signal.SIGKILL)
        await until(lambda: "ended" in up.log)
        await asleep(up)
        assert '"leases":{}' in (up.state / "busy.json").read_text()


async def test_an_app_that_insists_sleeps_by_its_maximum(tmp_path: Path) -> None:
    most = 3 * COOLDOWN
    async with running_up(tmp_path, busy(max_busy=most)) as up:
        pid = (await ask(up, "/insist/1000h")).body
        last = monotonic()
        while monotonic() - last < most:
            assert up.backends("web"), up.log
            await asyncio.sleep(0.05)
        await asleep(up)
        assert monotonic() - last < 60
        assert (await ask(up, "/")).body != pid


async def test_without_permission_it_has_no_token(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy(max_busy=0)) as up:
        assert (await ask(up, "/call/20m")).body == "no token"
        await asleep(up)


async def test_an_edit_that_takes_the_permission_away_ends_it(tmp_path: Path) -> None:
    async with running_up(tmp_path, busy()) as up:
        pid = (await ask(up, "/")).body
        await ask(up, "/call/20m")
        await stays_awake(up, pid, SEVERAL / 2)
        up.write(busy(max_busy=0))
        await asleep(up)
