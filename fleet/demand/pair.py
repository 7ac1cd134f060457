"""How often an application woke after another one, and whether that is often enough to suggest a dependency. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["LEAST_WAKES", "MOST_WAKES", "POOR_SHARE", "Pair"]

MOST_WAKES: Final = 32
"""The last wakes that count, of each application: some days, for most."""
LEAST_WAKES: Final = 10
"""Wakes before anything is suggested. If half of all were followed by chance, nine of ten would be once in a hundred times."""
SUGGESTED_SHARE: Final = 0.9
"""Least share of an application's wakes that another one follows."""
FOLLOWING_SHARE: Final = 0.8
"""Least share of the other one's wakes that follow those of the application."""
KEPT_SHARE: Final = 0.75
"""Below it, of either, a suggestion is withdrawn; above, it stays, so that it does not come and go."""
POOR_SHARE: Final = 0.5
"""A pair below it makes room for a new one."""
ROUNDED: Final = 5
"""Shares are shown in steps of so many percent, and follow only such changes: what is shown is written to a status."""
_MASK: Final = (1 << MOST_WAKES) - 1


class _History:
    """Of the last wakes, whether something was so."""

    __slots__ = ("_bits", "count")

    def __init__(self) -> None:
        self._bits = self.count = 0

    def add(self, is_so: bool) -> None:
        self._bits = (self._bits << 1 | is_so) & _MASK
        self.count = min(self.count + 1, MOST_WAKES)

    @property
    def share(self) -> float:
        return self._bits.bit_count() / self.count if self.count else 0.0


class Pair:
    """An application, and another one that has followed it."""

    __slots__ = ("beside", "following", "is_suggested", "percent", "together", "wakes")

    def __init__(self) -> None:
        self.wakes = _History()
        """Of the wakes of the first one at which the other one was asleep: whether it followed."""
        self.beside = _History()
        """Of those that it followed: whether both were at the same moment."""
        self.following = _History()
        """Of the wakes of the other one: whether they followed one of the first."""
        self.is_suggested = self.together = False
        self.percent = 0

    @property
    def shown(self) -> tuple[int, bool] | None:
        """What is said of it: percent, and whether both wake together; None unless it is suggested."""
        return (self.percent, self.together) if self.is_suggested else None

    def judge(self) -> bool:
        """After something was added; returns whether something else is shown now."""
        before, wakes, following, beside = self.shown, self.wakes.share, self.following.share, self.beside.share
        if self.is_suggested:
            self.is_suggested = min(wakes, following) >= KEPT_SHARE
        elif self.wakes.count >= LEAST_WAKES and wakes >= SUGGESTED_SHARE and following >= FOLLOWING_SHARE:
            self.is_suggested, self.together = True, beside > POOR_SHARE
        if abs(100 * wakes - self.percent) >= ROUNDED:
            self.percent = ROUNDED * round(100 * wakes / ROUNDED)
        if not 1 - KEPT_SHARE < beside < KEPT_SHARE:
            self.together = beside >= KEPT_SHARE
        return self.shown != before
