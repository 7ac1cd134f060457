"""The ledger: who is asking what of which application, counted with leases. Pure: no clock, no I/O, one thread.

A lease belongs to the entry it was taken from, never to a name: an application that is deleted and made again starts
clean, and what is still open from before can not touch its counts. `Entry.acquire` and `Lease.release` are on the
path of every request, so they are arithmetic on attributes and tests of flags, and nothing else.
"""
# ruff: noqa: SLF001 -- ledger, entry, lease and cursor are one thing in four parts; nobody else sees their privates.

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple
from weakref import WeakSet

import msgspec

__all__ = ["EDGE_INTERVAL", "ChangeCursor", "Entry", "Lease", "Ledger", "QueueSize", "Totals"]

EDGE_INTERVAL = 1.0
"""Seconds in which an application tells at most one edge of a kind; the watchers' tick, as long, covers the rest."""

_RELEASED, _HELD, _IN_FLIGHT, _TUNNEL = range(4)


class QueueSize(msgspec.Struct, frozen=True, gc=False):
    """The demand of one application at one member: gauges and totals, never differences."""

    app: str
    held: int = 0
    in_flight: int = 0
    connections: int = 0
    requests_total: int = 0
    concurrency_seconds_total: float = 0.0
    """Integral of held + in_flight over time, in seconds."""
    generation: int = 0


class Totals(NamedTuple):
    """Sums over every entry, the forgotten ones with open leases included."""

    held: int
    in_flight: int
    connections: int


# gc=False: a lease refers to its entry and never the other way round, so no cycle can go through it.
class Lease(msgspec.Struct, gc=False, eq=False):
    """One request or connection, counted until it is released.

    A step from a state it does not start from changes nothing: a client may leave at any moment, and what comes after
    (an admission from the waiting room, a second release) must not count. Times are seconds of the ledger's one clock.

        admit    held -> in flight      upgrade   in flight -> tunnel
        hold     in flight -> held      release   any -> released
    """

    _entry: Entry
    _state: int

    @property
    def released(self) -> bool:
        return self._state == _RELEASED

    @property
    def held(self) -> bool:
        return self._state == _HELD

    def release(self, now: float) -> None:
        """End the lease. Idempotent."""
        if self._state != _IN_FLIGHT:
            self._release_other(now)
            return
        self._state = _RELEASED
        entry = self._entry
        entry._area += now
        entry.in_flight = left = entry.in_flight - 1
        if not left and entry._told_busy and not entry.held:
            entry._settle(now)

    def admit(self, now: float) -> None:
        """A backend was found."""
        if self._state == _HELD:
            self._state = _IN_FLIGHT
            self._entry.held -= 1
            self._entry.in_flight += 1

    def hold(self, now: float) -> None:
        """The backend was lost before anything was sent: back to waiting."""
        if self._state == _IN_FLIGHT:
            self._state = _HELD
            entry = self._entry
            entry.in_flight -= 1
            entry.held += 1
            if entry.held == 1:
                entry._wake(now)

    def upgrade(self, now: float) -> None:
        """The exchange became a tunnel; it stays in flight."""
        if self._state == _IN_FLIGHT:
            self._state = _TUNNEL
            self._entry.connections += 1

    def _release_other(self, now: float) -> None:
        state, self._state = self._state, _RELEASED
        if state == _RELEASED:
            return
        entry = self._entry
        entry._area += now
        if state == _HELD:
            entry.held -= 1
        else:
            entry.in_flight -= 1
            entry.connections -= 1
        if entry._told_busy and not entry.in_flight and not entry.held:
            entry._settle(now)


class Entry:
    """The counters of one application. Kept by the proxy beside its route, so that a request looks nothing up."""

    __slots__ = (
        "_area",
        "_hold_after",
        "_ledger",
        "_quiet",
        "_settle_after",
        "_stir_after",
        "_told_busy",
        "app",
        "connections",
        "generation",
        "held",
        "in_flight",
        "requests_total",
    )

    def __init__(self, ledger: Ledger, app: str, generation: int) -> None:
        self.app = app
        self.generation = generation
        self.held = 0
        self.in_flight = 0
        self.connections = 0
        self.requests_total = 0
        self._ledger = ledger
        # Sum of the times of all releases less that of all acquisitions: level * now + area is the integral of the
        # level, and each step costs one addition.
        self._area = 0.0
        # No request since a watcher was told last: the next one is news.
        self._quiet = True
        # A watcher was told a level above zero: its return to zero is news.
        self._told_busy = False
        self._stir_after = self._hold_after = self._settle_after = float("-inf")

    def acquire(self, now: float) -> Lease:
        """Count a request that goes to a backend at once."""
        self.in_flight += 1
        self.requests_total += 1
        self._area -= now
        if self._quiet:
            self._stir(now)
        return Lease(self, _IN_FLIGHT)

    def hold(self, now: float) -> Lease:
        """Count a request that waits for a backend."""
        self.held += 1
        self.requests_total += 1
        self._area -= now
        if self._quiet or self.held == 1:
            self._wake(now)
        return Lease(self, _HELD)

    def size(self, now: float) -> QueueSize:
        level = self.held + self.in_flight
        # Rounding of the area may leave a few nanoseconds below zero.
        seconds = max(0.0, level * now + self._area)
        return QueueSize(self.app, self.held, self.in_flight, self.connections, self.requests_total, seconds, self.generation)

    def _stir(self, now: float) -> None:
        """A request came to a quiet application."""
        self._quiet = False
        self._ledger._mark(self)
        if now >= self._stir_after:
            self._stir_after = now + EDGE_INTERVAL
            self._ledger._edge(self)

    def _wake(self, now: float) -> None:
        """A request waits where none did, or where it was quiet."""
        if self._quiet:
            self._quiet = False
            self._ledger._mark(self)
        if now >= self._hold_after:
            self._hold_after = now + EDGE_INTERVAL
            self._ledger._edge(self)

    def _settle(self, now: float) -> None:
        """The level is zero again, and a watcher believes otherwise."""
        self._told_busy = False
        if now >= self._settle_after:
            self._settle_after = now + EDGE_INTERVAL
            self._ledger._edge(self)

    def _told(self, now: float) -> bool:
        """A watcher was told the sizes; False when there is no more to tell it until the next request."""
        self._told_busy = busy = bool(self.held or self.in_flight)
        if not busy and not self._quiet:
            self._quiet = True
            # What was told a moment ago keeps the application active: a request that follows can wait for the tick.
            self._stir_after = now + EDGE_INTERVAL
        return busy


