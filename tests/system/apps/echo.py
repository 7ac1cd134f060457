"""An app for tests: answers with its process id after DELAY seconds, once it has warmed up for START_SECONDS.

A path of /sleep/SECONDS takes as long as it says; one of /until/FILE takes until there is such a file. Where PORT is 0 it
takes a free port, and prints it once it listens. LISTEN is the address that it listens on.
"""

from __future__ import annotations

import asyncio
import os
import time

DELAY = float(os.environ.get("DELAY", "0"))


async def work(path: str) -> None:
    if path.startswith("/until/"):
        file = path.removeprefix("/until")
        while not os.path.exists(file):  # noqa: ASYNC110, ASYNC240  another process makes it
            await asyncio.sleep(0.01)
    else:
        await asyncio.sleep(float(path.removeprefix("/sleep/")) if path.startswith("/sleep/") else DELAY)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split()[1].decode()
            await work(path)
            body = f"{os.getpid()} {os.environ.get('VERSION', '')}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, os.environ.get("LISTEN", "127.0.0.1"), int(os.environ["PORT"]), backlog=1024)
    if os.environ["PORT"] == "0":
        print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  whoever started it reads that
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    time.sleep(float(os.environ.get("START_SECONDS", "0")))
    asyncio.run(main())
