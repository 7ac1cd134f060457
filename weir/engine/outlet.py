"""Text on its way to a terminal, a file or a pipe, written by a thread.

Whoever reads may stop reading (a pager, a stopped terminal, a test that looks at nothing); requests that pass through
this process must not stop with it. So what is not taken waits, up to a limit, and is then lost and counted. Whoever can wait
with more asks for room first: then nothing is lost to a reader that is only slow.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

__all__ = ["Outlet"]

MAX_WAITING = 4 * 1024 * 1024
"""Characters that wait for a reader: some forty thousand lines."""
ROOM = MAX_WAITING // 4
"""Characters that wait, from which on there is no room for lines that can wait elsewhere."""
PATIENCE = 1.0
"""Seconds for which a reader may take nothing and is still waited for; then it has stopped, and nothing is to stop with it."""
PIECE = 16 * 1024
"""Characters written at once: less than a pipe holds, so that a reader who reads at all is seen to."""
END_TIMEOUT = 1.0
"""Seconds for the last lines when the process ends; a reader that takes none of them would keep it for ever."""


class Outlet:
    """A text stream, as far as logging and rich need one, in front of a file descriptor."""

    encoding = "utf-8"

    def __init__(self, descriptor: int, *, limit: int = MAX_WAITING, clock: Callable[[], float] = monotonic) -> None:
        self._descriptor, self._limit, self._clock = descriptor, limit, clock
        self._texts: deque[str] = deque()
        self._waiting = self._lost = 0
        self._moved = clock()
        self._closed = False
        self._changed = threading.Condition()
        # A daemon, and past the interpreter's own buffers: one that is stuck in a write must not keep the process.
        self._thread = threading.Thread(target=self._write_all, name=f"output to {descriptor}", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Never blocks."""
        with self._changed:
            if self._waiting + len(text) > self._limit:
                self._lost += max(1, text.count("\n"))
            else:
                self._tell_lost()
                self._add(text)
                self._changed.notify()
        return len(text)

    @property
    def waiting(self) -> int:
        """Characters that are still to be written."""
        return self._waiting

    def has_room(self) -> bool:
        """Whether who can wait with more should not: the reader keeps up, or has stopped for so long that nobody waits for it."""
        return self._waiting < ROOM or self._clock() - self._moved > PATIENCE

    def flush(self) -> None:
        """Everything is on its way already."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def close(self, timeout: float = END_TIMEOUT) -> None:
        """Write what waits, unless nobody takes it for so many seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _write_all(self) -> None:
        while (text := self._next()) is not None:
            for start in range(0, len(text), PIECE):
                piece = text[start : start + PIECE]
                data = piece.encode(errors="replace")
                try:
                    while data:
                        data = data[os.write(self._descriptor, data) :]
                        self._moved = self._clock()
                except OSError:
                    return  # the reader is gone for good; what comes now is dropped by the limit
                with self._changed:
                    self._waiting -= len(piece)

    def _next(self) -> str | None:
        with self._changed:
            while not self._texts and not self._closed:
                self._changed.wait()
            self._tell_lost()
            if not self._texts:
                return None
            text = "".join(self._texts)
            self._texts.clear()
            return text

    def _tell_lost(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            self._add(f"({lost} lines were lost here: nobody read them)\n")

    def _add(self, text: str) -> None:
        if not self._waiting:
            self._moved = self._clock()  # the reader had nothing to take until now
        self._texts.append(text)
        self._waiting += len(text)
