"""What runs before an app of `weir up`: a migration, after the app that it needs, before the first request is answered."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.system import harness
from tests.system.harness import Up, app, fetch, fleet, running_up, until


async def weir(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weir", *words]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=harness.PATIENCE)


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def hopeless(up: Up) -> bool:
    """Whether requests of web are refused."""
    troubles = json.loads((up.state / "backends.json").read_text()).get("troubles", {})
    return bool(troubles.get("default/web", {}).get("hopeless"))


def needing(directory: Path, before: str, **fields: Any) -> dict[str, Any]:
    """web, which needs db, and writes down when its command runs and when it starts."""
    web = app("web", depends_on=["db"], before=before, **fields)
    return {**web, "command": f"echo start >> {directory}/order; {web['command']}"}


async def test_a_migration_runs_once_after_the_database_and_before_the_app(tmp_path: Path) -> None:
    order = tmp_path / "order"
    db_is_ready = f"""grep -q '"default/db": [[]' {tmp_path}/state/backends.json && echo ready >> {order}"""
    migrate = f'{db_is_ready}; echo "migrated $NAME" | tee -a {order}'
    apps = (needing(tmp_path, migrate, env={"NAME": "one"}), app("db"))
    async with running_up(tmp_path, fleet(*apps)) as up:
        assert lines(order) == [], "nothing runs before a request"
        answers = await asyncio.gather(*(fetch(up.port, "web.localhost") for _ in range(3)))
        assert {answer.status for answer in answers} == {200}
        assert lines(order) == ["ready", "migrated one", "start"]
        await up.logs("web/before | migrated one")
        assert "migrated one" in (await weir("logs", "web", "--of", str(up.file))).stdout
        await until(lambda: not up.backends("web") and not up.backends("db"), what="both asleep")
        assert (await fetch(up.port, "web.localhost")).status == 200
        assert lines(order)[3:] == ["start"], "the same app has been migrated"
        changed = needing(tmp_path, f"echo again >> {order}", env={"NAME": "two"})
        up.write(fleet(changed, app("db")))
        await until(lambda: lines(order)[4:] == ["again", "start"], what="a replica of the changed app, after its command")


async def test_a_failed_migration_is_reported_everywhere_and_mended_with_the_file(tmp_path: Path) -> None:
    runs, text = tmp_path / "runs", '"sh migrate.sh", which runs before it starts, ended with exit code 3: error: no table users'
    (tmp_path / "migrate.sh").write_text(f"echo run >> {runs}\necho error: no table users\necho bye\nexit 3\n")
    apps = (needing(tmp_path, "sh migrate.sh"), app("db"))
    async with running_up(tmp_path, fleet(*apps)) as up:
        refused = await asyncio.gather(*(fetch(up.port, "web.localhost") for _ in range(3)))
        for answer in refused:
            assert (answer.status, answer.body.strip()) == (503, f"weir: application default/web does not start: {text}")
        assert lines(runs) == ["run"]
        assert hopeless(up)
        shown = json.loads((await weir("ps", "--of", str(up.file), "-o", "json")).stdout)
        (row,) = [each for each in shown if each["app"] == "default/web"]
        assert (row["state"], row["trouble"], row["ready"]) == (f"failed: {text}", text, 0)
        explained = await weir("explain", f"web.localhost:{up.port}", "--of", str(up.file))
        assert f"has trouble now: {text}" in explained.stdout, explained
        assert lines(tmp_path / "order") == []

        await until(lambda: not hopeless(up), what="it may be tried again")
        again = await fetch(up.port, "web.localhost")
        assert (again.status, text in again.body) == (503, True)
        assert lines(runs) == ["run", "run"], "the next request has had it run again"
        (tmp_path / "migrate.sh").write_text(f"echo fine >> {runs}\n")
        up.write(fleet(needing(tmp_path, "exec sh migrate.sh"), app("db")))
        await until(lambda: not hopeless(up), what="the new file")
        assert (await fetch(up.port, "web.localhost")).status == 200
        assert lines(runs)[2:] == ["fine"]


async def test_what_runs_keeps_the_database_awake_and_ends_with_weir_up(tmp_path: Path) -> None:
    """With a minimum there is no request that would keep the database awake."""
    pid = tmp_path / "pid"
    migrate = f"trap 'echo ended > {tmp_path}/ended; exit 1' TERM; echo $$ > {pid}; sleep 1000 & wait"
    async with running_up(tmp_path, fleet(needing(tmp_path, migrate, min=1), app("db"))) as up:
        await until(lambda: lines(pid), what="the command runs")
        shown = {each["app"]: each for each in json.loads((await weir("ps", "--of", str(up.file), "-o", "json")).stdout)}
        assert shown["default/web"]["state"].startswith('starting: "trap ')
        assert (shown["default/db"]["state"], shown["default/db"]["awake_for"]) == ("ready, awake for web", "default/web")
        refused = await weir("sleep", "db", "--of", str(up.file))
        assert (refused.returncode, "default/db is awake for default/web, before which a command runs" in refused.stderr) == (
            1,
            True,
        )
        number = int(pid.read_text())
        assert await up.stop(signal.SIGTERM) == 0
        assert not psutil.pid_exists(number)
        assert lines(tmp_path / "ended") == ["ended"]
