"""Applications that wake and sleep, by a clock of the test's own, for what is suggested because of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fleet.demand.companions import Companions

__all__ = ["START", "World", "times"]

START = 5.0
"""Seconds that each takes until it is ready."""


class Table:
    """What is declared: by application, what wakes with it."""

    def __init__(self, needs: Mapping[str, Iterable[str]] | None = None) -> None:
        self.needs = {app: set(named) for app, named in (needs or {}).items()}

    def wakes(self, app: str, other: str) -> bool:
        return any(each == other or self.wakes(each, other) for each in self.needs.get(app, ()))

    def may_need(self, app: str, other: str) -> bool:
        return not self.wakes(app, other) and not self.wakes(other, app)


class World:
    """Applications of namespace a, and a clock."""

    def __init__(self, needs: Mapping[str, Iterable[str]] | None = None, *, late: float = 0.0) -> None:
        self.table = Table(needs)
        self.changes: list[str] = []
        self.companions = Companions(self.table, self.changes.append, late=late)
        self.now = 1000.0

    def wake(self, *apps: str, gap: float = 0.0, asked: bool = True) -> None:
        """One after the other, each `gap` seconds after the one before it."""
        for position, app in enumerate(apps):
            self.now += gap if position else 0.0
            self.companions.woke(app, self.now, asked=asked)

    def ready(self, *apps: str) -> None:
        for app in apps:
            self.companions.ready(app, self.now)

    def sleep(self, *apps: str) -> None:
        self.now += 100.0
        for app in apps:
            self.companions.slept(app, self.now)

    def chain(self, *apps: str, gap: float = 0.1) -> None:
        """Each is called when the one before it is ready, and all sleep after that."""
        for app in apps:
            self.wake(app)
            self.now += START
            self.ready(app)
            self.now += gap
        self.sleep(*apps)

    def alone(self, *apps: str) -> None:
        for app in apps:
            self.chain(app)

    def suggested(self, app: str = "a/web") -> list[tuple[str, int, bool]]:
        return [(each.app, each.percent, each.together) for each in self.companions.suggestions(app)]


def times(count: int, act: Callable[[], None]) -> None:
    for _ in range(count):
        act()
