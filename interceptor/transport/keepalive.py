"""Options of the sockets of TCP ports."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final

__all__ = ["keep_alive"]

_OPTIONS: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A peer whose machine is gone ends its connection after two minutes: nothing else would, where silence is no error."""


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out whether a silent peer still exists, and send small writes at once."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is None or transport.is_closing():
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _OPTIONS if sys.platform == "linux" else ():
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
