"""The last output lines of each app, for `weir logs`, and a subscription to new lines. Bounded in size."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Line", "LogBook"]

MAX_CHARACTERS = 256 * 1024
"""Characters kept per app: some thousand lines."""
MAX_BEHIND = 10_000
"""Lines that wait for a subscriber; beyond that, new lines are dropped for it, and it is told so."""

Line = tuple[str, str]
"""The speaker ("hello/1") and one line of its output."""


class LogBook:
    """Receives the lines of all processes, keeps the last ones, and passes them on to the view. Used on the loop's thread
    only."""

    def __init__(self, tell: Callable[[str, Sequence[str]], None]) -> None:
        self._tell = tell
        self._kept: dict[str, deque[Line]] = {}
        self._sizes: dict[str, int] = {}
        self._listeners: dict[asyncio.Queue[Line], str] = {}

    def tell(self, speaker: str, lines: Sequence[str]) -> None:
        """Record lines and pass them on."""
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
        """The last lines of an app, by its name without namespace, oldest first."""
        kept = self._kept.get(app, deque())
        return list(kept)[max(0, len(kept) - count) :]

    @contextmanager
    def listening(self, app: str) -> Iterator[asyncio.Queue[Line]]:
        """A queue of the app's new lines, while the context lasts."""
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
