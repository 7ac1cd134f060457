"""The client connections of one interceptor, and the choice of connections to close when their number reaches the limit.

Does no I/O: a connection closes itself, and the listener stops accepting.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from operator import attrgetter
from typing import Final

from interceptor.core.deadlines import NEVER, Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.sides import Client

__all__ = ["Clients"]

ROOM_PART: Final = 50
"""At the limit, a fraction of the connections (one in this many) is closed at a time, so that not every new connection costs a
search for idle ones."""
FULL_HEAD_SECONDS: Final = 2.0
"""At the limit, a request head that takes longer to arrive is refused, because other clients wait to connect."""
HEADS_AT_ONCE: Final = 200
"""Heads refused in one check: some milliseconds of work. A refused connection counts until its response has been sent."""
LOOK_SECONDS: Final = 1.0
"""Seconds between two checks for connections to close, while at the limit. A check costs up to a few milliseconds."""
NEWCOMER_SECONDS: Final = 1.0
"""A connection younger than this is not idle: its first request is on its way."""


class Clients:
    """All client connections. `full` from when the limit is reached until the number is lower by a part of it (hysteresis)."""

    def __init__(
        self,
        most: int,
        *,
        head_timeout: float,
        deadlines: Deadlines,
        early: EarlyBytes,
        clock: Callable[[], float],
        on_full: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        """`on_full` is called when the limit is reached, and `on_room` when there is room again."""
        self.most = most
        """Maximum number of client connections."""
        self.all: set[Client] = set()
        self.full = False
        """Whether the limit is reached."""
        self.times_full = 0
        """How often the limit was reached."""
        self.deadline = NEVER
        """When the next check is due."""
        self.bucket = 0
        self._on_full = on_full
        self._on_room = on_room
        self._head_timeout = head_timeout
        self._deadlines = deadlines
        self._early = early
        self._clock = clock

    def opened(self, client: Client) -> None:
        self.all.add(client)
        if len(self.all) >= self.most:
            self._fill_up(self._clock())

    def closed(self, client: Client) -> None:
        self.all.discard(client)
        if self.full and len(self.all) <= self.most - self._part:
            self.full = False
            self._on_room()

    def close_idle(self, now: float) -> None:
        """Close every idle connection, except new ones, and except ones with an unread request."""
        for client in self._idle(now):
            client.close_if_idle()

    @property
    def _part(self) -> int:
        return max(1, self.most // ROOM_PART)

    def _fill_up(self, now: float) -> None:
        """The limit is reached: close the connections that have been idle for longest."""
        if not self.full:
            self.full = True
            self.times_full += 1
            self._on_full()
            if self.deadline == NEVER:
                self._look_again(now)
        self._close_longest_idle(now)

    def on_deadline(self, now: float) -> None:
        """While at the limit, once a second: close idle connections, and refuse heads that arrive slowly."""
        self.deadline = NEVER
        if self.full:
            self._look_again(now)
            self._close_longest_idle(now)
            self._give_up_heads(now)

    def _look_again(self, now: float) -> None:
        self.deadline = now + LOOK_SECONDS
        self._deadlines.watch(self)

    def _close_longest_idle(self, now: float) -> None:
        for client in nsmallest(self._part, self._idle(now), key=attrgetter("deadline")):
            client.close_if_idle()

    def _give_up_heads(self, now: float) -> None:
        slow = now + self._head_timeout - FULL_HEAD_SECONDS
        heads = [one for one in self.all if one.begun and one.deadline <= slow]
        for client in heads[:HEADS_AT_ONCE]:
            self._early.evicted += 1
            client.evict()

    def _idle(self, now: float) -> list[Client]:
        fresh = now + self._head_timeout
        return [one for one in self.all if one.idle and not fresh - NEWCOMER_SECONDS <= one.deadline <= fresh]
