"""A flood for one tenant, in a process of its own: connections whose heads never end, and requests for an app that sleeps.

    python -m tests.support.flood PORT HOST CONNECTIONS

Prints "ready" once nearly all of them are open, opens what is closed anew, and ends when its standard input does.
"""

from __future__ import annotations

import selectors
import socket
import sys

from tests.support.idle_loop import IdleLoop, give_way

DRIP_SECONDS = 2.0
"""Between two bytes of a head that never ends."""
REFUSED_SECONDS = 1.0
"""What the Retry-After of a 503 asks for."""
REOPEN_SECONDS = 0.5
AT_ONCE = 50
"""Connections that are opened in one go: it is a flood of what is open, not of what opens."""


class Flood(IdleLoop):
    """Everybody who takes part, in one loop."""

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
    """One connection, and another one like it when it has ended."""

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
        """Whether the connection still is one; if not, it is heard of as its end."""
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
    give_way()
    flood = Flood(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    flood.run(flood.full)
