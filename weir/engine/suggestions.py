"""Which dependencies the apps of this machine do not declare and seem to have, from when they wake."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from fleet.demand.companions import Companions
from fleet.demand.suggestion import Suggestion, in_words
from fleet.events.lifecycle import Kind
from fleet.routing.table import RoutingTable
from fleet.routing.together import Declared

__all__ = ["LocalSuggestions"]

FIELD = "depends_on"

_log = logging.getLogger(__name__)


class LocalSuggestions:
    """Of one engine. `table` is that of its file, and `copies` the apps that are previews of others: they have the dependencies
    of these. `note` is told what is suggested of an app, in words, whenever that changes."""

    def __init__(
        self,
        table: Callable[[], RoutingTable | None] = lambda: None,
        copies: Callable[[], Collection[str]] = frozenset,
        note: Callable[[str, str], None] = lambda app, words: None,
    ) -> None:
        self._copies = copies
        self._note = note
        self._companions = Companions(Declared(table), self._changed)
        self._logged: dict[str, frozenset[str]] = {}
        """What was suggested of each app that is in the file."""

    def heard(self, kind: Kind, app: str, now: float, *, asked: bool) -> None:
        """What became of an app, and whether because of a request."""
        if app in self._copies():
            return
        if kind is Kind.WAKE:
            self._companions.woke(app, now, asked=asked)
        elif kind is Kind.READY:
            self._companions.ready(app, now)
        elif kind is Kind.SLEEP:
            self._companions.slept(app, now)

    def forget(self, app: str) -> None:
        """It is not in the file any more."""
        self._companions.forget(app)
        self._note(app, "")
        self._logged.pop(app, None)

    def of(self, app: str) -> tuple[Suggestion, ...]:
        """What the app could declare, the surest first."""
        return self._companions.suggestions(app)

    def words(self, app: str) -> str:
        """The same for people; "" without any."""
        return in_words(app, self.of(app), FIELD)

    def _changed(self, app: str) -> None:
        self._note(app, self.words(app))
        names = frozenset(each.app for each in self.of(app))
        if names - self._logged.get(app, frozenset()):
            _log.info("%s: %s", app, self.words(app))
        self._logged[app] = self._logged.get(app, frozenset()) | names
