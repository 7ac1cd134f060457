"""A flood for one tenant, in a process of its own: connections whose heads never end, and requests for an app that sleeps.

    python -m tests.support.flood PORT HOST CONNECTIONS

Prints "ready" once nearly all of them are open, opens what is closed anew, and ends when its standard input does. It is as cheap
as it can be made, and gives way to everybody: a generator on another machine would not slow down what is measured.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import monotonic

DRIP_SECONDS = 2.0
"""Between two bytes of a head that never ends."""
REFUSED_SECONDS = 1.0
"""What the Retry-After of a 503 asks for."""
REOPEN_SECONDS = 0.5
AT_ONCE = 50
"""Connections that are opened in one go: it is a flood of what is open, not of what opens."""


class Flood:
    """Everybody who takes part, in one loop."""

    def __init__(self, port: int, host: str) -> None:
        self.port = port
        self.head = f"GET / HTTP/1.1\r\nHost: {host}\r\nX-Slow: ".encode()
        self.open = 0
        self.selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heappush(self._due, (monotonic() + seconds, next(self._order), act))

    def run(self, connections: int) -> None:
        """Until standard input ends."""
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        begun, told = 0, False
        while True:
            for number in range(begun, min(begun + AT_ONCE, connections)):
                Attack(self, slow=bool(number % 2))
                begun = number + 1
            if not told and self.open >= 0.99 * connections:
                told = True
                print("ready", flush=True)  # noqa: T201 -- it is a command
            wait = 0 if begun < connections else None if not self._due else max(0, self._due[0][0] - monotonic())
            for key, _ in self.selector.select(wait):
                if key.data is None:
                    return
                key.data()
            now = monotonic()
            while self._due and self._due[0][0] <= now:
                heappop(self._due)[2]()


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
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    Flood(int(sys.argv[1]), sys.argv[2]).run(int(sys.argv[3]))
