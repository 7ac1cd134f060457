"""Connections whose transport encrypts (TLS): the same as others, but every byte goes through the transport.

A plain connection writes to the socket beneath its transport, and moves bodies from socket to socket (tcp.py and splice.py). Here
that would send plaintext. So a connection over TLS has no descriptor to write to, this class replaces every method that uses one,
and a plain connection refuses a transport that encrypts.

TLS as asyncio has it knows no half-closed connections: whoever ends its side ends both.

The TLS beneath is our own towards clients (encrypted.py; handshakes.py says why), and the event loop's towards backends.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from interceptor.transport.tcp import Connection

__all__ = ["CLOSE_SECONDS", "OverTls"]

CLOSE_SECONDS: Final = 2.0
"""Seconds from our end of a connection to the peer's (close_notify), and for what is left to be sent; then the socket is closed.
Meanwhile input is read and dropped, so that the kernel does not answer it with a reset, which could destroy what was sent."""

WRITE_LIMIT: Final = 64 * 1024
"""Ciphertext that is buffered for a peer before it counts as slow, in addition to as much in the transport beneath. Not 0 as for
plain connections: session tickets are in this buffer when the handshake is done, and sent only after that."""
READ_LIMIT: Final = 64 * 1024
"""Ciphertext that is kept of a connection whose reading is paused, in addition to one read. The default is four times as much."""


class OverTls(Connection):
    """Put in front of the class of a plain connection: `class TlsClient(OverTls, ClientConnection)`."""

    __slots__ = ()

    encrypted: ClassVar[bool] = True
    write_limit: ClassVar[int] = WRITE_LIMIT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        set_read_buffer_limits = getattr(transport, "set_read_buffer_limits", None)
        if set_read_buffer_limits is not None:
            set_read_buffer_limits(high=READ_LIMIT)

    def pass_on(self, data: memoryview) -> bool:
        """Not past the transport."""
        return False

    def splice(self, first: bytes | memoryview, source: object, count: int) -> int:
        self.write_through(first)
        return -1

    def write_both(self, head: bytes, body: memoryview) -> None:
        self.flush()
        self._send(head + body)

    def _send(self, data: bytes | memoryview) -> None:
        transport = self._transport
        if not transport.is_closing():
            transport.write(bytes(data))  # a view of the shared buffer may be kept no longer than this call

    def write_eof(self) -> None:
        """End the connection, after everything that was written. If the peer reads slowly, the end follows when it has read."""
        self.flush()
        if self.congested:
            self._ends = True
        else:
            self._transport.close()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._ends and not self.congested:
            self._transport.close()

    def eof_received(self) -> bool:
        """The peer has ended its side, and with it the connection."""
        super().eof_received()
        self.flush()
        return False
