"""Free ports on the loopback addresses of both families, each given out once until it is given back."""

from __future__ import annotations

import random

from fleet.runtime.address import LOOPBACKS
from fleet.runtime.listen import in_use

__all__ = ["NoPortError", "Ports"]

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
            if port not in self._given and not any(in_use(host, port) for host in LOOPBACKS):
                self._given.add(port)
                return port
        raise NoPortError(f"no free port between {FIRST} and {LAST}")

    def claim(self, port: int) -> int:
        """This very port. Raises NoPortError when somebody has it: a probe would find him, and requests would go there."""
        if port in self._given or any(in_use(host, port) for host in LOOPBACKS):
            raise NoPortError(f"port {port} is in use already")
        self._given.add(port)
        return port

    def give_back(self, port: int) -> None:
        self._given.discard(port)
