"""Text output to a terminal, a file or a pipe, written by a thread.

A reader may stop reading (a pager, a stopped terminal), and a blocking write would stop the requests that this process carries.
So text is queued up to a limit; beyond it, text is dropped and counted. Callers that can wait check `has_room` first, so that a
reader that is only slow gets everything.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

__all__ = ["ThreadedWriter"]

MAX_WAITING = 4 * 1024 * 1024
"""Characters that may wait for the reader: some forty thousand lines."""
ROOM = MAX_WAITING // 4
"""From this many waiting characters on, `has_room` is false."""
PATIENCE = 1.0
"""Seconds without progress after which the reader counts as stopped; then `has_room` is true again, so that processes are not
blocked by it."""
PIECE = 16 * 1024
"""Characters per write: less than a pipe holds, so that any progress of the reader is noticed."""
END_TIMEOUT = 1.0
"""Seconds to write the last lines at the end; a reader that does not read must not keep the process alive."""


class ThreadedWriter:
    """A text stream, as far as logging and rich need one, in front of a file descriptor."""

    encoding = "utf-8"

    def __init__(self, descriptor: int, *, limit: int = MAX_WAITING, clock: Callable[[], float] = monotonic) -> None:
        self._descriptor, self._limit, self._clock = descriptor, limit, clock
        self._texts: deque[str] = deque()
        self._waiting = self._lost = 0
        self._moved = clock()
        self._closed = False
        self._changed = threading.Condition()
        # A daemon thread, and os.write instead of a buffered stream: a write that blocks must not keep the process alive.
        self._thread = threading.Thread(target=self._write_all, name=f"output to {descriptor}", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Queue the text. Never blocks."""
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
        """Whether more text may be written: the reader keeps up, or it has stopped for PATIENCE seconds and is not waited for."""
        return self._waiting < ROOM or self._clock() - self._moved > PATIENCE

    def flush(self) -> None:
        """Does nothing: all text is already queued for the writer thread."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def close(self, timeout: float = END_TIMEOUT) -> None:
        """Write what is queued. Gives up when the reader takes nothing for `timeout` seconds."""
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
                    return  # the reader is gone; later text is dropped at the limit
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
            self._moved = self._clock()  # the queue was empty, so a pause until now was not the reader's
        self._texts.append(text)
        self._waiting += len(text)
