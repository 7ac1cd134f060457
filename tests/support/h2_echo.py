"""An echo server on the HTTP/2 core, which h2spec tests.

Run as a module it prints its port. It adds no limits or rules, so that only those of the core are tested.
"""

from __future__ import annotations

import asyncio
import sys
from time import monotonic
from typing import cast

from interceptor.core.messages import Fields
from interceptor.http2.core.config import Config
from interceptor.http2.core.header_rules import Head
from interceptor.http2.core.session import Session
from interceptor.http2.core.stream import Stream
from tests.support.h2_events import IgnoredSession, IgnoredStream

__all__ = ["EchoConnection"]

OK: Fields = ((b":status", b"200"), (b"server", b"echo"))


class _Echo(IgnoredStream):
    """Sends the received content back, as fast as the peer reads it."""

    def __init__(self, session: Session, stream: Stream, *, end: bool) -> None:
        self._session, self._stream, self._unconsumed = session, stream, 0
        if end:
            session.send_headers(stream, OK)
            session.send_data(stream, b"an echo of nothing\n", end=True)
        else:
            session.send_headers(stream, OK)

    def on_data(self, data: bytes | memoryview, *, end: bool) -> None:
        self._unconsumed += len(data)
        self._session.send_data(self._stream, data, end=end)
        if not self._stream.congested:
            self.on_writable()

    def on_trailers(self, fields: Fields) -> None:
        self._session.send_trailers(self._stream, fields)

    def on_writable(self) -> None:
        taken, self._unconsumed = self._unconsumed, 0
        self._session.consumed(self._stream, taken)


class EchoConnection(asyncio.Protocol, IgnoredSession):
    """One connection of the server."""

    def __init__(self) -> None:
        self.session = Session(Config(), self, client=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        self.session.start()
        self._write()

    def data_received(self, data: bytes) -> None:
        more = self.session.feed(data, monotonic())
        while more:
            more = self.session.go_on(monotonic())
        self._write()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.session.lost()

    def pause_writing(self) -> None:
        self.session.hold()

    def resume_writing(self) -> None:
        self.session.release()
        self._write()

    def _write(self) -> None:
        while out := self.session.take_output():
            self._transport.write(b"".join(out))
        if self.session.drained:
            self._transport.close()

    def on_request(self, stream: Stream, head: Head, *, end: bool, data: bytes | memoryview = b"") -> None:
        stream.sink = _Echo(self.session, stream, end=end)


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(EchoConnection, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