class ChangeCursor:
    """What one watcher has not heard yet. The first take is a snapshot: every entry that ever had a request."""

    def __init__(self, ledger: Ledger, entries: Collection[Entry]) -> None:
        self._ledger = ledger
        self._dirty: dict[str, Entry] = {entry.app: entry for entry in entries if entry.requests_total}
        self._edges: dict[str, Entry] = {}
        self._gone: dict[str, int] = {}

    def take(self, now: float) -> list[QueueSize]:
        """Every entry that changed since this cursor's last take. One with a level above zero always has: its integral
        grows. A forgotten one is told once, with every count at zero: there is no more to know of it."""
        dirty, self._dirty = self._dirty, {}
        self._edges.clear()
        sizes = [QueueSize(app, generation=generation) for app, generation in self._gone.items()]
        self._gone.clear()
        for entry in dirty.values():
            sizes.append(entry.size(now))
            if entry._told(now):
                self._dirty[entry.app] = entry
        return sizes

    def take_edges(self, now: float) -> list[QueueSize]:
        """Only what had an edge since the last take of either kind: cheap however many applications are busy."""
        edges, self._edges = self._edges, {}
        for entry in edges.values():
            if not entry._told(now):
                self._dirty.pop(entry.app, None)
        return [entry.size(now) for entry in edges.values()]

    def close(self) -> None:
        """Stop gathering. A cursor that is merely dropped ends as well."""
        self._ledger._cursors.discard(self)

    def _forget(self, entry: Entry) -> None:
        self._edges.pop(entry.app, None)
        self._dirty.pop(entry.app, None)
        if entry.requests_total:
            self._gone[entry.app] = entry.generation


class Ledger:
    """Every entry of one interceptor.

    `on_edge(app)` is called when scalers must hear at once: a request came to a quiet application, a request waits where
    none did, the level is back at zero; at most once in EDGE_INTERVAL per application and kind, so that a steady
    stream of requests does not call it for each. It runs inside acquire and release: it must be quick and not raise.
    """

    def __init__(self, *, on_edge: Callable[[str], None] | None = None) -> None:
        self.on_edge = on_edge
        self._entries: dict[str, Entry] = {}
        self._forgotten: list[Entry] = []
        self._generation = 0
        self._cursors: WeakSet[ChangeCursor] = WeakSet()
        self._own: ChangeCursor | None = None

    def entry(self, app: str) -> Entry:
        """The entry of an application ("namespace/name"), made when there is none."""
        found = self._entries.get(app)
        if found is None:
            self._generation += 1
            found = self._entries[app] = Entry(self, app, self._generation)
        return found

    def retain(self, apps: Collection[str]) -> None:
        """Forget the entries of all other applications. Leases on them stay valid and count for no later entry."""
        keep = frozenset(apps)
        self._forgotten = [entry for entry in self._forgotten if entry.held or entry.in_flight]
        for app in [app for app in self._entries if app not in keep]:
            entry = self._entries.pop(app)
            entry._quiet = entry._told_busy = False
            self._forgotten.append(entry)
            for cursor in self._cursors:
                cursor._forget(entry)

    def sizes(self, now: float) -> list[QueueSize]:
        return [entry.size(now) for entry in self._entries.values()]

    def changes(self, now: float) -> list[QueueSize]:
        """What changed since the last call: a cursor of the ledger's own."""
        if self._own is None:
            self._own = self.watch()
        return self._own.take(now)

    def watch(self) -> ChangeCursor:
        cursor = ChangeCursor(self, self._entries.values())
        self._cursors.add(cursor)
        return cursor

    @property
    def totals(self) -> Totals:
        entries = [*self._entries.values(), *self._forgotten]
        return Totals(
            sum(entry.held for entry in entries),
            sum(entry.in_flight for entry in entries),
            sum(entry.connections for entry in entries),
        )

    @property
    def outstanding(self) -> int:
        """Leases that were not released yet, on live and forgotten entries."""
        return self.totals.held + self.totals.in_flight

    def balanced(self) -> bool:
        """Whether every counter of every entry is at zero: what a leak test asks when all is over."""
        entries = [*self._entries.values(), *self._forgotten]
        return not any(entry.held or entry.in_flight or entry.connections for entry in entries)

    def _mark(self, entry: Entry) -> None:
        if self._entries.get(entry.app) is entry:
            for cursor in self._cursors:
                cursor._dirty[entry.app] = entry
                # The new generation says that the old one is gone, and must not be followed by it.
                cursor._gone.pop(entry.app, None)

    def _edge(self, entry: Entry) -> None:
        if self._entries.get(entry.app) is not entry:
            return
        for cursor in self._cursors:
            cursor._dirty[entry.app] = cursor._edges[entry.app] = entry
        if self.on_edge is not None:
            self.on_edge(entry.app)
