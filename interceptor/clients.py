"""The client connections of one interceptor, and the rules for a full house: who has to leave so that others can come in.

No input or output: closing a connection is its own business, and so is not accepting others the listener's.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from operator import attrgetter

from interceptor.core.deadlines import NEVER, Deadlines
from interceptor.core.early import EarlyBytes
from interceptor.core.sides import Client

__all__ = ["Clients"]

ROOM_PART = 50
"""One connection in so many is made free at a time: the look for idle ones is shared by as many newcomers."""
FULL_HEAD_SECONDS = 2.0
"""A head that takes longer is given up while there is no room: others have been waiting with theirs for as long."""
HEADS_AT_ONCE = 200
"""Given up in one look: some milliseconds' work. Each keeps its place while its answer is on its way."""
LOOK_SECONDS = 1.0
"""Between two looks for connections to do without, while there is no room. Each costs up to a few milliseconds."""
NEWCOMER_SECONDS = 1.0
"""A connection so young is not idle: its first request is on its way."""


class Clients:
    """Every client connection. Full from the moment that the last place is taken until a part of the places is free."""

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
        """`on_full` is told when there is no room, and `on_room` when there is again."""
        self.most = most
        """Client connections at most."""
        self.all: set[Client] = set()
        self.full = False
        """Whether there is no room for another client connection."""
        self.times_full = 0
        """How often that was so."""
        self.deadline = NEVER
        """Of the next look for room."""
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
        """Close every connection on which nothing is going on, nor about to. One with a request on it is only not read yet."""
        for client in self._idle(now):
            client.close_at_rest()

    @property
    def _part(self) -> int:
        return max(1, self.most // ROOM_PART)

    def _fill_up(self, now: float) -> None:
        """The last place is taken. Those that wait for nothing leave first, the longest idle before the others."""
        if not self.full:
            self.full = True
            self.times_full += 1
            self._on_full()
            if self.deadline == NEVER:
                self._look_again(now)
        self._close_longest_idle(now)

    def on_deadline(self, now: float) -> None:
        """While at the limit, once a second: close idle connections, and give up heads that arrive slowly."""
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
            client.close_at_rest()

    def _give_up_heads(self, now: float) -> None:
        slow = now + self._head_timeout - FULL_HEAD_SECONDS
        heads = [one for one in self.all if one.begun and one.deadline <= slow]
        for client in heads[:HEADS_AT_ONCE]:
            self._early.evicted += 1
            client.evict()

    def _idle(self, now: float) -> list[Client]:
        fresh = now + self._head_timeout
        return [one for one in self.all if one.idle and not fresh - NEWCOMER_SECONDS <= one.deadline <= fresh]
