"""Exponential backoff: pauses between attempts that double up to a limit. Pure."""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """Seconds to wait before the next attempt; doubles from `first` to `limit`."""

    __slots__ = ("_first", "_limit", "_next")

    def __init__(self, first: float, limit: float) -> None:
        self._first, self._limit = first, limit
        self._next = first

    def pause(self) -> float:
        """The pause in seconds before the next attempt; the one after it is longer."""
        pause = self._next
        self._next = min(pause * 2, self._limit)
        return pause

    def reset(self) -> None:
        """An attempt succeeded: begin again with the first pause."""
        self._next = self._first
