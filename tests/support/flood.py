"""A flood for one tenant, in a separate process: connections with request heads that never end, and requests for an app at zero.

    python -m tests.support.flood PORT HOST CONNECTIONS

Prints "ready" once nearly all connections are open, replaces closed ones, and ends when its standard input does.
"""

from __future__ import annotations

import selectors
import socket
import sys

from tests.support.idle_loop import IdleLoop

DRIP_SECONDS = 2.0
"""Seconds between two bytes of a head that never ends."""
REFUSED_SECONDS = 1.0
"""Seconds before a new attempt after a 503, as its Retry-After says."""
REOPEN_SECONDS = 0.5
AT_ONCE = 50
"""Connections opened at once; not more, because open connections are the attack, not the opening of connections."""


class Flood(IdleLoop):
    """All connections, in one loop."""

    def __init__(self, port: int, host: str, connections: int) -> None:
        super().__init__()
        self.port = port
        self.head = f"GET / HTTP/1.1\r\nHost: {host}\r\nX-Slow: ".encode()
        self.open = 0
        self._connections = connections
        self._begin(0)

    def full(self) -> bool:
        return self.open >= 0.99 * self._connections

    def _begin(self, begun: int) -> None:
        end = min(begun + AT_ONCE, self._connections)
        for number in range(begun, end):
            Attack(self, slow=bool(number % 2))
        if end < self._connections:
            self.later(0, lambda: self._begin(end))


class Attack:
    """One connection, which is replaced when it has ended."""

    def __init__(self, flood: Flood, *, slow: bool) -> None:
        self._flood = flood
        self._slow = slow
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.connect_ex(("127.0.0.1", flood.port))
        flood.selector.register(self._socket, selectors.EVENT_WRITE, self._opened)

    def _opened(self) -> None:
        flood = self._flood
        flood.selector.modify(self._socket, selectors.EVENT_READ, self._heard)
        flood.open += 1
        if self._slow:
            self._send(flood.head)
            flood.later(DRIP_SECONDS, self._drip)
        else:
            self._ask()

    def _drip(self) -> None:
        if self._send(b"s"):
            self._flood.later(DRIP_SECONDS, self._drip)

    def _ask(self) -> None:
        self._send(self._flood.head + b"no\r\n\r\n")

    def _send(self, data: bytes) -> bool:
        """Returns whether the connection is still open; if not, its end is reported by a read event."""
        try:
            return self._socket.send(data) > 0
        except OSError:
            return False

    def _heard(self) -> None:
        flood = self._flood
        try:
            data = self._socket.recv(4096)
        except OSError:
            data = b""
        if not data:
            flood.selector.unregister(self._socket)
            self._socket.close()
            flood.open -= 1
            flood.later(REOPEN_SECONDS, self._again)
        elif data.startswith(b"HTTP/1.1 "):
            flood.later(REFUSED_SECONDS, self._ask)

    def _again(self) -> None:
        Attack(self._flood, slow=self._slow)


if __name__ == "__main__":
    flood = Flood(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    flood.run(flood.full)
