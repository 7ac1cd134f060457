"""When a process is ready: its port, its path, and what is reported of one that is late."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from typing import Self

import pytest

from fleet.runtime.address import LOOPBACK, LOOPBACKS
from tests.support.waiting import until
from tests.wire.engine_stage import SERVE, Stage, gone, launch, python
from weir.engine.check import Check
from weir.engine.child import Child, Launch
from weir.engine.ports import Ports
from weir.engine.probe import Probe, wait_until_ready
from weir.engine.replica import Replica
from weir.engine.supervisor import Supervisor


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
    async with asyncio.timeout(60):
        assert await waiting == host
    server.close()


async def test_a_late_process_is_looked_at_again_and_again() -> None:
    looks = list[int]()

    async def late() -> None:
        looks.append(1)

    waiting = asyncio.create_task(wait_until_ready(Probe(LOOPBACKS, Ports().take(), interval=0.001), late=late, patience=0.0))
    await until(lambda: len(looks) >= 3)
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_process_that_is_only_slow_has_no_trouble(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_a_port_of_udp_is_ready_when_it_does_not_refuse(host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((host, 0))
        port = own.getsockname()[1]
        probe = Probe(LOOPBACKS, port, datagrams=True)
        async with asyncio.timeout(60):
            assert await wait_until_ready(probe) == host
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await wait_until_ready(probe)


def checked(stage: Stage, command: str) -> Replica:
    return stage.replica(command=python(SERVE), readiness={"command": command})


async def test_a_command_decides_once_the_port_is_open(stage: Stage) -> None:
    replica = checked(stage, "echo $PORT >> runs; test -e go || { echo not yet: $PORT >&2; exit 3; }")
    replica.start()
    runs = stage.directory / "runs"
    await until(lambda: runs.exists() and len(runs.read_text().split()) > 2)
    assert replica.backend is None
    (stage.directory / "go").touch()
    await until(lambda: replica.backend is not None)
    assert replica.backend is not None
    assert {*runs.read_text().split()} == {str(replica.backend.port)}
    replica.withdraw()
    await replica.end()


async def test_what_the_command_says_is_the_reason(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weir.engine.supervisor.wait_until_ready", functools.partial(wait_until_ready, patience=0.0))
    replica = checked(stage, "echo 'ERROR: no tables yet'; exit 2")
    replica.start()
    await until(lambda: replica.reason)
    assert replica.reason == ("is not ready yet: the command of its readiness ended with exit code 2: ERROR: no tables yet")
    replica.withdraw()
    await replica.end()


async def test_a_command_that_does_not_end_is_ended_with_all_that_it_has_started(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.engine.check.CHECK_SECONDS", 0.5)
    there = Check(launch(stage.directory, "sleep 1000 & echo $! > first; wait"), stage.context.reaper)
    assert not await there.passes()
    assert there.said == "took longer than 0.5 s"
    pid = int((stage.directory / "first").read_text())
    await until(lambda: gone(pid))


async def test_a_command_that_is_not_there_or_that_is_given_up(stage: Stage) -> None:
    missing = Check(Launch(["./nothing"], env={}, cwd=stage.directory), stage.context.reaper)
    assert not await missing.passes()
    assert missing.said.startswith("cannot be run: ")
    endless = Check(launch(stage.directory, "echo $$ > second; exec sleep 1000"), stage.context.reaper)
    running = asyncio.create_task(endless.passes())
    second = stage.directory / "second"
    await until(lambda: second.exists() and second.read_text())
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    await until(lambda: gone(int(second.read_text())))
