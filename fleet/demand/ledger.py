"""The ledger: counts the requests of each application with leases. Pure: no clock, no I/O, one thread.

A lease belongs to the entry it was taken from, never to a name: an application that is deleted and created again starts at zero,
and leases from before do not change its counts. `Entry.acquire` and `Lease.release` run for every request, so they only do
arithmetic on attributes and test flags.
"""
# ruff: noqa: SLF001 -- ledger, entry, lease and cursor are one unit; other modules do not use their private attributes.

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple
from weakref import WeakSet

import msgspec

__all__ = ["EDGE_INTERVAL", "ChangeCursor", "Entry", "Lease", "Ledger", "QueueSize", "Totals"]

EDGE_INTERVAL: Final = 1.0
"""Minimum seconds between two edges of one kind for an application. The scalers' streams send all changes as often anyway."""

_RELEASED: Final = 0
_HELD: Final = 1
_IN_FLIGHT: Final = 2
_TUNNEL: Final = 3
_KEPT: Final = 4


class QueueSize(msgspec.Struct, frozen=True, gc=False):
    """The demand of one application at one interceptor: gauges and totals, never differences."""

    app: str
    held: int = 0
    in_flight: int = 0
    connections: int = 0
    requests_total: int = 0
    concurrency_seconds_total: float = 0.0
    """Integral of held + in_flight + busy over time, in seconds."""
    generation: int = 0
    busy: int = 0
    """Backends that keep the application awake although they have answered."""
    dropped_total: int = 0
    """Datagrams of UDP ports."""

    @property
    def has_demand(self) -> bool:
        return self.held > 0 or self.in_flight > 0 or self.busy > 0

    def idle(self) -> QueueSize:
        """The same totals, with gauges at zero."""
        return msgspec.structs.replace(self, held=0, in_flight=0, connections=0, busy=0)

    def before(self) -> QueueSize:
        """The same application before its first request."""
        return QueueSize(self.app, generation=self.generation)


class Totals(NamedTuple):
    """Sums over all entries, including forgotten entries with open leases."""

    held: int
    in_flight: int
    connections: int


# gc=False: a lease refers to its entry, and the entry never to a lease, so a lease is never part of a reference cycle.
class Lease(msgspec.Struct, gc=False, eq=False):
    """One request or connection, counted until it is released.

    A transition from another state than the listed one has no effect: a client may disconnect at any time, and a later admission
    or a second release must not be counted. Times are seconds of the ledger's clock.

    admit: held -> in flight; hold: in flight -> held; upgrade: in flight -> tunnel; release: any -> released. A lease of
    `Entry.keep` is in a state of its own until it is released.
    """

    _entry: Entry
    _state: int

    @property
    def released(self) -> bool:
        return self._state == _RELEASED

    @property
    def held(self) -> bool:
        return self._state == _HELD

    def counts_for(self, entry: Entry) -> bool:
        """Whether it is counted in this entry."""
        return self._entry is entry

    def release(self, now: float) -> None:
        """End the lease. Idempotent."""
        if self._state != _IN_FLIGHT:
            self._release_other(now)
            return
        self._state = _RELEASED
        entry = self._entry
        entry._area += now
        entry.in_flight = left = entry.in_flight - 1
        if not left and entry._sent_busy and not entry.held and not entry.busy:
            entry._settle(now)

    def admit(self, now: float) -> None:
        """A backend was chosen for a held request."""
        if self._state == _HELD:
            self._state = _IN_FLIGHT
            self._entry.held -= 1
            self._entry.in_flight += 1

    def hold(self, now: float) -> None:
        """The backend was lost before anything was sent: the request waits again."""
        if self._state == _IN_FLIGHT:
            self._state = _HELD
            entry = self._entry
            entry.in_flight -= 1
            entry.held += 1
            if entry.held == 1:
                entry._wake(now)

    def upgrade(self, now: float) -> None:
        """The exchange became a tunnel. It still counts as in flight."""
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
        elif state == _KEPT:
            entry.busy -= 1
            if not entry.busy:
                entry._ledger._busy.discard(entry)
        else:
            entry.in_flight -= 1
            entry.connections -= 1
        if entry._sent_busy and not entry.in_flight and not entry.held and not entry.busy:
            entry._settle(now)


