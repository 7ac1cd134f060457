"""Apps that do not start: what clients are told, that nobody waits for them, and how it ends."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.system.harness import PATIENCE, Answer, Up, app, fetch, fleet, running_up, until

FLAGS = pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])
WORDS = "RuntimeError: no such table: users"
CRASH = f"exec {sys.executable} -c 'raise RuntimeError(\"no such table: users\")'"
WHY = f"ended with exit code 1: {WORDS}"


async def _asked(up: Up, *fields: str) -> Answer:
    return await fetch(up.port, "web.localhost", "/", *fields)


def _failures(up: Up) -> list[datetime]:
    """When each was logged, which may be written a little later."""
    words = f"{WHY.partition(':')[0]}; starts again"
    return [datetime.fromisoformat(line.split()[0]) for line in up.log.splitlines() if words in line]


@FLAGS
async def test_a_crash_loop_is_a_503_with_its_reason_until_the_edit(tmp_path: Path, flags: tuple[str, ...]) -> None:
    web = app("web", command=CRASH, cooldown=600, placeholder=True)
    async with running_up(tmp_path, fleet(web), *flags) as up:
        held = await _asked(up)
        answered = datetime.now(UTC)
        assert (held.status, held.body) == (503, f"weir: application default/web does not start: {WHY}\n")
        await until(lambda: len(_failures(up)) >= 3, what="the log tells three failures")
        assert _failures(up)[2] <= answered, "held until the third failure"
        failures = up.log.count("starts again")
        page = await _asked(up, "Accept: text/html")
        assert page.status == 503
        assert f"The reason is: {WHY}." in page.body
        await until(lambda: up.log.count("starts again") > failures, what="it is tried again")
        assert (await _asked(up)).status == 503
        up.write(fleet(app("web", cooldown=600)))
        await until(lambda: up.backends("web"), what="the edit heals it")
        assert (await _asked(up)).status == 200


@FLAGS
async def test_it_heals_with_what_it_lacked(tmp_path: Path, flags: tuple[str, ...]) -> None:
    needed = tmp_path / "needed"
    script = app("web")["command"]
    web = app("web", command=f"test -e {needed} || {{ echo error: no {needed.name} >&2; exit 7; }}; {script}", cooldown=600)
    async with running_up(tmp_path, fleet(web), *flags) as up:
        assert (await _asked(up)).body.endswith("does not start: ended with exit code 7: error: no needed\n")
        needed.touch()
        await until(lambda: up.backends("web"))
        assert (await _asked(up)).status == 200


async def until_listed(up: Up, words: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while words not in (await fetch(up.port, "localhost")).body:  # noqa: ASYNC110  pages tell nobody of their change
            await asyncio.sleep(0.02)


async def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web", command=["/does/not/exist"], cooldown=600))) as up:
        answer = await _asked(up)
        assert (answer.status, answer.body.partition(": ")[2]) == (
            503,
            "application default/web does not start: cannot start /does/not/exist: No such file or directory\n",
        )


async def test_an_app_that_has_failed_and_sleeps_is_listed_as_failing_until_the_edit(tmp_path: Path) -> None:
    web = app("web", command=CRASH, cooldown=0.5, activity_period=0.5)
    async with running_up(tmp_path, fleet(web)) as up:
        assert (await _asked(up)).status == 503
        await up.logs("1 -> 0 replicas")
        await until_listed(up, f"web  failing: {WHY}  http://web.localhost")
        up.write(fleet(app("web", cooldown=600)))
        await until_listed(up, "web  asleep  http://")
        assert (await _asked(up)).status == 200
