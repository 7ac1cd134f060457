"""A backend over TLS, and a request to it through an interceptor."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.certificates import Authority
from tests.wire.proxy_backend import BackendPeer, ok
from tests.wire.proxy_rig import Rig

__all__ = ["GET", "TlsBackend", "ask", "backend"]

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


class TlsBackend:
    """Answers every request with the same body."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.port = 0
        self.received = bytearray()
        self.connections = 0
        """That have had their handshake."""
        self.open = 0
        self.names: list[str | None] = []
        """That were asked for (SNI), in each handshake."""
        self.gate: asyncio.Event | None = None
        """Answers wait for it."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        peer = BackendPeer(reader, writer)
        with contextlib.suppress(ConnectionError):
            while True:
                await peer.request()
                self.received[:] = peer.received
                if self.gate is not None:
                    await self.gate.wait()
                peer.send(ok(self.body))
        self.open -= 1
        writer.close()


@asynccontextmanager
async def backend(
    authority: Authority, directory: Path, *names: str, body: bytes = b"ok", alpn: Sequence[str] = (), ended: bool = False
) -> AsyncIterator[TlsBackend]:
    """With a certificate for these names; `ended`: one that has expired."""
    made = TlsBackend(body)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.write(directory, "backend", *names, ended=ended))
    context.sni_callback = lambda _, name, __: made.names.append(name)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await asyncio.sleep(0)


async def ask(rig: Rig, request: bytes = GET) -> tuple[bytes, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.interceptor.proxy_port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    return head, body
