"""What tests do to sockets that well-behaved programs do not."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

__all__ = ["reset"]


def reset(writer: asyncio.StreamWriter) -> None:
    """End with a TCP reset."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError, ValueError):  # already closed
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
