"""Accepted sockets whose connections may begin with a header of the PROXY protocol, in front of TLS.

The handshake's bytes must reach TLS unread, so exactly the header is read, from the socket itself, before there is a transport.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from interceptor.proxy_protocol.reception import HeaderClient, Reception
from interceptor.trust import plain_address

__all__ = ["HeaderSocket", "receive"]

GoOn = Callable[[socket.socket, str], None]
"""Gets a socket once its header was read, and the client's address; "" where that of the connection counts."""


def receive(reception: Reception, go_on: GoOn, connection: socket.socket) -> None:
    """Begin with an accepted, non-blocking socket: read the header if its peer is a load balancer."""
    try:
        peer = connection.getpeername()
    except OSError:
        # It has left already, as a health check does that is a reset: whether its bytes have a header cannot be known.
        connection.close()
        return
    address = plain_address(peer[0]) if isinstance(peer, tuple) else "unknown"
    if reception.balancers.trusts(address):
        HeaderSocket(reception, go_on, connection).begin(address)
    else:
        go_on(connection, "")


class HeaderSocket(HeaderClient):
    """One socket, until its header has been read."""

    __slots__ = ("_go_on", "_reads", "_socket")

    def __init__(self, reception: Reception, go_on: GoOn, connection: socket.socket) -> None:
        super().__init__(reception)
        self._go_on = go_on
        self._socket: socket.socket | None = connection
        """Until it is closed, or somebody else's."""
        self._reads = False
        """Whether the event loop watches it."""

    def begin(self, address: str) -> None:
        self._expect(address)
        self._read()
        if self._socket is not None:
            self._reads = True
            asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        """Read what has arrived of the header. Each turn of the loop takes a byte at least, and a header has few."""
        while self._socket is not None:
            try:
                data = self._socket.recv(self._reader.wants)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.abort()  # it has left
            elif self._take(data):
                self._go_on(self._let_go(), self._reader.source)

    def abort(self) -> None:
        if self._socket is not None:
            self._leave()
            self._let_go().close()

    def _let_go(self) -> socket.socket:
        connection, self._socket = self._socket, None
        assert connection is not None  # noqa: S101 -- its callers have looked
        if self._reads:
            asyncio.get_running_loop().remove_reader(connection)
        return connection
