"""What an app leaves behind ends with its replica, and with the engine, however it hides."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import until
from weir.engine.child import Child, Launch
from weir.engine.inherited import handing_down, mark_of, marks
from weir.engine.ports import Ports
from weir.engine.reaper import limit_of
from weir.engine.reaper_handle import ReaperHandle
from weir.engine.replica import Replica
from weir.engine.spec import AppSpec
from weir.engine.supervisor import ProcessContext

PATIENCE = 60.0

OTHER_ENVIRONMENT = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print(os.getpid(), flush=True)
    os.execve("/bin/sleep", ["some-daemon", "1000"], {})
os.wait()
os.execv("/bin/sleep", ["app", "1000"])
"""
"""A daemon with an environment of its own."""
OTHER_TITLE = """
import ctypes, os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    stat = open("/proc/self/stat").read().rpartition(")")[2].split()
    first, last = int(stat[45]), int(stat[48])
    ctypes.memset(first, 0, last - first)
    ctypes.memmove(first, b"worker: idle", 12)
    print(os.getpid(), flush=True)
    signal.pause()
os.wait()
os.execv("/bin/sleep", ["app", "1000"])
"""
"""A daemon that writes its title over its arguments and its environment, as setproctitle does."""
HIDDEN = pytest.mark.parametrize("script", [OTHER_ENVIRONMENT, OTHER_TITLE], ids=["environment", "title"])
ENGINE = """
import asyncio, pathlib, sys
from weir.engine.child import Child, Launch
from weir.engine.reaper_handle import ReaperHandle

async def main():
    reaper = ReaperHandle(pathlib.Path(sys.argv[1]))
    launch = Launch([sys.executable, "-S", "-c", sys.argv[2]], env={}, cwd=pathlib.Path("/"))
    child = Child(launch, reaper, on_lines=lambda lines: print(*lines, sep="\\n", flush=True))
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def reaper() -> Iterator[ReaperHandle]:
    reaper = ReaperHandle()
    yield reaper
    reaper.close()


@pytest.fixture
async def context(reaper: ReaperHandle) -> AsyncIterator[ProcessContext]:
    async with asyncio.TaskGroup() as tasks:
        yield ProcessContext(reaper=reaper, ports=Ports(), tell=lambda _name, _lines: None, tasks=tasks)


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@HIDDEN
async def test_a_daemon_that_hides_ends_with_its_process(tmp_path: Path, reaper: ReaperHandle, script: str) -> None:
    lines: list[str] = []
    child = Child(Launch([sys.executable, "-S", "-c", script], env={}, cwd=tmp_path), reaper, on_lines=lines.extend)
    await until(lambda: bool(lines))
    assert not _gone(int(lines[0]))
    await child.stop(10.0)
    assert _gone(int(lines[0]))


@HIDDEN
async def test_a_daemon_that_hides_ends_with_an_engine_that_is_killed(tmp_path: Path, script: str) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    with subprocess.Popen(  # noqa: ASYNC220  its one line is waited for
        [sys.executable, "-c", textwrap.dedent(ENGINE), str(directory), script], stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        assert not _gone(pid)
        engine.kill()
    await until(lambda: _gone(pid) and not directory.exists())


async def test_only_what_an_app_has_started_itself_ends_with_it(tmp_path: Path, reaper: ReaperHandle) -> None:
    first, second = (Child(Launch(["/bin/sleep", "1000"], env={}, cwd=tmp_path), reaper, on_lines=print) for _ in range(2))
    await first.stop(10.0)
    assert second.exit_code is None
    await second.stop(10.0)


@pytest.mark.parametrize(
    "command",
    ["sleep 1000 &", "setsid sleep 1000 &", "(setsid sh -c 'sleep 1000 &' &)"],
    ids=["background", "session", "double-fork"],
)
async def test_the_first_failure_of_a_daemon_says_what_it_is(context: ProcessContext, tmp_path: Path, command: str) -> None:
    changed = asyncio.Event()
    app = AppSpec.model_validate({"name": "web", "hosts": ["web"], "command": command})
    replica = Replica(app, 1, tmp_path, context=context, on_change=changed.set)
    replica.start()
    async with asyncio.timeout(PATIENCE):
        await changed.wait()
    assert replica.failures == 1
    assert "and left processes behind; they were ended, because a command has to stay in the foreground" in replica.reason
    replica.withdraw()
    await replica.end()


def _inherited(mark: int | None) -> int:
    with handing_down(mark), subprocess.Popen(["/bin/sleep", "1000"]) as process:
        found = limit_of(str(process.pid))
        process.kill()
    return found


def test_a_mark_is_handed_down_and_does_not_stay() -> None:
    before = resource.getrlimit(resource.RLIMIT_RTTIME)
    engine = marks()
    mark = mark_of(engine)
    assert mark in engine
    assert _inherited(mark) == mark
    assert resource.getrlimit(resource.RLIMIT_RTTIME) == before
    assert limit_of(str(os.getpid())) not in engine


def test_a_process_that_has_a_mark_can_start_one_without() -> None:
    with handing_down(mark_of(marks())):
        assert _inherited(None) == -1


def test_engines_have_different_marks() -> None:
    assert marks() != marks()
