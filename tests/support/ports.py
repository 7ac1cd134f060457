"""Reserved ports for servers that are started later: a port that was free a moment ago may be used by another process now.

The kernel does not give a reserved port to a socket without a fixed port, nor to an outgoing connection, but a server that names
it can listen there, repeatedly. While none does, connections to it are refused.
"""

from __future__ import annotations

import atexit
import socket
from typing import Self

__all__ = ["KeptPort", "refusing_port"]


class KeptPort:
    """A port of 127.0.0.1, reserved from creation to `release`."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        # Bound and never listening: then only sockets that share the port by an option, as servers do, can bind it.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
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
