"""Text on its way to a terminal, a file or a pipe, written by a thread.

Whoever reads may stop reading (a pager, a stopped terminal, a test that looks at nothing); requests that pass through
this process must not stop with it. So what is not taken waits, up to a limit, and is then lost and counted.
"""

from __future__ import annotations

import os
import threading
from collections import deque

__all__ = ["Outlet"]

MAX_WAITING = 4 * 1024 * 1024
"""Characters that wait for a reader: some forty thousand lines."""
END_TIMEOUT = 1.0
"""Seconds for the last lines when the process ends; a reader that takes none of them would keep it for ever."""


class Outlet:
    """A text stream, as far as logging and rich need one, in front of a file descriptor."""

    encoding = "utf-8"

    def __init__(self, descriptor: int, *, limit: int = MAX_WAITING) -> None:
        self._descriptor, self._limit = descriptor, limit
        self._texts: deque[str] = deque()
        self._waiting = self._lost = 0
        self._closed = False
        self._changed = threading.Condition()
        # A daemon, and past the interpreter's own buffers: one that is stuck in a write must not keep the process.
        self._thread = threading.Thread(target=self._write_all, name=f"output to {descriptor}", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Never blocks."""
        with self._changed:
            if self._waiting + len(text) > self._limit:
                self._lost += 1
            else:
                self._texts.append(text)
                self._waiting += len(text)
                self._changed.notify()
        return len(text)

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
            data = text.encode(errors="replace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                return  # the reader is gone for good; what comes now is dropped by the limit

    def _next(self) -> str | None:
        with self._changed:
            while not self._texts and not self._closed:
                self._changed.wait()
            if not self._texts:
                return None
            text = "".join(self._texts)
            if self._lost:
                text += f"({self._lost} writes were lost here: nobody read them)\n"
            self._texts.clear()
            self._waiting = self._lost = 0
            return text
