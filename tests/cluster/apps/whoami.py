"""The app of the add-on's tests: answers with its name and a copy of the request, on WHOAMI_PORT_NUMBER.

`?wait=500ms` delays the response, /until/FILE waits until that file exists, /health is not logged, and /echo is a WebSocket that
sends messages back. Every other request is logged when it arrives. With --cert=FILE and --key=FILE it speaks TLS.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import signal
import ssl
import sys
from urllib.parse import parse_qs, urlsplit

NAME = os.environ.get("HOSTNAME", "")
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8
SECONDS = {"ms": 0.001, "s": 1.0}


async def think(path: str, query: str) -> None:
    if path.startswith("/until/"):
        while not os.path.exists(path.removeprefix("/until")):  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.05)
    for wait in parse_qs(query).get("wait", ()):
        number, unit = re.fullmatch(r"(\d+)(ms|s)", wait).groups()  # type: ignore[union-attr]
        await asyncio.sleep(int(number) * SECONDS[unit])


def headers_of(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


class Whoami:
    def __init__(self) -> None:
        self.busy = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.busy += 1
        try:
            headers = headers_of(head)
            await reader.readexactly(int(headers.get("content-length", "0")))
            line = head.partition(b"\r\n")[0].decode()
            url = urlsplit(line.split()[1])
            if url.path != "/health":
                print(line, flush=True)  # noqa: T201 - the log
            if url.path == "/echo" and "sec-websocket-key" in headers:
                await echo(headers["sec-websocket-key"], reader, writer)
                return False
            await think(url.path, url.query)
            body = f"Hostname: {NAME}\n{head.decode()}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            return True
        finally:
            self.busy -= 1


async def echo(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo short text messages until the other side closes."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + MAGIC, usedforsecurity=False).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    writer.write(b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept)
    while True:
        first, length = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        said = bytes(byte ^ mask[at % 4] for at, byte in enumerate(await reader.readexactly(length & 127)))
        if first & 15 in (TEXT, CLOSE):
            writer.write(bytes([first, len(said)]) + said)
        if first & 15 == CLOSE:
            return


async def main() -> None:
    whoami, over = Whoami(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    port = int(os.environ.get("WHOAMI_PORT_NUMBER", "80"))
    files = {name: value for name, _, value in (word.partition("=") for word in sys.argv[1:])}
    context = None
    if "--cert" in files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["--cert"], files["--key"])
    server = await asyncio.start_server(whoami.answer, "0.0.0.0", port, backlog=1024, ssl=context)
    await over.wait()
    server.close()
    while whoami.busy:  # noqa: ASYNC110 - an app is as simple as it can be
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main())
