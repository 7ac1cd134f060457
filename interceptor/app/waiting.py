"""The waiting room of an application: requests that no backend has taken yet, oldest first, bounded twice. Pure."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["WaitingRoom"]

T = TypeVar("T")


class WaitingRoom(dict[T, tuple[float, int]]):
    """First come, first served; leaving from anywhere costs the same.

    A dictionary, which keeps its order, so that asking whether anybody waits costs a warm request next to nothing. Its values
    are when a waiter came, in the caller's seconds, and the bytes that are kept for it.
    """

    __slots__ = ("_again", "held_bytes", "limit", "limit_bytes")

    def __init__(self, limit: int, limit_bytes: int) -> None:
        super().__init__()
        self.limit = limit
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        """Kept for all waiters together."""
        self._again: dict[T, None] = {}

    def enter(self, waiter: T, *, now: float, size: int, again: bool = False) -> bool:
        """Take the last place. False when the room is full.

        With `again` one that was let in and lost its backend comes back, before all others, and always finds a place: it was
        taken in before, and its bytes are in memory as it is.
        """
        if not again and (len(self) >= self.limit or self.held_bytes + size > self.limit_bytes):
            return False
        self[waiter] = (now, size)
        self.held_bytes += size
        if again:
            self._again[waiter] = None
        return True

    def leave(self, waiter: T) -> None:
        """Give the place up; harmless for one that has none."""
        place = self.pop(waiter, None)
        if place is not None:
            self.held_bytes -= place[1]
            self._again.pop(waiter, None)

    def first(self) -> T | None:
        """Who is next."""
        return next(iter(self._again or self), None)

    @property
    def since(self) -> float:
        """When the one who is next came. Raises StopIteration when nobody waits."""
        return self[next(iter(self._again or self))][0]
