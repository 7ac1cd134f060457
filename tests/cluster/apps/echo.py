"""An app for cluster tests: answers with its pod's name on PORT (8080) after DELAY seconds.

A request for /until/FILE is answered when that file exists, and with START_FILE the app listens only when that file exists. After
SIGTERM it finishes open requests and exits, so that lost requests are not its fault.
"""

from __future__ import annotations

import asyncio
import os
import signal

DELAY = float(os.environ.get("DELAY", "0"))
NAME = os.environ.get("HOSTNAME", "")


async def there_is(file: str) -> None:
    while not os.path.exists(file):  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.05)


class Echo:
    def __init__(self) -> None:
        self.busy = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.busy += 1
                try:
                    await self._respond(head, writer)
                finally:
                    self.busy -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _respond(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        path = head.split()[1].decode()
        await (there_is(path.removeprefix("/until")) if path.startswith("/until/") else asyncio.sleep(DELAY))
        body = f"{NAME} {os.getpid()}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()


async def main() -> None:
    echo, over = Echo(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    if "START_FILE" in os.environ:
        await there_is(os.environ["START_FILE"])
    server = await asyncio.start_server(echo.answer, "0.0.0.0", int(os.environ.get("PORT", "8080")), backlog=1024)
    await over.wait()
    server.close()
    while echo.busy:  # noqa: ASYNC110 - an app is as simple as it can be
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main())
