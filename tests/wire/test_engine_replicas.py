"""Replicas under the engine's supervision: starts, restarts, ports, readiness and ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest

from fleet.runtime.address import join_address
from tests.support.ports import KeptPort, unbound_port
from tests.support.waiting import until
from tests.wire.engine_stage import GRACEFUL, SERVE, Stage, gone, python
from weir.engine.supervisor import State

PATIENCE = 60.0


HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@HOSTS
async def test_a_replica_is_started_in_the_call_and_has_an_address_once_ready(stage: Stage, host: str) -> None:
    replica = stage.replica(command=python(SERVE), env={"LISTEN": host})
    replica.start()
    assert replica.pid is not None
    assert replica.backend is None
    await until(lambda: replica.state is State.READY)
    assert replica.backend is not None
    assert replica.backend.host == host
    await until(lambda: ("web/1", "serving") in stage.lines)
    replica.withdraw()
    assert replica.backend is None
    pid = replica.pid
    await replica.end()
    assert not psutil.pid_exists(pid)


@HOSTS
async def test_a_replica_that_crashes_is_started_again_on_another_port(stage: Stage, host: str) -> None:
    replica = stage.replica(command=python(SERVE), env={"LISTEN": host})
    replica.start()
    await until(lambda: replica.state is State.READY)
    first_pid, first = replica.pid, replica.backend
    assert first_pid is not None
    os.kill(first_pid, signal.SIGKILL)
    await until(lambda: len(stage.states) >= 4)
    assert stage.states == [State.READY, State.FAILED, State.STARTING, State.READY]
    assert replica.failures == 1
    assert replica.pid != first_pid
    assert replica.backend not in (None, first)
    replica.withdraw()
    await replica.end()


async def test_a_replica_that_cannot_be_started_is_tried_again(stage: Stage) -> None:
    replica = stage.replica(command=["/does/not/exist"])
    replica.start()
    await until(lambda: replica.failures >= 2)
    assert stage.states[:3] == [State.FAILED, State.STARTING, State.FAILED]
    replica.withdraw()
    await replica.end()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (None, r"nothing takes connections at 127\.0\.0\.1:(\d+) or \[::1\]:\1, the port that the command has in \$PORT;"),
        ("/up", r"GET /up at 127\.0\.0\.1:(\d+) or \[::1\]:\1 has no answer from 200 to 399;"),
    ],
)
async def test_a_replica_that_is_never_ready_is_started_again(
    stage: Stage, path: str | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    replica = stage.replica(command="exec sleep 100", readiness={"timeout": 0.1, "path": path})
    replica.start()
    first = replica.pid
    assert first is not None
    await until(lambda: replica.failures == 1)
    assert not psutil.pid_exists(first)
    assert re.search(rf"was not ready after 0\.1 s: {why}", caplog.text)
    replica.withdraw()
    await replica.end()


@HOSTS
async def test_where_it_listens_instead_is_reported(stage: Stage, host: str) -> None:
    """A dev server with a port of its own. What listens is a process that has left the group, as behind a shell."""
    with KeptPort() as port:
        script = f"PORT={port.number} exec setsid {sys.executable} -S -c '{SERVE}' & wait"
        replica = stage.replica(command=script, env={"LISTEN": host}, readiness={"timeout": 5})
        replica.start()
        await until(lambda: bool(replica.reason))
        assert replica.state is State.STARTING
        assert replica.reason.endswith(f"; it listens on {join_address(host, port.number)}")
        assert replica.reason.startswith("is not ready yet: nothing takes connections at ")
        replica.withdraw()
        await replica.end()


async def test_a_process_that_ends_tells_why(stage: Stage) -> None:
    replica = stage.replica(command="echo starting; echo error: no database >&2; echo bye; exit 3")
    replica.start()
    await until(lambda: replica.failures == 1)
    assert replica.reason == "ended with exit code 3: error: no database"
    replica.withdraw()
    await replica.end()


async def test_a_replica_with_a_port_of_its_own_listens_there_at_every_start(stage: Stage) -> None:
    port = unbound_port()
    replica = stage.replica(command=python(SERVE), port=port)
    replica.start()
    first = replica.pid
    assert first is not None
    await until(lambda: replica.state is State.READY)
    assert replica.backend is not None
    assert replica.backend.port == port
    os.kill(first, signal.SIGKILL)
    await until(lambda: replica.state is State.READY and replica.pid != first)
    assert replica.backend is not None
    assert replica.backend.port == port
    replica.withdraw()
    await replica.end()


async def test_a_port_of_somebody_else_is_reported_and_waited_for(stage: Stage) -> None:
    other = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port: int = other.sockets[0].getsockname()[1]
    replica = stage.replica(command=python(SERVE), port=port)
    replica.start()
    await until(lambda: replica.failures >= 1)
    assert replica.reason == f"port {port} is in use already"
    assert replica.backend is None
    other.close()
    await other.wait_closed()
    await until(lambda: replica.state is State.READY)
    replica.withdraw()
    await replica.end()


DAEMON = "setsid sh -c 'echo $$; exec sleep 1000' </dev/null & sleep 0.3"


async def test_a_daemon_ends_with_its_replica_before_the_next_start(stage: Stage) -> None:
    replica = stage.replica(command=DAEMON)
    replica.start()
    await until(lambda: replica.failures == 2)
    pids = [int(line) for _, line in stage.lines]
    assert len(pids) >= 2
    assert gone(pids[0])
    assert "left processes behind; they were ended, because a command has to stay in the foreground" in replica.reason
    replica.withdraw()
    await replica.end()
    assert all(gone(int(line)) for _, line in stage.lines)


async def test_what_has_left_the_group_has_the_grace_too(stage: Stage, tmp_path: Path) -> None:
    script = f"setsid {sys.executable} -c '{GRACEFUL}' & wait"
    replica = stage.replica(command=script)
    replica.start()
    await until(lambda: ("web/1", "ready") in stage.lines)
    replica.withdraw()
    await replica.end()
    assert (tmp_path / "done").exists()


async def test_a_replica_finishes_its_requests_before_it_gets_sigterm(stage: Stage) -> None:
    replica = stage.replica(command=python(SERVE))
    replica.start()
    await until(lambda: replica.state is State.READY)
    replica.withdraw()
    over = asyncio.Event()

    async def drained() -> None:
        await over.wait()

    ended = asyncio.create_task(replica.end(drained))
    await asyncio.sleep(0)
    assert replica.pid is not None
    assert psutil.pid_exists(replica.pid)
    over.set()
    await ended
    assert replica.pid is None


async def test_a_replica_that_ends_by_itself_has_nothing_to_finish(stage: Stage) -> None:
    replica = stage.replica(command=python(SERVE))
    replica.start()
    await until(lambda: replica.state is State.READY)
    replica.withdraw()
    ended = asyncio.create_task(replica.end(asyncio.Event().wait))  # type: ignore[arg-type]  # never
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        await ended


async def test_the_port_is_put_into_a_list_of_words(stage: Stage) -> None:
    script = "import signal, sys; print(sys.argv[1:], flush=True); signal.pause()"
    replica = stage.replica(command=[*python(script), "-p", "$PORT", "--url=http://x:${PORT}/"])
    replica.start()
    await until(lambda: bool(stage.lines))
    replica.withdraw()
    await replica.end()
    _, line = stage.lines[0]
    port = line.split("'")[3]
    assert line == f"['-p', '{port}', '--url=http://x:{port}/']"
