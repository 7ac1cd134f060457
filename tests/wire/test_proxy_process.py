"""The interceptor as a process of its own: what its signals do to requests under way, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc

from fleet.discovery.files import write_backends, write_routes
from fleet.discovery.sources import Backend
from fleet.routing.table import RoutingTable
from protos.weir.interceptor.v1 import queue_pb2, queue_pb2_grpc
from tests.support.loopback import route
from tests.support.ports import KeptPort
from tests.support.raw_requests import get
from tests.wire.proxy_backend import BackendPeer, RawBackend, ok
from tests.wire.proxy_client import RawClient
from tests.wire.proxy_rig import eventually

AWAKE, ASLEEP = "default/awake", "default/asleep"
IN_FLIGHT, HELD = 100, 20


class Process:
    """`weir interceptor` on files, with its ports."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self.process = process
        self.directory = directory
        self.port = self.rpc_port = 0
        self.log: list[str] = []
        self.clients: list[RawClient] = []

    def list(self, **backends: Sequence[Backend]) -> None:
        write_backends(self.directory / "backends.json", {f"default/{name}": tuple(each) for name, each in backends.items()})

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.log.append(line)
            if "serves on port " in line:
                self.port = int(line.partition("serves on port ")[2].split()[0])

    async def sizes(self) -> dict[str, tuple[int, int]]:
        """Held and in flight, as an operator and KEDA's scaler are told."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.rpc_port}") as channel:
            answer = await queue_pb2_grpc.QueueServiceStub(channel).GetQueueSizes(queue_pb2.GetQueueSizesRequest(), timeout=60)
        return {size.app: (size.held, size.in_flight) for size in answer.apps}

    async def ended(self, seconds: float) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def interceptor(directory: Path, backend: RawBackend, *flags: str) -> AsyncIterator[Process]:
    routes = [route(AWAKE, "awake.test"), route(ASLEEP, "asleep.test")]
    write_routes(directory / "routes.json", RoutingTable(routes))
    rpc_port = KeptPort()
    command = [sys.executable, "-m", "weir", "interceptor", "--host", "127.0.0.1", "--proxy-port", "0"]
    command += ["--rpc-port", str(rpc_port.number), "--diagnostics-port", "0", "--log-level", "info"]
    command += ["--routes", f"file:{directory}/routes.json", "--backends", f"file:{directory}/backends.json", *flags]
    write_backends(directory / "backends.json", {AWAKE: (backend.backend,)})
    started = Process(await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE), directory)
    started.rpc_port = rpc_port.number
    reading = asyncio.create_task(started.read_log())
    try:
        await eventually(lambda: started.port, within=120)
        yield started
    finally:
        for client in started.clients:
            client.close()
        with contextlib.suppress(ProcessLookupError):
            started.process.kill()
        await started.process.wait()
        await reading
        rpc_port.release()


async def asking(process: Process, count: int, host: bytes) -> list[RawClient]:
    clients = [await RawClient.connect(process.port) for _ in range(count)]
    process.clients += clients
    for client in clients:
        client.send(get(b"/", host=host))
    return clients


async def refused(port: int) -> None:
    """Wait until nobody listens there any more. A connection that waits in the queue of a listener that closes is reset."""
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            with contextlib.suppress(ConnectionResetError):
                (await RawClient.connect(port)).close()
            await asyncio.sleep(0.05)  # another process: each look is a connection that it has to take


async def test_sigterm_under_load_loses_nothing(tmp_path: Path) -> None:
    """100 in flight and 20 held when it comes: all are answered, held ones are counted until then, and it ends with 0."""
    go = asyncio.Event()

    async def slow(peer: BackendPeer) -> None:
        while True:
            await peer.request()
            await go.wait()
            peer.send(ok(b"done"))

    backend = RawBackend(slow)
    await backend.start()
    try:
        async with interceptor(tmp_path, backend, "--drain-delay", "3", "--drain-timeout", "120") as process:
            busy = await asking(process, IN_FLIGHT, b"awake.test")
            waiting = await asking(process, HELD, b"asleep.test")
            await eventually(lambda: len(backend.requests) == IN_FLIGHT)
            assert await process.sizes() == {AWAKE: (0, IN_FLIGHT), ASLEEP: (HELD, 0)}
            process.process.send_signal(signal.SIGTERM)
            late = await asking(process, 5, b"awake.test")  # not ready is not closed
            await eventually(lambda: len(backend.requests) == IN_FLIGHT + 5)
            await refused(process.port)
            assert await process.sizes() == {AWAKE: (0, IN_FLIGHT + 5), ASLEEP: (HELD, 0)}
            go.set()
            for client in (*busy, *late):
                message = await client.response()
                assert (message.status, message.get(b"connection")) == (200, b"close")
            assert await process.sizes() == {AWAKE: (0, 0), ASLEEP: (HELD, 0)}
            process.list(awake=[backend.backend], asleep=[backend.backend])
            for client in waiting:
                message = await client.response()
                assert (message.status, message.get(b"connection")) == (200, b"close")
            assert await process.ended(60) == 0
    finally:
        await backend.close()


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async def silent(peer: BackendPeer) -> None:
        await peer.read_to_end()

    backend = RawBackend(silent)
    await backend.start()
    try:
        async with interceptor(tmp_path, backend, "--drain-timeout", "60") as process:
            await asking(process, 1, b"awake.test")
            await eventually(lambda: backend.peers)
            process.process.send_signal(signal.SIGTERM)
            await eventually(lambda: any("draining" in line for line in process.log))
            assert process.process.returncode is None
            process.process.send_signal(signal.SIGTERM)
            assert await process.ended(60) == 128 + signal.SIGTERM
    finally:
        await backend.close()
