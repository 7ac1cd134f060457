"""The waiting room of an application: requests that no backend has taken yet, oldest first, bounded. Pure."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["WaitingRoom"]

T = TypeVar("T")


class WaitingRoom(dict[T, None]):
    """First come, first served; leaving from anywhere costs the same.

    A dictionary, which keeps its order, so that asking whether anybody waits costs a warm request next to nothing.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def enter(self, guest: T) -> bool:
        """Take the last place. False when the room is full."""
        if len(self) >= self.limit:
            return False
        self[guest] = None
        return True

    def leave(self, guest: T) -> None:
        """Give the place up; harmless for one that has none."""
        self.pop(guest, None)

    def first(self) -> T | None:
        """Who has waited longest."""
        return next(iter(self), None)
