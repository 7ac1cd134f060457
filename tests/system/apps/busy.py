"""An app for tests: a path of /say/VALUE is answered with 202 and Weir-Keep-Awake: VALUE, one of /crash ends the process. On
/call/VALUE it says it by a call of its own instead, and on /insist/VALUE again and again, whatever the answer is."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

tasks: set[asyncio.Task[None]] = set()


def call(duration: str) -> bytes:
    """The status of the answer, and the answer."""
    url, token = os.environ.get("WEIR_BUSY_URL"), os.environ.get("WEIR_BUSY_TOKEN")
    if (file := os.environ.get("WEIR_BUSY_TOKEN_FILE")) is not None:
        token = Path(file).read_text()
    if url is None or token is None:
        return b"no token"
    trust = ssl.create_default_context(cafile=os.environ.get("WEIR_BUSY_CA"))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"duration": duration}).encode(), headers)  # noqa: S310  as it was given
    try:
        with urllib.request.urlopen(request, context=trust if url.startswith("https:") else None) as response:  # noqa: S310
            return b"%d %b" % (response.status, response.read())
    except urllib.error.HTTPError as error:
        return b"%d %b" % (error.code, error.read())


async def insist(duration: str) -> None:
    while True:
        await asyncio.to_thread(call, duration)
        await asyncio.sleep(0.2)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split()[1]
            if path == b"/crash":
                os._exit(1)
            said = b"Weir-Keep-Awake: %b\r\n" % path.removeprefix(b"/say/") if path.startswith(b"/say/") else b""
            body = b"%d" % os.getpid()
            if path.startswith(b"/call/"):
                body = await asyncio.to_thread(call, path.removeprefix(b"/call/").decode())
            elif path.startswith(b"/insist/"):
                tasks.add(asyncio.create_task(insist(path.removeprefix(b"/insist/").decode())))
            writer.write(b"HTTP/1.1 202 Accepted\r\n%bContent-Length: %d\r\n\r\n%b" % (said, len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, os.environ.get("LISTEN", "127.0.0.1"), int(os.environ["PORT"]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
