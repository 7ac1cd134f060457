"""A client over TLS, and a relay that keeps what passes on the wire beneath it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.certificates import Authority

__all__ = ["Relay", "TlsClient", "connect", "relay", "trusting"]


def trusting(authority: Authority, *, alpn: Sequence[str] = (), own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A client's context that trusts this authority only, with a certificate of the client's `own`."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if own is not None:
        context.load_cert_chain(*own)
    return context


class TlsClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def session(self) -> ssl.SSLObject:
        found: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return found

    @property
    def served_by(self) -> tuple[str, ...]:
        """The host names in the server's certificate."""
        certificate = self.session.getpeercert()
        assert certificate is not None
        names: Any = certificate["subjectAltName"]
        return tuple(value for kind, value in names if kind == "DNS")

    async def ask(self, request: bytes = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") -> tuple[bytes, bytes]:
        """The head and the body, which must have a length, of the answer to a request."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head, await self.reader.readexactly(length)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connect(port: int, context: ssl.SSLContext, name: str = "a.test") -> AsyncIterator[TlsClient]:
    """Connect, and check the server's certificate for this name. Raises ssl.SSLError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    client = TlsClient(reader, writer)
    try:
        yield client
    finally:
        await client.close()


class Relay:
    """Passes bytes on to a port, and keeps them."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.kept = bytearray()
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._copy(reader, other_writer), self._copy(other_reader, writer))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                self.kept += data
                target.write(data)
                await target.drain()
        target.close()


@asynccontextmanager
async def relay(target: int) -> AsyncIterator[Relay]:
    """A relay that listens."""
    made = Relay(target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await asyncio.sleep(0)
