"""Apps of `weir up` that wake together: as long as the slowest takes, where one after the other takes their sum."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.demand.pair import LEAST_WAKES
from tests.support.ports import free_port
from tests.system import harness
from tests.system.harness import Up, app, fetch, fleet, running_up, until

CHAIN = f"exec {sys.executable} -I -S {Path(__file__).parent / 'apps' / 'chain.py'}"
START_SECONDS = 1.5
"""How long each app takes until it listens, beside what its process takes to start."""
FLAGS = pytest.mark.parametrize("flags", [(), ("--processes",)], ids=["inline", "processes"])


def service(directory: Path, name: str, **fields: Any) -> dict[str, Any]:
    """A service that calls another one through the proxy before it answers."""
    env = {
        "COMPONENTS": str(directory / "state" / "components.json"),
        "NEAR": harness.address,
        "VERSION": name,
        "START_SECONDS": str(START_SECONDS),
        **fields.pop("env", {}),
    }
    return app(name, command=CHAIN, env=env, **fields)


def started(up: Up, name: str) -> int:
    """Where the log says that its process was started."""
    return up.log.index(f"default/{name}: replica 1: started")


def ready(up: Up, name: str) -> int:
    return up.log.index(f"default/{name}: replica 1: ready")


@FLAGS
async def test_three_tiers_wake_within_the_time_of_one(
    tmp_path: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    def tiers(suffix: str, *, together: bool) -> list[dict[str, Any]]:
        web, api, db = (f"{name}{suffix}" for name in ("web", "api", "db"))
        return [
            service(tmp_path, web, env={"NEXT": f"{api}.localhost"}, **({"depends_on": [api]} if together else {})),
            service(tmp_path, api, env={"NEXT": f"{db}.localhost"}, **({"depends_on": [{"name": db}]} if together else {})),
            service(tmp_path, db),
        ]

    apps = (service(tmp_path, "alone"), *tiers("1", together=False), *tiers("2", together=True))
    async with running_up(tmp_path, fleet(*apps), *flags) as up:
        alone = await fetch(up.port, "alone.localhost")
        apart = await fetch(up.port, "web1.localhost")
        assert apart.body == "web1 None > api1 None > db1 None"
        assert apart.seconds >= 3 * START_SECONDS
        assert not any(up.backends(name) for name in ("web2", "api2", "db2"))
        together = await fetch(up.port, "web2.localhost")
        assert together.body == "web2 None > api2 None > db2 None"
        assert together.seconds >= START_SECONDS
        # However busy the machine is, all processes were started before the first was ready, or each after the one before it.
        assert started(up, "db2") < ready(up, "web2")
        assert ready(up, "web1") < started(up, "api1") < ready(up, "api1") < started(up, "db1")
        await until(lambda: not any(up.backends(name) for name in ("web2", "api2", "db2")), what="all asleep again")
    with capsys.disabled():
        print(  # noqa: T201 -- the figure is what a reader of the log wants
            f"\nan app of {START_SECONDS} s: {alone.seconds:.2f} s; three tiers of such: {apart.seconds:.2f} s one after the "
            f"other, {together.seconds:.2f} s together"
        )


async def weir(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weir", *words]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=harness.PATIENCE)


async def ps(up: Up) -> list[dict[str, Any]]:
    """What `weir ps` shows."""
    shown: list[dict[str, Any]] = json.loads((await weir("ps", "--of", str(up.file), "-o", "json")).stdout)
    return shown


async def test_what_is_needed_stays_awake_without_requests_of_its_own(tmp_path: Path) -> None:
    release = tmp_path / "release"
    needs = ["db", {"name": "cache", "keep_awake": False}, {"name": "absent", "optional": True}]
    async with running_up(tmp_path, fleet(app("web", depends_on=needs), app("db"), app("cache"), app("other"))) as up:
        task = asyncio.create_task(fetch(up.port, "web.localhost", f"/until{release}"))
        await until(lambda: up.backends("web") and up.backends("db") and up.backends("cache"), what="all awake")
        shown = {each["app"]: (each["state"], each["awake_for"]) for each in await ps(up)}
        assert shown["default/db"] == ("ready, awake for web", "default/web")
        refused = await weir("sleep", "db", "--of", str(up.file))
        assert (refused.returncode, "default/db is awake for default/web" in refused.stderr) == (1, True)
        assert (shown["default/web"], shown["default/other"]) == (("ready", ""), ("asleep", ""))
        # After a second of activity and one of cooldown the one sleeps that was only woken.
        await until(lambda: not up.backends("cache"), what="the cache asleep")
        assert up.backends("db")
        assert not up.backends("other")
        release.touch()
        assert (await task).status == 200
        await until(lambda: not up.backends("web") and not up.backends("db"), what="all asleep")
        assert (await fetch(up.port, "db.localhost")).status == 200
        assert not up.backends("web"), "what is needed does not wake what needs it"


async def test_dependencies_come_and_go_with_the_file(tmp_path: Path) -> None:
    async with running_up(tmp_path, fleet(app("web"), app("db"))) as up:
        assert (await fetch(up.port, "web.localhost")).status == 200
        assert not up.backends("db")
        up.write(fleet(app("web", depends_on=["db"]), app("db", depends_on=["web"])))
        await up.logs("apps[0].depends_on: is a circle: db -> web -> db", "the last good file stays in force")
        up.write(fleet(app("web", depends_on=["db"]), app("db")))
        await until(lambda: "depends_on" in (up.state / "routes.json").read_text(), what="the new table")
        assert (await fetch(up.port, "web.localhost")).status == 200
        await until(lambda: up.backends("db"), what="the database awake")


def asleep(up: Up) -> int:
    """How often apps have gone to sleep, as the log has it."""
    return up.log.count("replica 1: ended")


async def test_a_dependency_that_is_not_declared_is_suggested(tmp_path: Path) -> None:
    quick = {"cooldown": 0.2, "activity_period": 0.2, "drain": 0.2}
    start = {"START_SECONDS": "0"}
    web = service(tmp_path, "web", env={"NEXT": "api.localhost", **start}, **quick)
    apps = [web, service(tmp_path, "api", env=start, **quick), app("other")]
    words = (
        "web seems to call api (in about 100 % of its wakes), which woke before web was ready or within 2 s of that: "
        "add depends_on: [api]"
    )
    async with running_up(tmp_path, fleet(*apps)) as up:
        rounds = 0
        while words not in up.log:
            rounds += 1
            assert rounds <= 3 * LEAST_WAKES, "they were asleep at nearly every request"
            assert (await fetch(up.port, "web.localhost")).body == "web None > api None"
            await until(lambda: asleep(up) == 2 * rounds, what="both asleep again")  # noqa: B023 - it is awaited here
        assert rounds >= LEAST_WAKES
        shown = {each["app"]: each["suggestions"] for each in await ps(up)}
        assert shown.pop("default/web") == [{"app": "default/api", "percent": 100, "together": False}]
        assert shown == {"default/api": [], "default/other": []}
        of = ("--of", str(up.file))
        assert f"default/web: {words}" in (await weir("ps", *of)).stdout
        assert f"suggested: {words}" in (await weir("explain", "web.localhost", *of)).stdout
        assert "suggested" not in (await weir("explain", "api.localhost", *of)).stdout
        assert words in (await weir("app", "show", "web", *of)).stdout
        assert words in (await fetch(up.port, "localhost")).body
        assert up.log.count(f"default/web: {words}") == 1
        up.write(fleet({**web, "depends_on": ["api"]}, *apps[1:]))
        await up.logs(f"{up.file}: read")
        assert not any(each["suggestion"] for each in await ps(up))


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
"""PostgreSQL refuses to run as root."""


@pytest.fixture
def database() -> Iterator[Path]:
    """The directory of a new database, which its server may read."""
    directory = Path(tempfile.mkdtemp(prefix="weir-pg-"))
    try:
        if AS_NOBODY:
            os.chown(directory, 65534, 65534)
        made = [*AS_NOBODY, "initdb", "-D", str(directory / "data"), "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=directory, timeout=harness.PATIENCE)
        yield directory / "data"
    finally:
        shutil.rmtree(directory)


@pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("initdb", "postgres", "psql", "setpriv")),
    reason="needs PostgreSQL and util-linux",
)
async def test_a_real_postgresql_wakes_with_the_service_before_it(
    tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port, seconds = free_port(), dict[str, float]()
    run = f"cd {database} && sleep {START_SECONDS} && exec {' '.join(AS_NOBODY)} postgres -D {database} -p $PORT -c fsync=off"
    sleeping = {"cooldown": 1, "activity_period": 1, "drain": 1}
    postgres = {"name": "db", "command": f"{run} -k '' -h 127.0.0.1", "ports": [{"port": port}], "port": free_port(), **sleeping}
    for way, web_needs, api_needs in (("apart", [], []), ("together", ["api"], ["db"])):
        web = service(tmp_path, "web", env={"NEXT": "api.localhost"}, depends_on=web_needs)
        api = service(tmp_path, "api", env={"DATABASE": str(port)}, depends_on=api_needs)
        async with running_up(tmp_path, fleet(web, api, postgres)) as up:
            assert up.backends("db") == []
            answer = await fetch(up.port, "web.localhost")
            assert answer.body == "web None > api None > 42"
            seconds[way] = answer.seconds
            assert (started(up, "db") < ready(up, "web")) == (way == "together")
    with capsys.disabled():
        print(  # noqa: T201 -- as above
            f"\nweb, api and PostgreSQL, {START_SECONDS} s each: {seconds['apart']:.2f} s one after the other, "
            f"{seconds['together']:.2f} s together"
        )
    assert seconds["apart"] >= 3 * START_SECONDS
