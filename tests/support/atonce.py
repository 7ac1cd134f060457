"""A backlog for tests in which nobody has to wait for a turn."""

from __future__ import annotations

from fleet.runtime.backlog import Backlog, Behind

__all__ = ["AtOnce"]


class AtOnce(Backlog):
    """Whoever falls behind catches up within the same call."""

    def add(self, one: Behind) -> None:
        while one.catch_up():
            pass
