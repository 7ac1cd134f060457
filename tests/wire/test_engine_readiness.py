"""When a process is ready: its port, its path, and what is reported of one that is late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Self

import pytest

from fleet.runtime.address import LOOPBACK, LOOPBACKS
from tests.support.waiting import until
from tests.wire.engine_stage import Stage
from weir.engine.child import Child
from weir.engine.ports import Ports
from weir.engine.probe import Probe, wait_until_ready
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
