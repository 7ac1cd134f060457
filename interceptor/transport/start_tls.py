"""A handshake on a connection whose first bytes were read already, because they say whose it is.

The same as for an accepted socket (`interceptor.transport.handshakes`): its turn comes from the backlog, it has a time limit, and
an alert says why it failed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from interceptor.transport.handshakes import MAX_FIRST, Handshake, Handshakes

__all__ = ["StartTls"]


class StartTls(Handshake):
    """One client, from its first bytes to the end of its handshake."""

    __slots__ = ("_own_context", "_serve_next")

    def __init__(self, owner: Handshakes, *, context: ssl.SSLContext, serve: Callable[[asyncio.Transport], None]) -> None:
        """`serve` gets the transport that encrypts."""
        super().__init__(owner)
        self._own_context = context
        self._serve_next = serve

    def begin(self, transport: asyncio.Transport, read: bytes, source: str) -> None:
        """Take the connection over from its protocol. `source` is the client's address, if a load balancer has sent it."""
        self._raw, self._first = transport, read
        transport.set_protocol(self)
        self.open((source,) if source else transport.get_extra_info("peername"), source)
        if self.outcome:
            return
        if len(read) >= MAX_FIRST:
            transport.pause_reading()
        else:
            transport.resume_reading()
        self._owner.backlog.add(self)

    def _context(self) -> ssl.SSLContext:
        return self._own_context

    def _serve(self, transport: asyncio.Transport, protocol: str | None) -> None:
        self._serve_next(transport)
