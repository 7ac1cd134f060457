"""Reserved ports for servers that are started later: a port that was free a moment ago may be used by another process now.

The kernel does not give a reserved port to a socket without a fixed port, nor to an outgoing connection, but a server that names
it can listen there, repeatedly. While none does, connections to it are refused.
"""

from __future__ import annotations

import atexit
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

__all__ = ["KeptPort", "free_port", "refusing_port", "unbound_port"]


class KeptPort:
    """A port of 127.0.0.1, any by default, reserved from creation to `release`. Raises OSError if another has it."""

    def __init__(self, number: int = 0) -> None:
        self._socket = socket.socket()
        # Bound and never listening: then only sockets that share the port by an option, as servers do, can bind it.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", number))
        except OSError:
            self._socket.close()
            raise
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def refusing_port() -> int:
    """A port on which nobody listens during this run."""
    port = KeptPort()
    atexit.register(port.release)
    return port.number


_FIRST: Final = 20_000
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The first and the last port that the kernel gives to sockets which name none, among them every outgoing connection."""


def free_port() -> int:
    """A port, for TCP and UDP, that nobody has or gets during this run: none that the kernel gives away. Raises RuntimeError."""
    port = _next_free()
    atexit.register(port.release)
    return port.number


def unbound_port() -> int:
    """The same, but nothing is bound to it, for what looks whether anything is. No other test takes it, nor does the kernel."""
    port = _next_free()
    port.release()
    return port.number


def _next_free() -> KeptPort:
    for number in _candidates:
        try:
            port = KeptPort(number)
        except OSError:
            continue
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:  # all addresses, those of IPv4 too
                datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                datagrams.bind(("::", number))
        except OSError:
            port.release()
            continue
        return port
    raise RuntimeError("no free port is left")


def _numbers() -> Iterator[int]:
    """Each once; processes begin at different ones."""
    end = int(_EPHEMERAL.read_text().split()[0])
    begin = random.Random(os.getpid()).randrange(_FIRST, end)
    yield from range(begin, end)
    yield from range(_FIRST, begin)


_candidates: Final = _numbers()
