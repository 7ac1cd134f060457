"""The waiting room of an application: requests that have no backend yet, oldest first, bounded in number and bytes. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

__all__ = ["WaitingRoom"]

T = TypeVar("T")


class WaitingRoom(dict[T, tuple[float, int]]):
    """A FIFO queue; removing from the middle costs the same as from the front.

    A dict, which keeps insertion order, so that checking whether a request waits costs a warm request next to nothing. The values
    are the arrival time in the caller's seconds, and the bytes kept for the request.
    """

    __slots__ = ("_again", "family", "held_bytes", "limit", "limit_bytes")

    def __init__(self, limit: int, limit_bytes: int) -> None:
        super().__init__()
        self.limit = limit
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        """Bytes kept for all waiting requests."""
        self.family: Collection[WaitingRoom[T]] = ()
        """All rooms, with this one, that the limits are for together; none if they are for this one alone."""
        self._again: dict[T, None] = {}

    def enter(self, waiter: T, *, now: float, size: int, again: bool = False) -> bool:
        """Append a request. Returns False when the room is full.

        With `again`, a request that was admitted and lost its backend returns to the front, and is always accepted: it was
        accepted before, and its bytes are in memory anyway.
        """
        if not again and not self._has_room(size):
            return False
        self[waiter] = (now, size)
        self.held_bytes += size
        if again:
            self._again[waiter] = None
        return True

    def _has_room(self, size: int) -> bool:
        if not self.family:
            return len(self) < self.limit and self.held_bytes + size <= self.limit_bytes
        held_bytes = sum(room.held_bytes for room in self.family)
        return sum(map(len, self.family)) < self.limit and held_bytes + size <= self.limit_bytes

    def resize(self, waiter: T, size: int) -> None:
        """More or fewer bytes are kept for a request that waits."""
        place = self.get(waiter)
        if place is not None:
            self[waiter] = (place[0], size)
            self.held_bytes += size - place[1]

    @property
    def free_bytes(self) -> int:
        """How many more bytes may be kept."""
        return self.limit_bytes - (sum(room.held_bytes for room in self.family) if self.family else self.held_bytes)

    def leave(self, waiter: T) -> None:
        """Remove a request; has no effect if it does not wait."""
        place = self.pop(waiter, None)
        if place is not None:
            self.held_bytes -= place[1]
            self._again.pop(waiter, None)

    def first(self) -> T | None:
        """The oldest request."""
        return next(iter(self._again or self), None)

    @property
    def since(self) -> float:
        """When the oldest request arrived. Raises StopIteration when none waits."""
        return self[next(iter(self._again or self))][0]
