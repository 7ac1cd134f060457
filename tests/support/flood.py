"""A flood for one tenant, in a process of its own: connections whose heads never end, and requests for an app that sleeps.

    python -m tests.support.flood PORT HOST CONNECTIONS

Prints "ready" once all of them are open, opens what is closed anew, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import cycle

import uvloop

DRIP_SECONDS = 2.0
"""Between two bytes of a head that never ends."""
AT_ONCE = 50
"""Connections that are being opened at the same time: it is a flood of what is open, not of what opens."""


class Flood:
    def __init__(self, port: int, host: str) -> None:
        self.port = port
        self.head = f"GET / HTTP/1.1\r\nHost: {host}\r\nX-Slow: ".encode()
        self.open = 0
        self._opening = asyncio.Semaphore(AT_ONCE)

    async def slow_head(self) -> None:
        reader, writer = await self.connect()
        writer.write(self.head)
        drip = asyncio.create_task(self.drip(writer))
        try:
            await reader.read()
        finally:
            drip.cancel()
            self.leave(writer)

    async def drip(self, writer: asyncio.StreamWriter) -> None:
        for letter in cycle(b"slow"):
            await asyncio.sleep(DRIP_SECONDS)
            writer.write(bytes([letter]))

    async def request(self) -> None:
        reader, writer = await self.connect()
        writer.write(self.head + b"no\r\n\r\n")
        try:
            while data := await reader.read(4096):
                if b" 503 " in data[:20]:
                    await asyncio.sleep(1.0)  # what Retry-After asks for
                    writer.write(self.head + b"no\r\n\r\n")
        finally:
            self.leave(writer)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._opening:
            streams = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
        self.open += 1
        return streams

    def leave(self, writer: asyncio.StreamWriter) -> None:
        self.open -= 1
        writer.transport.abort()

    async def again_and_again(self, number: int) -> None:
        while True:
            try:
                await (self.slow_head() if number % 2 else self.request())
            except (OSError, ConnectionError):
                await asyncio.sleep(0.5)


async def main(port: int, host: str, connections: int) -> None:
    flood = Flood(port, host)
    tasks = [asyncio.create_task(flood.again_and_again(number)) for number in range(connections)]
    while flood.open < connections * 0.99:  # noqa: ASYNC110 -- some are always being opened anew
        await asyncio.sleep(0.05)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
