"""An app that is warm by the clock: `weir up` on the real clock, over two full minutes of it at most."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness import app, fetch, fleet, running_up, until

MINUTE = 60


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_RUNTIME_DIR", str(tmp_path / "run"))


def _weir(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "weir", *arguments], capture_output=True, text=True, timeout=300, check=False)


async def ps() -> dict[str, Any]:
    (row,) = json.loads((await asyncio.to_thread(_weir, "ps", "-o", "json")).stdout)
    return dict(row)


async def test_an_app_wakes_by_its_schedule_stays_and_sleeps_after_it(tmp_path: Path) -> None:
    """Asleep, woken without a request when the minute begins, warm through cooldowns without one, asleep after the end."""
    now = datetime.now(UTC)
    if now.second > 45:  # so that there is time to see it asleep
        await asyncio.sleep(MINUTE - now.second)
        now = datetime.now(UTC)
    start = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    end = start + timedelta(minutes=1)
    window = {"start": f"{start:%M %H} * * *", "end": f"{end:%M %H} * * *", "timezone": "UTC", "replicas": 2}
    async with running_up(tmp_path, fleet(app("web", schedule=[window], scale_down_window=0))) as up:
        assert not up.backends("web")
        asleep = await ps()
        if time.time() < start.timestamp() - 1:
            assert (asleep["state"], asleep["schedule"], asleep["desired"]) == ("asleep", "", 0)
        await until(lambda: len(up.backends("web")) == 2, what="two replicas by the clock")
        assert time.time() >= start.timestamp()
        await up.logs(f"default/web: 0 -> 2 replicas: schedule until {end:%H:%M}")
        row = await ps()
        assert (row["state"], row["schedule"]) == (f"ready, schedule until {end:%H:%M}", f"schedule until {end:%H:%M}")
        refused = await asyncio.to_thread(_weir, "sleep", "web")
        assert (refused.returncode, refused.stderr) == (1, f"default/web does not sleep now: schedule until {end:%H:%M}\n")
        assert (await fetch(up.port, "web.localhost")).seconds < 5
        await until(lambda: time.time() > end.timestamp() - 1)
        assert len(up.backends("web")) == 2, "warm through many cooldowns of a second"
        await until(lambda: not up.backends("web"), what="asleep after the end and a cooldown")
        assert (await fetch(up.port, "web.localhost")).status == 200, "and requests still wake it"


async def test_an_edit_of_a_schedule_holds_at_once(tmp_path: Path) -> None:
    always = {"start": "0 0 29 2 *", "end": "* * * * *", "timezone": "UTC"}  # an end in every minute comes before the next start
    async with running_up(tmp_path, fleet(app("web"))) as up:
        assert not up.backends("web")
        up.write(fleet(app("web", schedule=[always])))
        await until(lambda: len(up.backends("web")) == 1, what="a replica without a request")
        up.write(fleet(app("web", schedule=[{**always, "timezone": "Europe/Nowhere"}])))
        await up.logs("schedule[0].timezone: 'Europe/Nowhere' is no time zone")
        assert len(up.backends("web")) == 1
        up.write(fleet(app("web")))
        await until(lambda: not up.backends("web"), what="asleep without the schedule")
