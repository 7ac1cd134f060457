"""The host of one interceptor's connections and exchanges: puts together what they share, and swaps the table whole.

Makes the dialer and the probes; reads and writes nothing itself. Decisions are made in table_apps.py (applications and their
targets) and clients.py (who leaves when there is no room).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fleet.demand.ledger import Ledger
from fleet.discovery.sources import BackendSource
from fleet.routing.table import RoutingTable
from interceptor.app.app import App
from interceptor.app.applist import AppList
from interceptor.app.stats import LAG_BUCKETS, Histogram
from interceptor.app.waits import Waits
from interceptor.backends.endpoints import EndpointSet
from interceptor.backends.probes import Probes
from interceptor.clients import Clients
from interceptor.core.deadlines import Deadlines
from interceptor.core.messages import Request
from interceptor.core.sides import Client, Dialer, RequestEvents
from interceptor.exchange.exchange import Exchange
from interceptor.settings import InterceptorSettings
from interceptor.shared import Shared
from interceptor.table_apps import TableApps
from interceptor.transport.tcp import Outbox

__all__ = ["Proxy"]

TICK_SECONDS = 0.1
"""Precision of time limits. A sweep with nothing due costs about a microsecond."""


class Proxy(Shared):
    """Hosts client connections and exchanges; swaps the table whole."""

    def __init__(
        self,
        settings: InterceptorSettings,
        ledger: Ledger,
        backends: BackendSource,
        clock: Callable[[], float],
        *,
        outbox: Outbox,
        dialer: Dialer,
    ) -> None:
        super().__init__(settings, Deadlines(TICK_SECONDS, now=clock()), clock, outbox)
        self.open_exchange: Callable[[Client, Request], RequestEvents] = partial(Exchange, self)
        self.waits = Waits()
        self.probes = Probes(dialer, clock)
        self.lag = Histogram(LAG_BUCKETS)
        """How much later than asked for the event loop came back."""
        self.on_full: Callable[[], None] = _nothing
        """Told when there is no room for another client connection, and `on_room` when there is again."""
        self.on_room: Callable[[], None] = _nothing
        self._draining = False
        self._registry = Clients(
            settings.max_connections,
            head_timeout=settings.head_timeout,
            deadlines=self.deadlines,
            early=self.early,
            clock=clock,
            on_full=self._no_room,
            on_room=self._room_again,
        )
        self.clients = self._registry.all
        self.client_opened = self._registry.opened
        self.client_closed = self._registry.closed
        self.close_idle = self._registry.close_idle
        # Connections and exchanges read these of every request: they are the same as those of the table's applications.
        self.table: RoutingTable | None = None
        self.apps: dict[str, App] = {}
        self.applist = AppList(lambda: self.apps) if settings.list_apps else None
        self._table_apps = TableApps(
            settings,
            ledger,
            backends,
            deadlines=self.deadlines,
            waits=self.waits,
            dialer=dialer,
            prober=self.probes,
            clock=clock,
            on_swap=self._swap,
        )
        self.set_table = self._table_apps.set_table
        self.backends_changed = self._table_apps.backends_changed
        self.at_work = self._table_apps.at_work
        self.turn_away_held = self._table_apps.turn_away_held
        self.missing = self._table_apps.missing

    @property
    def draining(self) -> bool:
        return self._draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._draining = draining
        self.sheds = draining or self.full

    @property
    def most_clients(self) -> int:
        """Client connections at most."""
        return self._registry.most

    @most_clients.setter
    def most_clients(self, count: int) -> None:
        self._registry.most = count
        self._table_apps.share_clients(count)

    @property
    def full(self) -> bool:
        """Whether there is no room for another client connection."""
        return self._registry.full

    @property
    def times_full(self) -> int:
        """How often that was so."""
        return self._registry.times_full

    @property
    def endpoint_sets(self) -> list[EndpointSet]:
        return self._table_apps.endpoint_sets

    async def close(self) -> None:
        """Cut every connection that is left."""
        for client in list(self.clients):
            client.abort()
        await self._table_apps.close()
        await self.probes.close()
        self.hangups.close()

    def _swap(self, table: RoutingTable, apps: dict[str, App]) -> None:
        self.table, self.apps = table, apps

    def _no_room(self) -> None:
        self.sheds = True
        self.on_full()

    def _room_again(self) -> None:
        self.sheds = self._draining
        self.on_room()


def _nothing() -> None:
    """Nobody has asked to be told."""