class Entry:
    """The counters of one application. The proxy keeps it beside the route, so that a request needs no lookup."""

    __slots__ = (
        "_area",
        "_hold_after",
        "_ledger",
        "_quiet",
        "_sent_busy",
        "_settle_after",
        "_stir_after",
        "app",
        "busy",
        "connections",
        "dropped_total",
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
        self.busy = 0
        self.requests_total = 0
        self.dropped_total = 0
        """Datagrams; counted by who drops them."""
        self._ledger = ledger
        # Sum of the release times minus sum of the acquisition times: level * now + area is the integral of the level over time,
        # and each step costs one addition.
        self._area = 0.0
        # Whether no request came since the sizes were last sent to a watcher: then the next request is an edge.
        self._quiet = True
        # Whether a level above zero was sent to a watcher: then the return to zero is an edge.
        self._sent_busy = False
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

    def keep(self, now: float) -> Lease:
        """Count a backend that goes on working after its answer. It is no request, and bounds on requests do not count it."""
        self.busy += 1
        self._ledger._busy.add(self)
        self._area -= now
        if self._quiet:
            self._stir(now)
        return Lease(self, _KEPT)

    def size(self, now: float) -> QueueSize:
        level = self.held + self.in_flight + self.busy
        # Floating-point rounding may leave a few nanoseconds below zero.
        seconds = max(0.0, level * now + self._area)
        counts = self.requests_total, seconds, self.generation
        return QueueSize(self.app, self.held, self.in_flight, self.connections, *counts, self.busy, self.dropped_total)

    def _stir(self, now: float) -> None:
        """Edge: the first request of a quiet application."""
        self._quiet = False
        self._ledger._mark(self)
        if now >= self._stir_after:
            self._stir_after = now + EDGE_INTERVAL
            self._ledger._edge(self)

    def _wake(self, now: float) -> None:
        """Edge: a request waits, and none did before, or the application was quiet."""
        if self._quiet:
            self._quiet = False
            self._ledger._mark(self)
        if now >= self._hold_after:
            self._hold_after = now + EDGE_INTERVAL
            self._ledger._edge(self)

    def _settle(self, now: float) -> None:
        """Edge: the level is zero again, and a watcher was sent a level above zero."""
        self._sent_busy = False
        if now >= self._settle_after:
            self._settle_after = now + EDGE_INTERVAL
            self._ledger._edge(self)

    def _mark_sent(self, now: float) -> bool:
        """Note that a watcher was sent the sizes. False when nothing more has to be sent until the next request."""
        self._sent_busy = busy = bool(self.held or self.in_flight or self.busy)
        if not busy and not self._quiet:
            self._quiet = True
            # The size just sent keeps the application active, so the next request can wait for the regular update.
            self._stir_after = now + EDGE_INTERVAL
        return busy


class ChangeCursor:
    """The changes that one watcher was not sent yet. The first `take` is a snapshot: every entry that ever had a request."""

    def __init__(self, ledger: Ledger, entries: Collection[Entry]) -> None:
        self._ledger = ledger
        self._dirty: dict[str, Entry] = {entry.app: entry for entry in entries if entry.requests_total}
        self._edges: dict[str, Entry] = {}
        self._gone: dict[str, int] = {}

    def take(self, now: float) -> list[QueueSize]:
        """Every entry that changed since this cursor's last take. An entry with a level above zero always has changed, because
        its integral grows. A forgotten entry is returned once, with every count at zero."""
        dirty, self._dirty = self._dirty, {}
        self._edges.clear()
        sizes = [QueueSize(app, generation=generation) for app, generation in self._gone.items()]
        self._gone.clear()
        for entry in dirty.values():
            sizes.append(entry.size(now))
            if entry._mark_sent(now):
                self._dirty[entry.app] = entry
        return sizes

    def take_edges(self, now: float) -> list[QueueSize]:
        """Only entries with an edge since the last take of either kind. Cheap, however many applications are busy."""
        edges, self._edges = self._edges, {}
        for entry in edges.values():
            if not entry._mark_sent(now):
                self._dirty.pop(entry.app, None)
        return [entry.size(now) for entry in edges.values()]

    def close(self) -> None:
        """Stop collecting changes. A cursor that is garbage-collected stops as well."""
        self._ledger._cursors.discard(self)

    def _forget(self, entry: Entry) -> None:
        self._edges.pop(entry.app, None)
        self._dirty.pop(entry.app, None)
        if entry.requests_total:
            self._gone[entry.app] = entry.generation


class Ledger:
    """All entries of one interceptor.

    `on_edge(app)` is called when scalers must be informed at once: the first request of a quiet application, the first held
    request, the return to zero; at most once per EDGE_INTERVAL, application and kind, so that a steady stream of requests does
    not call it for each. It runs inside acquire and release, so it must be fast and must not raise.
    """

    def __init__(self, *, on_edge: Callable[[str], None] | None = None) -> None:
        self.on_edge = on_edge
        self._entries: dict[str, Entry] = {}
        self._forgotten: list[Entry] = []
        self._generation = 0
        self._cursors: WeakSet[ChangeCursor] = WeakSet()
        self._own: ChangeCursor | None = None
        self._busy: set[Entry] = set()

    def entry(self, app: str) -> Entry:
        """The entry of an application ("namespace/name"); created if there is none."""
        found = self._entries.get(app)
        if found is None:
            self._generation += 1
            found = self._entries[app] = Entry(self, app, self._generation)
        return found

    def retain(self, apps: Collection[str]) -> None:
        """Forget the entries of all other applications. Their open leases stay valid, and do not count for a later entry of
        that name."""
        keep = frozenset(apps)
        self._forgotten = [entry for entry in self._forgotten if entry.held or entry.in_flight or entry.busy]
        for app in [app for app in self._entries if app not in keep]:
            entry = self._entries.pop(app)
            entry._quiet = entry._sent_busy = False
            self._forgotten.append(entry)
            for cursor in self._cursors:
                cursor._forget(entry)

    def sizes(self, now: float) -> list[QueueSize]:
        return [entry.size(now) for entry in self._entries.values()]

    def changes(self, now: float) -> list[QueueSize]:
        """What changed since the last call, by a cursor of the ledger's own."""
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
        """Leases of requests that were not released yet, of current and forgotten entries."""
        return self.totals.held + self.totals.in_flight

    def balanced(self) -> bool:
        """Whether every counter of every entry is zero; used to detect leaked leases in tests."""
        entries = [*self._entries.values(), *self._forgotten]
        return not any(entry.held or entry.in_flight or entry.connections or entry.busy for entry in entries)

    def busy(self) -> dict[str, int]:
        """Backends that are busy, by application, in the order of their names. Not those of forgotten entries."""
        entries = (entry for entry in self._busy if self._entries.get(entry.app) is entry)
        return {entry.app: entry.busy for entry in sorted(entries, key=lambda entry: entry.app)}

    def _mark(self, entry: Entry) -> None:
        if self._entries.get(entry.app) is entry:
            for cursor in self._cursors:
                cursor._dirty[entry.app] = entry
                # The new generation implies that the old entry is gone; its removal must not be sent afterwards.
                cursor._gone.pop(entry.app, None)

    def _edge(self, entry: Entry) -> None:
        if self._entries.get(entry.app) is not entry:
            return
        for cursor in self._cursors:
            cursor._dirty[entry.app] = cursor._edges[entry.app] = entry
        if self.on_edge is not None:
            self.on_edge(entry.app)
