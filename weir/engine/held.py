"""Apps that are kept awake for what others run before they start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from fleet.discovery.sources import Trouble
from fleet.routing.dependencies import Dependencies

__all__ = ["Held", "needed"]


class Held:
    """One app, as those see it that need it. It is awake for as long as any of them holds it."""

    def __init__(
        self, is_ready: Callable[[], bool], trouble: Callable[[], Trouble | None], on_change: Callable[[], None]
    ) -> None:
        self.is_ready = is_ready
        self._trouble, self._on_change = trouble, on_change
        self._by: set[str] = set()

    @property
    def by(self) -> str:
        """One of the apps that hold it ("namespace/name"); empty if there is none."""
        return min(self._by, default="")

    @property
    def trouble(self) -> Trouble | None:
        """Why it has no ready replica; None while it has one, or none has failed."""
        return None if self.is_ready() else self._trouble()

    def hold(self, app: str) -> None:
        self._by.add(app)
        self._on_change()

    def release(self, app: str) -> None:
        self._by.discard(app)
        self._on_change()


def needed(dependencies: Dependencies, started: Collection[str], apps: Mapping[str, Held], app: str) -> Mapping[str, Held | None]:
    """The apps that one needs, of those that are `started` here; None for one that is not there yet, though in the file."""
    return {each.app: apps.get(each.app) for each in dependencies.needs.get(app, ()) if each.app in started}
