"""Child processes of the engine: their lines, signals and ends, and what is left when the engine is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import turns, until
from tests.wire.engine_stage import GRACEFUL, gone, launch
from weir.engine.child import Child, Launch, SpawnError, describe_exit
from weir.engine.reaper_handle import ReaperHandle

PATIENCE = 60.0


async def test_lines_are_told_without_what_a_terminal_would_act_on(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    script = r"""printf 'one\ntwo \033[31mred\033[0m \033[2Jx\a\n'; echo three >&2; printf four"""
    child = Child(launch(tmp_path, script), reaper, on_lines=lines.extend)
    assert await child.wait() == 0
    await child.kill()
    assert lines == ["one", "two \x1b[31mred\x1b[0m [2Jx", "three", "four"]


async def test_a_line_without_end_comes_in_pieces(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    child = Child(launch(tmp_path, "head -c 100000 /dev/zero | tr '\\0' x"), reaper, on_lines=lines.extend)
    await child.wait()
    await child.kill()
    assert sum(map(len, lines)) == 100_000
    assert max(map(len, lines)) == 8192


async def test_every_line_is_told_of_a_process_that_ended_long_before(tmp_path: Path, reaper: ReaperHandle) -> None:
    """All that it wrote is in the pipe and on its way when it ends, which is many turns of the loop."""
    lines: list[str] = []
    child = Child(launch(tmp_path, "yes | head -n 60000; echo end"), reaper, on_lines=lines.extend)
    assert await child.wait() == 0
    assert len(lines) < 60_001
    await child.kill()
    assert lines == ["y"] * 60_000 + ["end"]


async def test_a_process_that_left_the_group_and_prints_without_end_is_not_waited_for(
    tmp_path: Path, reaper: ReaperHandle
) -> None:
    lines: list[str] = []
    child = Child(launch(tmp_path, "setsid sh -c 'echo $$; exec yes' & sleep 0.1"), reaper, on_lines=lines.extend)
    await child.wait()
    async with asyncio.timeout(PATIENCE):
        await child.kill()
    with contextlib.suppress(ProcessLookupError):  # nobody reads from it any more, which ends it on its next line
        os.kill(int(lines[0]), signal.SIGKILL)
    assert set(lines[1:]) <= {"y", "… the last lines left out"}


async def test_a_process_waits_in_its_write_while_there_is_no_room_for_its_lines(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    room = [True]
    child = Child(launch(tmp_path, "exec yes"), reaper, on_lines=lines.extend, has_room=lambda: room[0])
    await until(lambda: len(lines) > 10_000)
    room[0] = False
    await until(lambda: child._lines._behind)
    told, received = len(lines), child._lines.received
    await until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_SLEEPING)
    assert received - child._lines.passed_on <= 256 * 1024  # no more than one read
    await turns()
    assert (child._lines.received, len(lines)) == (received, told)
    room[0] = True
    await until(lambda: child._lines.received > received + 300_000)
    await child.stop(5.0)


async def test_the_environment_and_the_directory(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    child = Child(launch(tmp_path, 'echo "$A" "$HOME"; pwd', A="b"), reaper, on_lines=lines.extend)
    await child.wait()
    await child.kill()
    assert lines == [f"b {os.environ.get('HOME', '')}".rstrip(), str(tmp_path)]


async def test_stop_ends_the_whole_group(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    child = Child(launch(tmp_path, "sleep 100 & sleep 100 & echo up; wait"), reaper, on_lines=lines.extend)
    await until(lambda: lines == ["up"])
    members = psutil.Process(child.pid).children()
    assert len(members) == 2
    await child.stop(5.0)
    assert child.exit_code == -signal.SIGTERM
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in members)


async def test_stop_waits_for_the_rest_of_the_group(tmp_path: Path, reaper: ReaperHandle) -> None:
    """A shell that dies at once must not cost its child the time to end well."""
    lines: list[str] = []
    script = f"{sys.executable} -c '{GRACEFUL}' & echo up; wait"
    child = Child(launch(tmp_path, script), reaper, on_lines=lines.extend)
    await until(lambda: "ready" in lines)
    await child.stop(10.0)
    assert (tmp_path / "done").exists()


async def test_stop_kills_what_does_not_listen(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    child = Child(launch(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.1; done"), reaper, on_lines=lines.extend)
    await until(lambda: lines == ["up"])
    await child.stop(0.2)
    assert child.exit_code == -signal.SIGKILL


async def test_a_command_that_is_not_there(tmp_path: Path, reaper: ReaperHandle) -> None:
    with pytest.raises(SpawnError, match=r"^cannot start /does/not/exist: No such file or directory$"):
        Child(Launch(["/does/not/exist"], env={}, cwd=tmp_path), reaper, on_lines=print)


def test_exits_in_words() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "SIGKILL"


ENGINE = """
import asyncio, os, pathlib, signal, sys
from fleet.runtime.address import LOOPBACK, LOOPBACKS, join_address
from weir.engine.child import Child, Launch
from weir.engine.reaper_handle import ReaperHandle

async def main():
    reaper = ReaperHandle(pathlib.Path(sys.argv[1]))
    for script in sys.argv[2:]:
        launch = Launch(["/bin/sh", "-c", script], env={}, cwd=pathlib.Path("/"))
        child = Child(launch, reaper, on_lines=lambda lines: print(*lines, sep="\\n", flush=True))
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "script",
    [
        "echo $$; exec sleep 100",
        "trap '' TERM; echo $$; while :; do sleep 0.1; done",
        "sleep 100 & echo $!; wait",
        "setsid sh -c 'echo $$; exec sleep 100' & wait",
    ],
    ids=["plain", "deaf", "grandchild", "left-the-group"],
)
async def test_nothing_is_left_when_the_engine_is_killed(tmp_path: Path, script: str) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    with subprocess.Popen(  # noqa: ASYNC220  its one line is waited for
        [sys.executable, "-c", textwrap.dedent(ENGINE), str(directory), script], stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        assert not gone(pid)
        engine.kill()
    await until(lambda: gone(pid) and not directory.exists())


async def test_a_lost_reaper_is_replaced(tmp_path: Path, reaper: ReaperHandle) -> None:
    reaper._process.kill()
    reaper._process.wait()
    child = Child(launch(tmp_path, "exec sleep 100"), reaper, on_lines=print)
    assert reaper._process.poll() is None
    await child.stop(1.0)
