"""Free ports on the loopback address, each given out once until it is given back."""

from __future__ import annotations

import random
import socket

__all__ = ["LOOPBACK", "NoPortError", "Ports", "is_free"]

LOOPBACK = "127.0.0.1"

FIRST, LAST = 20_000, 32_767
"""Below the ports from which Linux, macOS and Windows take the near end of outgoing connections: a process that starts
a moment after its port was chosen must not find it taken by some connection to a neighbour."""
ATTEMPTS = 200
"""Ports tried before giving up; on a machine that fails so often nothing else would work either."""


class NoPortError(Exception):
    """No free port was found."""


class Ports:
    """Chooses ports at random, so that two engines on one machine do not run into each other."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take(self) -> int:
        """A port on which nobody listens now, and which nobody else was given. Raises NoPortError."""
        for _ in range(ATTEMPTS):
            port = random.randint(FIRST, LAST)  # noqa: S311  nothing secret about a port
            if port not in self._given and is_free(LOOPBACK, port):
                self._given.add(port)
                return port
        raise NoPortError(f"no free port between {FIRST} and {LAST}")

    def give_back(self, port: int) -> None:
        self._given.discard(port)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers set it: a connection of the last owner that still times out is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
