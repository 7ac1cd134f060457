"""Free ports on the loopback addresses of IPv4 and IPv6, for TCP and UDP. One is not given out again until it is given back."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection

from fleet.defaults import FIRST_LEASED_PORT
from fleet.runtime.address import LOOPBACKS
from fleet.runtime.listen import in_use

__all__ = ["NoPortError", "Ports", "with_port"]

FIRST, LAST = FIRST_LEASED_PORT, 32_767
"""Below the ephemeral ports of Linux, macOS and Windows: between the choice of a port and the start of the process, an
outgoing connection must not take the port."""
ATTEMPTS = 200
"""Ports tried before giving up."""

_PORT = re.compile(r"\$(?:PORT\b|\{PORT\})", re.ASCII)


def with_port(text: str, port: int) -> str:
    """A value of the file of apps in which $PORT and ${PORT} stand for a port."""
    return _PORT.sub(str(port), text)


class NoPortError(Exception):
    """No free port was found."""


class Ports:
    """Chooses ports at random, so that two engines on one machine rarely try the same ones."""

    def __init__(self, leased: Callable[[], Collection[int]] = tuple) -> None:
        """`leased` says which ports are kept for something else, although nothing may listen there yet."""
        self._given: set[int] = set()
        self._leased = leased

    @property
    def given(self) -> Collection[int]:
        """Ports that are given out."""
        return frozenset(self._given)

    def take(self) -> int:
        """A port on which no process listens, and which is not given out. Raises NoPortError."""
        leased = self._leased()
        for _ in range(ATTEMPTS):
            port = random.randint(FIRST, LAST)  # noqa: S311  nothing secret about a port
            if port not in self._given and port not in leased and not _is_in_use(port, datagrams=True):
                self._given.add(port)
                return port
        raise NoPortError(f"no free port between {FIRST} and {LAST}")

    def claim(self, port: int, *, datagrams: bool = False) -> int:
        """Reserve this port, also for `datagrams`. Raises NoPortError when it is in use: the probe would succeed at the other
        program, and requests would go there."""
        if port in self._given or _is_in_use(port, datagrams=datagrams):
            raise NoPortError(f"port {port} is in use already")
        self._given.add(port)
        return port

    def give_back(self, port: int) -> None:
        self._given.discard(port)


def _is_in_use(port: int, *, datagrams: bool) -> bool:
    kinds = (False, True) if datagrams else (False,)
    return any(in_use(host, port, datagrams=kind) for host in LOOPBACKS for kind in kinds)
