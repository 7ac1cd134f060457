"""Pauses between attempts: doubling, bounded, with jitter. Pure, except for the jitter, whose
source can be passed in."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

__all__ = ["MAX_RETRY_AFTER_SECONDS", "Pauses"]

MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""Maximum of a server's Retry-After that is respected."""


class Pauses:
    """From `first` to `longest` seconds, each shortened randomly by up to a half, so that clients do not retry at the same
    time."""

    def __init__(self, first: float, longest: float, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._first = first
        self._longest = longest
        self._uniform = uniform
        self._next = first

    def next(self, retry_after: float | None = None) -> float:
        """The pause after one more failure; at least `retry_after`, if the server sent it."""
        pause = self._next * self._uniform(0.5, 1.0)
        self._next = min(2 * self._next, self._longest)
        if retry_after is None:
            return pause
        return min(retry_after, MAX_RETRY_AFTER_SECONDS) + pause

    def reset(self) -> None:
        """An attempt succeeded: begin again with the first pause."""
        self._next = self._first
