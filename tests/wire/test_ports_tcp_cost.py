"""What an idle connection at a TCP port costs, and what a small message does: calls of our functions, an exact measure."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import tracemalloc
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.port import ListenPort
from interceptor.exchange import stream_tunnel
from tests.support.calls import calls
from tests.support.loopback import APP
from tests.support.ports import free_port
from tests.wire.proxy_rig import eventually
from tests.wire.stream_rig import port_route, stream_rig

CONNECTIONS = 500
ROUNDS = 50
SERVER = """
import asyncio, sys
async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""
CLIENTS = """
import socket, sys
opened = []
for _ in range(int(sys.argv[2])):
    opened.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60))
    opened[-1].sendall(b"hello")
    assert opened[-1].recv(100) == b"hello"
print("open", flush=True)
sys.stdin.read()
"""
"""Processes of their own: what they keep does not count."""


@asynccontextmanager
async def running(program: str, *arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """A process, and the first line that it writes. It ends with its input."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, *arguments, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def test_an_idle_connection_takes_little_memory_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before it does without transports."""
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", math.inf)
    number = free_port()
    async with stream_rig(port_route(ListenPort(number))) as rig, running(SERVER) as (_, server):
        rig.rig.sources.set(APP, [Backend("127.0.0.1", int(server))])
        await rig.bound(number)
        async with running(CLIENTS, str(number), "50") as (_, said):
            assert said == "open"
        await eventually(lambda: not rig.clients)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            async with running(CLIENTS, str(number), str(CONNECTIONS)) as (_, said):
                assert said == "open"
                assert rig.entry.in_flight == CONNECTIONS
                gc.collect()
                each = (tracemalloc.get_traced_memory()[0] - before) / CONNECTIONS
                assert each < 4000, f"{each:.0f} bytes for each connection, its backend's among them"
            await eventually(lambda: not rig.clients)

            def left() -> float:
                gc.collect()
                return (tracemalloc.get_traced_memory()[0] - before) / CONNECTIONS

            # Connections to backends are closed some turns after those of clients. What stays is room in tables.
            await eventually(lambda: left() < 300)
        finally:
            tracemalloc.stop()


async def test_a_small_message_is_few_calls_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the connection does not do without transports."""
    monkeypatch.setattr(stream_tunnel, "RELAY_SECONDS", math.inf)
    monkeypatch.setattr(stream_tunnel, "RELAY_READS", 0)
    number = free_port()
    async with stream_rig(port_route(ListenPort(number))) as rig, running(SERVER) as (_, server):
        rig.rig.sources.set(APP, [Backend("127.0.0.1", int(server))])
        await rig.bound(number)
        peer = await rig.connect(number)
        for _ in range(3):
            peer.send(b"x")
            await peer.read(1)
        tasks = len(asyncio.all_tasks())
        with calls() as made:
            for _ in range(ROUNDS):
                peer.send(b"y")
                await peer.read(1)
        ours = {name: count for name, count in made.items() if name.startswith(("Stream", "Connection", "Outbox", "Tunnel"))}
        once = (
            "StreamClient.get_buffer",
            "StreamClient.buffer_updated",
            "StreamBackend.get_buffer",
            "StreamBackend.buffer_updated",
        )
        assert ours == {**dict.fromkeys(once, ROUNDS), "Connection.pass_on": 2 * ROUNDS}
        assert len(asyncio.all_tasks()) == tasks
