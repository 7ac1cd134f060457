"""Ports that are kept for whoever is to listen there: a port that was free a moment ago may be anybody's by now.

Nobody who asks for any free port gets one that is kept, nor does the near end of a connection, while servers that name it can
listen there, again and again. As long as none does, connections to it are refused.
"""

from __future__ import annotations

import atexit
import socket
from typing import Self

__all__ = ["KeptPort", "refusing_port"]


class KeptPort:
    """Of 127.0.0.1, from its making to `release`."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        # Bound and never listening: that keeps a port from all but those who also say that they would share it, as servers do.
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
    """One where nobody listens, now or later in this run."""
    port = KeptPort()
    atexit.register(port.release)
    return port.number
