"""A WebSocket server that tells every client the time once a second, as a development server tells of changes."""

import asyncio
import base64
import hashlib
import os
import time

KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 0x81, 0x88


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = (line.partition(b":") for line in head.split(b"\r\n"))
        key = next((value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key"), None)
        if key is None:
            writer.write(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n")
            writer.write(b"Connection: upgrade\r\nContent-Length: 0\r\n\r\n")
            return
        accept = base64.b64encode(hashlib.sha1(key + KEY, usedforsecurity=False).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept)
        ends = asyncio.create_task(reader.read())  # a client that leaves; what it says is not of interest
        while not ends.done():
            text = time.strftime("%H:%M:%S").encode()
            writer.write(bytes((TEXT, len(text))) + text)
            await asyncio.wait((ends,), timeout=1)
        writer.write(bytes((CLOSE, 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
