"""Many idle subscribers of a real MQTT broker: what each takes of the interceptor's memory, and that they keep it awake."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.support.full import FULL
from tests.support.ports import free_port
from tests.system import harness
from tests.system.harness import Up, fetch, fleet, running_up
from tests.system.mqtt import broker, needs_mosquitto

pytestmark = needs_mosquitto

SUBSCRIBERS = 5000 if FULL else 1000
MOST_BYTES = 3 * 1024 if FULL else 5 * 1024
"""Of the interceptor's memory for each, its connection to the broker among them. A connection takes more until it has been silent
for a second, and the process keeps what it had: of few, all take that at once."""
PROGRAM = """
import socket, sys
opened = []
for number in range(int(sys.argv[2])):
    name = b"s%05d" % number
    one = socket.create_connection((sys.argv[3], int(sys.argv[1])), timeout=60)
    one.sendall(b"\\x10%c\\x00\\x04MQTT\\x04\\x02\\x00\\x00\\x00\\x06%b" % (12 + len(name), name))
    assert one.recv(4) == b"\\x20\\x02\\x00\\x00"
    one.sendall(b"\\x82\\x0d\\x00\\x01\\x00\\x08things/1\\x00")
    assert one.recv(5) == b"\\x90\\x03\\x00\\x01\\x00"
    opened.append(one)
print("all", flush=True)
sys.stdin.readline()
opened[-1].sendall(b"\\x30\\x0c\\x00\\x08things/1ok")
assert all(one.recv(14) == b"\\x30\\x0c\\x00\\x08things/1ok" for one in opened)
print("got it", flush=True)
sys.stdin.read()
"""
"""Subscribers without keep-alive, in a process of their own. The last one publishes, when it is told to."""


@asynccontextmanager
async def subscribers(port: int, count: int) -> AsyncIterator[asyncio.subprocess.Process]:
    command = (sys.executable, "-c", PROGRAM, str(port), str(count), harness.address)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            assert await process.stdout.readline() == b"all\n"
        yield process
    finally:
        process.stdin.close()
        await process.wait()


async def connections(up: Up) -> int:
    """Those that count."""
    (interceptor,) = up.components("interceptor")
    queue = json.loads((await fetch(interceptor["diagnostics_port"], "localhost", "/queue")).body)
    return int(queue["default/mqtt"]["connections"])


async def test_idle_subscribers_are_cheap_and_keep_it_awake(tmp_path: Path) -> None:
    number = free_port()
    async with running_up(tmp_path, fleet(broker(tmp_path, {"port": number}, max=1)), "--processes") as up:
        (interceptor,) = up.components("interceptor")
        memory = psutil.Process(int(interceptor["pid"])).memory_info
        async with subscribers(number, 100):  # what is needed once
            pass
        before = memory().rss
        async with subscribers(number, SUBSCRIBERS) as process:
            assert await connections(up) == SUBSCRIBERS
            await asyncio.sleep(3)  # until they are silent for long enough to do without transports
            each = (memory().rss - before) / SUBSCRIBERS
            assert each < MOST_BYTES, f"{each:.0f} bytes for each"
            assert up.backends("mqtt"), "they keep it awake"
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"\n")
            async with asyncio.timeout(120):
                assert await process.stdout.readline() == b"got it\n"
