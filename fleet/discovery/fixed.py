"""Discovery of given values: for tests, for programs that embed Weir, and for a list on the command line.

The values are in memory, and change only by `set`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from fleet.discovery.sources import Backend, Member, Trouble, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.routing.table import RoutingTable

__all__ = ["FixedBackends", "FixedMembers", "FixedRoutes"]


class _Idle:
    """A source with nothing to start or to close."""

    async def start(self) -> None:
        """Nothing to do: the values are in memory."""

    async def close(self) -> None:
        """Nothing to do."""


class FixedRoutes(_Idle):
    """A RouteSource of one table."""

    def __init__(self, table: RoutingTable | None = None) -> None:
        self._table = table
        self._subscribers = Subscribers[RoutingTable]()

    @property
    def current(self) -> RoutingTable | None:
        return self._table

    def subscribe(self, on_change: Callable[[RoutingTable], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    async def refresh(self) -> None:
        """Nothing to do: the table in memory is always current."""

    def set(self, table: RoutingTable) -> None:
        if self._table is None or table.version != self._table.version:
            self._table = table
            self._subscribers.tell(table)


class FixedBackends(_Idle):
    """A BackendSource of a mapping."""

    def __init__(self, backends: Mapping[str, Iterable[Backend]] | None = None) -> None:
        self._backends = {key: tuple(values) for key, values in (backends or {}).items()}
        self._troubles: dict[str, Trouble] = {}
        self.notes: dict[str, str] = {}
        self._subscribers = Subscribers[str]()

    def get(self, key: str) -> tuple[Backend, ...]:
        return self._backends.get(key, ())

    def trouble(self, key: str) -> Trouble | None:
        return self._troubles.get(key)

    def note(self, app: str) -> str:
        return self.notes.get(app, "")

    def missing(self, key: str) -> None:
        """Always None: a target may be set later."""

    def alias(self, key: str) -> None:
        """Always None: there are no Services here."""

    @property
    def synced(self) -> bool:
        return True

    def want(self, keys: Collection[str]) -> None:
        """Nothing to do: all targets are in memory."""

    def subscribe(self, on_change: Callable[[str], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    def set(self, key: str, backends: Iterable[Backend]) -> None:
        values = tuple(backends)
        if values != self.get(key):
            self._backends[key] = values
            self._subscribers.tell(key)

    def set_trouble(self, key: str, trouble: Trouble | None) -> None:
        if trouble == self.trouble(key):
            return
        self._troubles.pop(key, None)
        if trouble is not None:
            self._troubles[key] = trouble
        self._subscribers.tell(key)


class FixedMembers(_Idle):
    """A MemberSource of a list."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self._members = tuple(members)
        self._subscribers = Subscribers[tuple[Member, ...]]()

    @property
    def current(self) -> tuple[Member, ...] | None:
        return self._members

    def subscribe(self, on_change: Callable[[tuple[Member, ...]], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    def set(self, members: Iterable[Member]) -> None:
        values = tuple(members)
        if values != self._members:
            self._members = values
            self._subscribers.tell(values)
