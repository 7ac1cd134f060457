"""Large bodies from socket to socket inside the kernel, without a copy into this process. Knows no message and no state.

A body's first bytes are read in the usual way, few of them, to be woken; what else has arrived follows them through a pipe.
The pipe is empty between any two calls, so one serves every connection of the process, like the one read buffer does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

__all__ = ["MIN_SPLICED", "Splicer"]

MIN_SPLICED = 64 * 1024 if hasattr(os, "splice") else sys.maxsize
"""Bytes still to come, below which a read and a write cost less than a way through a pipe. Only Linux has the way."""
PIPE_BYTES = 512 * 1024
"""As much as is read at once of other bodies: a slow peer leaves so much in memory."""


class Splicer:
    """Moves bytes from one socket to another. Both must be open and must not block."""

    __slots__ = ("_in", "_out")

    def __init__(self) -> None:
        self._out = self._in = -1

    def move(self, first: bytes | memoryview, source: int, target: int, count: int) -> tuple[int, bytes]:
        """Send `first`, and after it what has arrived at the source, at most `count` bytes.

        Returns how many bytes the source gave, and those of all that the target did not take: they are the caller's now.
        A broken socket moves nothing; to find out why is left to who reads from it, or writes to it, next.
        """
        if self._in < 0 and not self._open():
            return 0, bytes(first)
        os.write(self._in, first)  # never blocks: the pipe is empty, and holds more
        taken = self._splice(source, self._in, count)
        total = len(first) + taken
        sent = self._splice(self._out, target, total)
        return taken, os.read(self._out, total - sent) if sent < total else b""

    def close(self) -> None:
        for end in (self._out, self._in):
            if end >= 0:
                os.close(end)
        self._out = self._in = -1

    def _open(self) -> bool:
        """False when there are no descriptors left; the next body tries again."""
        try:
            self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        with contextlib.suppress(OSError):  # a user's pipes are bounded together; a small one works too
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return True

    @staticmethod
    def _splice(source: int, target: int, count: int) -> int:
        try:
            return os.splice(source, target, count, flags=os.SPLICE_F_NONBLOCK)
        except OSError:
            return 0
