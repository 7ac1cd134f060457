"""Work that exceeds its source's share of one turn of the event loop. Knows no bytes and no protocol.

A source is a connection, or the output of a process. It can cause work out of proportion to its bytes, for example chunks or
lines of one byte each. A bounded part of the work is done at once; the source is added here with the rest, and is not read
meanwhile. All sources in the backlog together get one small slice of each turn, in rotation, so that other connections get their
turn, however many sources are behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

__all__ = ["MOST", "SLICE_SECONDS", "Backlog", "Behind"]

SLICE_SECONDS: Final = 0.00005
"""Seconds of each turn for the whole backlog. A request of another client waits for several turns on its way: with 0.1 ms, its
99th percentile is 2.2 to 3.3 times that of quiet beside attackers that keep the backlog full, with this 1.3 to 2.1 times. The
backlog moves as much, since an idle loop runs slice after slice."""
MOST: Final = 4
"""Sources that one slice lets go. Those that are only to be read again do their work after it, in the same turn: up to 64 KiB
each, beside others."""


class Behind(Protocol):
    """A source with work left."""

    def catch_up(self) -> bool:
        """Do a bounded part of the work, less than 0.1 ms. Returns whether more can be done now."""


class Backlog:
    """The sources that are behind, in rotation."""

    __slots__ = ("_queue", "_rest", "_scheduled", "clock")

    def __init__(self, clock: Callable[[], float] = monotonic, *, rest: float = 0.0) -> None:
        """`rest` is the number of seconds between two slices. With 0, an otherwise idle loop runs slice after slice until all
        is done."""
        self.clock, self._rest = clock, rest
        self._queue: deque[Behind] = deque()
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, one: Behind) -> None:
        """Continue this source's work from the next turn on. Must not be called again before its `catch_up` has returned
        False."""
        self._queue.append(one)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        queue, clock = self._queue, self.clock
        until = clock() + SLICE_SECONDS
        ended = 0
        while queue:
            one = queue.popleft()
            if one.catch_up():
                queue.append(one)
            else:
                ended += 1
            if ended == MOST or clock() >= until:
                break
        self._scheduled = bool(queue)
        if queue and self._rest:
            asyncio.get_running_loop().call_later(self._rest, self._run)
        elif queue:
            asyncio.get_running_loop().call_soon(self._run)
