"""A backlog for tests that does all work at once, not in later turns."""

from __future__ import annotations

from fleet.runtime.backlog import Backlog, Behind

__all__ = ["AtOnce"]


class AtOnce(Backlog):
    """Work that is added is completed within the same call."""

    def add(self, one: Behind) -> None:
        while one.catch_up():
            pass
