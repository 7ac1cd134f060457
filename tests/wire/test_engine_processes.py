"""Real processes under the engine's supervision: lines, signals, restarts, probes, and what the reaper cleans up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

from fleet.runtime.address import LOOPBACK, LOOPBACKS, join_address
from tests.support.ports import KeptPort
from tests.support.waiting import turns, until
from weir.engine.child import Child, Launch, SpawnError, describe_exit
from weir.engine.ports import Ports
from weir.engine.probe import Probe, wait_until_ready
from weir.engine.reaper_handle import ReaperHandle
from weir.engine.replica import Replica
from weir.engine.spec import AppSpec
from weir.engine.supervisor import ProcessContext, State, Supervisor

PATIENCE = 60.0
SERVE = """
import os, socket
host = os.environ.get("LISTEN", "127.0.0.1")
s = socket.create_server((host, int(os.environ["PORT"])), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
print("serving", flush=True)
while True:
    s.accept()[0].close()
"""


@pytest.fixture
def reaper() -> Iterator[ReaperHandle]:
    reaper = ReaperHandle()
    yield reaper
    reaper.close()


def _launch(tmp_path: Path, script: str, **env: str) -> Launch:
    return Launch(["/bin/sh", "-c", script], env=env, cwd=tmp_path)


async def test_lines_are_told_without_what_a_terminal_would_act_on(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    script = r"""printf 'one\ntwo \033[31mred\033[0m \033[2Jx\a\n'; echo three >&2; printf four"""
    child = Child(_launch(tmp_path, script), reaper, on_lines=lines.extend)
    assert await child.wait() == 0
    await child.kill()
    assert lines == ["one", "two \x1b[31mred\x1b[0m [2Jx", "three", "four"]


async def test_a_line_without_end_comes_in_pieces(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    child = Child(_launch(tmp_path, "head -c 100000 /dev/zero | tr '\\0' x"), reaper, on_lines=lines.extend)
    await child.wait()
    await child.kill()
    assert sum(map(len, lines)) == 100_000
    assert max(map(len, lines)) == 8192


async def test_every_line_is_told_of_a_process_that_ended_long_before(tmp_path: Path, reaper: ReaperHandle) -> None:
    """All that it wrote is in the pipe and on its way when it ends, which is many turns of the loop."""
    lines: list[str] = []
    child = Child(_launch(tmp_path, "yes | head -n 60000; echo end"), reaper, on_lines=lines.extend)
    assert await child.wait() == 0
    assert len(lines) < 60_001
    await child.kill()
    assert lines == ["y"] * 60_000 + ["end"]


async def test_a_process_that_left_the_group_and_prints_without_end_is_not_waited_for(
    tmp_path: Path, reaper: ReaperHandle
) -> None:
    lines: list[str] = []
    child = Child(_launch(tmp_path, "setsid sh -c 'echo $$; exec yes' & sleep 0.1"), reaper, on_lines=lines.extend)
    await child.wait()
    async with asyncio.timeout(PATIENCE):
        await child.kill()
    with contextlib.suppress(ProcessLookupError):  # nobody reads from it any more, which ends it on its next line
        os.kill(int(lines[0]), signal.SIGKILL)
    assert set(lines[1:]) <= {"y", "… the last lines left out"}


async def test_a_process_waits_in_its_write_while_there_is_no_room_for_its_lines(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    room = [True]
    child = Child(_launch(tmp_path, "exec yes"), reaper, on_lines=lines.extend, has_room=lambda: room[0])
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
    child = Child(_launch(tmp_path, 'echo "$A" "$HOME"; pwd', A="b"), reaper, on_lines=lines.extend)
    await child.wait()
    await child.kill()
    assert lines == [f"b {os.environ.get('HOME', '')}".rstrip(), str(tmp_path)]


async def test_stop_ends_the_whole_group(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    child = Child(_launch(tmp_path, "sleep 100 & sleep 100 & echo up; wait"), reaper, on_lines=lines.extend)
    await until(lambda: lines == ["up"])
    members = psutil.Process(child.pid).children()
    assert len(members) == 2
    await child.stop(5.0)
    assert child.exit_code == -signal.SIGTERM
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in members)


async def test_stop_waits_for_the_rest_of_the_group(tmp_path: Path, reaper: ReaperHandle) -> None:
    """A shell that dies at once must not cost its child the time to end well."""
    lines: list[str] = []
    script = f"{sys.executable} -c '{_GRACEFUL}' & echo up; wait"
    child = Child(_launch(tmp_path, script), reaper, on_lines=lines.extend)
    await until(lambda: "ready" in lines)
    await child.stop(10.0)
    assert (tmp_path / "done").exists()


_GRACEFUL = (
    "import pathlib, signal, sys, time; "
    # It takes a while to end well, as applications do.
    'signal.signal(signal.SIGTERM, lambda *a: (time.sleep(0.3), pathlib.Path("done").touch(), sys.exit(0))); '
    'print("ready", flush=True); signal.pause()'
)


async def test_stop_kills_what_does_not_listen(tmp_path: Path, reaper: ReaperHandle) -> None:
    lines: list[str] = []
    child = Child(_launch(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.1; done"), reaper, on_lines=lines.extend)
    await until(lambda: lines == ["up"])
    await child.stop(0.2)
    assert child.exit_code == -signal.SIGKILL


async def test_a_command_that_is_not_there(tmp_path: Path, reaper: ReaperHandle) -> None:
    with pytest.raises(SpawnError, match=r"^cannot start /does/not/exist: No such file or directory$"):
        Child(Launch(["/does/not/exist"], env={}, cwd=tmp_path), reaper, on_lines=print)


def test_exits_in_words() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "SIGKILL"


def test_ports_are_given_once() -> None:
    ports = Ports()
    taken = [ports.take() for _ in range(50)]
    assert len(set(taken)) == 50
    assert all(20_000 <= port < 32_768 for port in taken)


class _Answering:
    """A server that answers everything alike. Who is being answered at its end is waited for: a loop ends with nothing open."""

    def __init__(self, status: bytes) -> None:
        self.answers = 0
        self._status = status
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await asyncio.gather(*self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # who asks may leave at any moment
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 " + self._status + b"\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            self.answers += 1
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(("status", "ready"), [(b"200 OK", True), (b"302 Found", True), (b"404 No", False), (b"503 X", False)])
async def test_a_path_is_ready_with_200_to_399(status: bytes, ready: bool) -> None:
    async with _Answering(status) as server:
        waiting = asyncio.create_task(wait_until_ready(Probe((LOOPBACK,), server.port, "/healthz")))
        await until(lambda: waiting.done() if ready else server.answers > 2)
        assert waiting.done() == ready
        waiting.cancel()
        await asyncio.wait([waiting])


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_a_port_is_found_soon_after_it_listens(host: str) -> None:
    looks = list[int]()

    async def late() -> None:
        looks.append(1)

    port = Ports().take()
    waiting = asyncio.create_task(wait_until_ready(Probe(LOOPBACKS, port), late=late, patience=0.0))
    await until(lambda: looks)
    assert not waiting.done()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), host, port)
    async with asyncio.timeout(20):
        assert await waiting == host
    server.close()


async def test_who_is_late_is_looked_at_again_and_again() -> None:
    looks = list[int]()

    async def late() -> None:
        looks.append(1)

    waiting = asyncio.create_task(wait_until_ready(Probe(LOOPBACKS, Ports().take(), interval=0.001), late=late, patience=0.0))
    await until(lambda: len(looks) >= 3)
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_who_is_only_slow_has_no_trouble(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[str]()
    elsewhere = Supervisor._elsewhere

    async def looked(self: Supervisor, child: Child, probe: Probe) -> str:
        looks.append(await elsewhere(self, child, probe))
        return looks[-1]

    monkeypatch.setattr(Supervisor, "_elsewhere", looked)
    replica = stage.replica(command="exec sleep 1000")
    replica.start()
    await until(lambda: bool(looks))
    await asyncio.sleep(0)
    assert (replica.reason, stage.states) == ("", [])
    replica.withdraw()
    await replica.end()


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_a_port_that_somebody_has_on_either_address_is_not_taken(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), host, 0)
    taken: int = server.sockets[0].getsockname()[1]
    free = Ports().take()
    tried = iter([taken, taken, free])
    monkeypatch.setattr("weir.engine.ports.random.randint", lambda first, last: next(tried))
    assert Ports().take() == free
    server.close()


class Stage:
    """Replicas with a context of the test's own."""

    def __init__(self, reaper: ReaperHandle, tasks: asyncio.TaskGroup, directory: Path) -> None:
        self.lines: list[tuple[str, str]] = []
        self.states: list[State] = []
        self.directory = directory
        self.context = ProcessContext(
            reaper=reaper, ports=Ports(), tell=lambda name, lines: self.lines.extend((name, line) for line in lines), tasks=tasks
        )

    def replica(self, **spec: object) -> Replica:
        app = AppSpec.model_validate({"name": "web", "hosts": ["web"], **spec})
        replica = Replica(app, 1, self.directory, context=self.context, on_change=lambda: self.states.append(replica.state))
        return replica


@pytest.fixture
async def stage(reaper: ReaperHandle, tmp_path: Path) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        yield Stage(reaper, tasks, tmp_path)


def _python(script: str) -> list[str]:
    return [sys.executable, "-S", "-c", script]


HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@HOSTS
async def test_a_replica_is_started_in_the_call_and_has_an_address_once_ready(stage: Stage, host: str) -> None:
    replica = stage.replica(command=_python(SERVE), env={"LISTEN": host})
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
    replica = stage.replica(command=_python(SERVE), env={"LISTEN": host})
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
    with KeptPort() as kept:
        port = kept.number
    replica = stage.replica(command=_python(SERVE), port=port)
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
    replica = stage.replica(command=_python(SERVE), port=port)
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
    assert _gone(pids[0])
    assert "left processes behind; they were ended, because a command has to stay in the foreground" in replica.reason
    replica.withdraw()
    await replica.end()
    assert all(_gone(int(line)) for _, line in stage.lines)


async def test_what_has_left_the_group_has_the_grace_too(stage: Stage, tmp_path: Path) -> None:
    script = f"setsid {sys.executable} -c '{_GRACEFUL}' & wait"
    replica = stage.replica(command=script)
    replica.start()
    await until(lambda: ("web/1", "ready") in stage.lines)
    replica.withdraw()
    await replica.end()
    assert (tmp_path / "done").exists()


async def test_a_replica_finishes_its_requests_before_it_gets_sigterm(stage: Stage) -> None:
    replica = stage.replica(command=_python(SERVE))
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
    replica = stage.replica(command=_python(SERVE))
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
    replica = stage.replica(command=[*_python(script), "-p", "$PORT", "--url=http://x:${PORT}/"])
    replica.start()
    await until(lambda: bool(stage.lines))
    replica.withdraw()
    await replica.end()
    _, line = stage.lines[0]
    port = line.split("'")[3]
    assert line == f"['-p', '{port}', '--url=http://x:{port}/']"


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


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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
        assert not _gone(pid)
        engine.kill()
    await until(lambda: _gone(pid) and not directory.exists())


async def test_a_lost_reaper_is_replaced(tmp_path: Path, reaper: ReaperHandle) -> None:
    reaper._process.kill()
    reaper._process.wait()
    child = Child(_launch(tmp_path, "exec sleep 100"), reaper, on_lines=print)
    assert reaper._process.poll() is None
    await child.stop(1.0)
