"""An app for tests: a path of /say/VALUE is answered with 202 and Weir-Keep-Awake: VALUE, one of /crash ends the process."""

from __future__ import annotations

import asyncio
import os


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split()[1]
            if path == b"/crash":
                os._exit(1)
            said = b"Weir-Keep-Awake: %b\r\n" % path.removeprefix(b"/say/") if path.startswith(b"/say/") else b""
            body = b"%d" % os.getpid()
            writer.write(b"HTTP/1.1 202 Accepted\r\n%bContent-Length: %d\r\n\r\n%b" % (said, len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", int(os.environ["PORT"]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
