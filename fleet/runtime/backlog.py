"""Work that is more than its source's share of a turn of the event loop. Knows no bytes and no protocol.

A source is a connection, or the output of a process. It can make work cost a thousand times what its bytes cost, as a chunk or a
line of every single byte does. A bounded part of it is done at a time; its source is read from no more, and stands here with the
rest: all that stand here together get a small slice of every turn, one after the other, so that everybody else has their turn
between, however many they are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Protocol

__all__ = ["SLICE_SECONDS", "Backlog", "Behind"]

SLICE_SECONDS = 0.0001
"""Of each turn, for all together. A turn under load takes about as long, so that others wait for twice of what they would."""


class Behind(Protocol):
    """Who has work left."""

    def catch_up(self) -> bool:
        """Do a bounded part of it, less than a tenth of a millisecond. Whether there is more that can be done now."""


class Backlog:
    """Who is behind, in the order of their turns."""

    __slots__ = ("_clock", "_queue", "_rest", "_scheduled")

    def __init__(self, clock: Callable[[], float] = monotonic, *, rest: float = 0.0) -> None:
        """`rest` is how many seconds pass between two slices: without, an idle loop does nothing else until nobody is behind."""
        self._clock, self._rest = clock, rest
        self._queue: deque[Behind] = deque()
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, one: Behind) -> None:
        """Have it catch up from the next turn on. Not to be called again before `catch_up` has said that there is no more."""
        self._queue.append(one)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        queue, clock = self._queue, self._clock
        until = clock() + SLICE_SECONDS
        while queue:
            one = queue.popleft()
            if one.catch_up():
                queue.append(one)
            if clock() >= until:
                break
        self._scheduled = bool(queue)
        if queue and self._rest:
            asyncio.get_running_loop().call_later(self._rest, self._run)
        elif queue:
            asyncio.get_running_loop().call_soon(self._run)
