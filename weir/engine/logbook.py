"""The last lines of each app's output, for those who ask later, and new ones for those who listen. Bounded in bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Line", "LogBook"]

MAX_CHARACTERS = 256 * 1024
"""Kept of one app: some thousands of lines."""
MAX_BEHIND = 10_000
"""Lines that a listener has not taken yet; what comes then it misses, and is told so."""

Line = tuple[str, str]
"""Who speaks ("hello/1"), and a line of its output."""


class LogBook:
    """Stands between the processes and the view. Used on the loop's thread only."""

    def __init__(self, tell: Callable[[str, Sequence[str]], None]) -> None:
        self._tell = tell
        self._kept: dict[str, deque[Line]] = {}
        self._sizes: dict[str, int] = {}
        self._listeners: dict[asyncio.Queue[Line], str] = {}

    def tell(self, speaker: str, lines: Sequence[str]) -> None:
        """Take lines, and hand them on."""
        app = speaker.partition("/")[0]
        kept = self._kept.setdefault(app, deque())
        size = self._sizes.get(app, 0)
        for line in lines:
            kept.append((speaker, line))
            size += len(line) + 1
        while size > MAX_CHARACTERS:
            size -= len(kept.popleft()[1]) + 1
        self._sizes[app] = size
        for queue, wanted in self._listeners.items():
            if wanted == app:
                _offer(queue, speaker, lines)
        self._tell(speaker, lines)

    def last(self, app: str, count: int) -> Sequence[Line]:
        """The last lines of an app, by its bare name, oldest first."""
        kept = self._kept.get(app, deque())
        return list(kept)[max(0, len(kept) - count) :]

    @contextmanager
    def listening(self, app: str) -> Iterator[asyncio.Queue[Line]]:
        """New lines of an app for as long as the block lasts."""
        queue: asyncio.Queue[Line] = asyncio.Queue(MAX_BEHIND)
        self._listeners[queue] = app
        try:
            yield queue
        finally:
            del self._listeners[queue]


def _offer(queue: asyncio.Queue[Line], speaker: str, lines: Sequence[str]) -> None:
    for line in lines:
        if queue.qsize() >= MAX_BEHIND - 1:
            if not queue.full():
                queue.put_nowait(("weir", "(lines are missing here: they came faster than they were read)"))
            return
        queue.put_nowait((speaker, line))
