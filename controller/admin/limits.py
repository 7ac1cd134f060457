"""Rates: token buckets by key, bounded in number. Pure; the time is passed in."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Buckets"]

MAX_KEYS = 1000
"""Keys that are remembered. The one that was used longest ago is forgotten first, which is then full again."""


class Buckets:
    """Each key may take `burst` at once, and `rate` per second in the long run."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What was left, and when."""

    def left(self, key: str, now: float) -> float:
        """Seconds until the key may take one; 0 if it may now."""
        return max(0.0, (1.0 - self._level(key, now)) / self._rate)

    def take(self, key: str, now: float) -> float:
        """Take one; returns 0, or the seconds until that is possible, and takes nothing then."""
        seconds = self.left(key, now)
        if seconds > 0:
            return seconds
        self._levels[key] = (self._level(key, now) - 1.0, now)
        self._levels.move_to_end(key)
        while len(self._levels) > MAX_KEYS:
            self._levels.popitem(last=False)
        return 0.0

    def _level(self, key: str, now: float) -> float:
        level, when = self._levels.get(key, (self._burst, now))
        return min(self._burst, level + (now - when) * self._rate)
