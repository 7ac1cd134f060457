"""An app for soaks: fills, counts, echoes, and fails by the dice when FAULTS says how often. Standard library only.

GET /fill/NAME/SIZE    SIZE bytes of NAME; with /chunks/ in place of /fill/ they come in chunks
POST /count/NAME       the name and how many bytes came, if all of them were of that name
Upgrade: echo          bytes come back as they are

With SPEAKS=tcp or SPEAKS=udp all bytes, or datagrams, come back as they are.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import cast

SPEAKS = os.environ.get("SPEAKS", "http")
FAULTS = float(os.environ.get("FAULTS", "0"))
CHUNK = 16 * 1024

dice = random.Random(os.getpid())


def fill(name: bytes, size: int) -> bytes:
    return (name * (size // len(name) + 1))[:size]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await exchange(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request; False when the connection is over."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
    if b"\r\nupgrade:" in head.lower():
        await echo(reader, writer)
        return False
    body = await read_body(reader, head)
    if dice.random() < FAULTS:
        return await fail(writer)
    _, kind, name, *rest = target.split(b"/")
    if kind == b"count":
        wrong = body != fill(name, len(body))
        answer = b"%b %d%b" % (name, len(body), b" mixed" if wrong else b"")
    else:
        answer = fill(name, int(rest[0]))
    await reply(writer, method, answer, chunked=kind == b"chunks")
    return True


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if found:
        return await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    body = b""
    if b"\r\ntransfer-encoding:" in head.lower():
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    return body


async def reply(writer: asyncio.StreamWriter, method: bytes, answer: bytes, *, chunked: bool) -> None:
    if chunked:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(answer), CHUNK):
            piece = answer[at : at + CHUNK]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
    else:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + (b"" if method == b"HEAD" else answer))
    await writer.drain()


async def fail(writer: asyncio.StreamWriter) -> bool:
    """One of the ways in which backends break."""
    way = dice.randrange(5)
    if way == 0:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all")
    elif way == 1:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    elif way == 2:
        writer.write(b"nonsense\r\n\r\n")
    elif way == 3:
        writer.transport.abort()
    else:
        await asyncio.sleep(dice.random() * 2)
    return False


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
    await back(reader, writer)


async def serve_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await back(reader, writer)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # of no such class before Python 3.12

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(data, address)


async def main() -> None:
    place = "127.0.0.1", int(os.environ["PORT"])
    if SPEAKS == "udp":
        await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, place)
        await asyncio.Event().wait()
    server = await asyncio.start_server(serve_bytes if SPEAKS == "tcp" else serve, *place, backlog=1024, limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    time.sleep(float(os.environ.get("START_SECONDS", "0")))
    asyncio.run(main())
