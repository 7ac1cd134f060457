"""A proxy in front of the API server that can silence every watch: the connections stay open, but nothing arrives.

Only for reads: one request without a body per connection.
"""

import asyncio
import contextlib
import re
import ssl
from pathlib import Path
from typing import Self

from tests.cluster.network import NODE_ADDRESS

__all__ = ["Cutter"]

_WATCH = re.compile(rb"[?&]watch=(1|true|True)\b")


class Cutter:
    """Use as `async with`. Uses the API server's own certificate."""

    def __init__(self, pki: Path, ca: Path) -> None:
        self._serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._serving.load_cert_chain(pki / "kube-apiserver.crt", pki / "kube-apiserver.key")
        self._upstream = ssl.create_default_context(cafile=str(ca))
        self._server: asyncio.Server | None = None
        self._serving_now: set[asyncio.Task[None]] = set()
        self._silent = False
        self.watches = 0
        """Number of watches opened."""
        self.address, self.port = NODE_ADDRESS, 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.address, 0, ssl=self._serving)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving_now:
            task.cancel()
        await asyncio.gather(*self._serving_now, return_exceptions=True)

    def cut(self) -> None:
        """From now on no watch delivers anything, including open ones."""
        self._silent = True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="connection through the cutter")
        self._serving_now.add(task)
        task.add_done_callback(self._serving_now.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._exchange(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        watching = _WATCH.search(head.split(b"\r\n", 1)[0]) is not None
        self.watches += watching
        upstream, request = await asyncio.open_connection(NODE_ADDRESS, 6443, ssl=self._upstream)
        try:
            lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
            request.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
            await self._relay(upstream, writer, watching=watching)
        finally:
            request.close()

    async def _relay(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watching: bool) -> None:
        while data := await upstream.read(65536):
            if not (watching and self._silent):
                writer.write(data)
                await writer.drain()
        if watching and self._silent:
            await asyncio.Event().wait()  # not even the end of the stream is passed on
