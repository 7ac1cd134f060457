"""Moves large bodies from socket to socket inside the kernel (splice), without copying them into this process. Knows no messages.

A few bytes are read in the usual way, which tells that data has arrived; the rest of it follows through a pipe. The pipe is empty
between two calls, so one pipe serves all connections of the process, like the shared read buffer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from typing import Final

__all__ = ["MIN_SPLICED", "Splicer"]

MIN_SPLICED: Final = 64 * 1024 if hasattr(os, "splice") else sys.maxsize
"""Remaining bytes below which a read and a write cost less than the pipe. Only Linux has splice."""
PIPE_BYTES: Final = 512 * 1024
"""The same as one read of other bodies, because up to this much is buffered if the peer is slow."""


class Splicer:
    """Moves bytes from one socket to another. Both must be open and non-blocking."""

    __slots__ = ("_in", "_out")

    def __init__(self) -> None:
        self._out = self._in = -1

    def move(self, first: bytes | memoryview, source: int, target: int, count: int) -> tuple[int, bytes]:
        """Send `first`, and then up to `count` bytes that have arrived at the source.

        Returns how many bytes were taken from the source, -1 if it has failed, which it tells only once; and the bytes that the
        target did not accept, which the caller has to send. Errors of the target are not reported: sending that rest fails.
        """
        if self._in < 0 and not self._open():
            return 0, bytes(first)
        os.write(self._in, first)  # never blocks: the pipe is empty, and holds more
        try:
            taken = got = os.splice(source, self._in, count, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            taken = got = 0
        except OSError:
            taken, got = -1, 0
        total = len(first) + got
        try:
            sent = os.splice(self._out, target, total, flags=os.SPLICE_F_NONBLOCK)
        except OSError:
            sent = 0
        return taken, os.read(self._out, total - sent) if sent < total else b""

    def close(self) -> None:
        for end in (self._out, self._in):
            if end >= 0:
                os.close(end)
        self._out = self._in = -1

    def _open(self) -> bool:
        """Returns False if there are no file descriptors left; the next call tries again."""
        try:
            self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        with contextlib.suppress(OSError):  # the kernel limits the pipe memory per user; a small pipe works too
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return True
