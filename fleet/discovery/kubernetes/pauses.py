"""How long to wait before trying again: doubling, bounded, spread at random. No I/O, no clock."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["MAX_RETRY_AFTER_SECONDS", "Pauses"]

MAX_RETRY_AFTER_SECONDS = 60.0
"""A server may ask for patience, not for being forgotten."""


class Pauses:
    """From `first` to `longest` seconds, each shortened by up to a half, so that many clients do not come at once."""

    def __init__(self, first: float, longest: float, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._first = first
        self._longest = longest
        self._uniform = uniform
        self._next = first

    def next(self, retry_after: float | None = None) -> float:
        """The pause after one more failure; never shorter than what the server has asked for."""
        pause = self._next * self._uniform(0.5, 1.0)
        self._next = min(2 * self._next, self._longest)
        if retry_after is None:
            return pause
        return min(retry_after, MAX_RETRY_AFTER_SECONDS) + pause

    def reset(self) -> None:
        """Something went well."""
        self._next = self._first
