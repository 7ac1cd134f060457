"""The host of one interceptor's connections and exchanges: creates what they share, and replaces the routing table as a whole.

Does no I/O itself. Decisions are made in table_apps.py (applications and their targets) and clients.py (which connections are
closed at the connection limit).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from fleet.demand.ledger import Ledger
from fleet.discovery.sources import BackendSource
from fleet.routing.port import UDP
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
from interceptor.core.sides import Dialer, Downstream, RequestEvents
from interceptor.exchange.exchange import Exchange
from interceptor.settings import InterceptorSettings
from interceptor.shared import Shared
from interceptor.table_apps import TableApps
from interceptor.transport.tcp import Outbox
from interceptor.udp.flows import Flows

__all__ = ["Proxy"]

TICK_SECONDS: Final = 0.1
"""Seconds between two checks of the time limits, so their precision. A check with nothing due costs about a microsecond."""


class Proxy(Shared):
    """Hosts client connections and exchanges; replaces the routing table as a whole."""

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
        self.open_exchange: Callable[[Downstream, Request], RequestEvents] = partial(Exchange, self)
        self.waits = Waits()
        self.probes = Probes(dialer, clock)
        self.lag = Histogram(LAG_BUCKETS)
        """How much later than requested the event loop resumed a sleeping task."""
        self.on_full: Callable[[], None] = _nothing
        """Called at the limit of client connections; `on_room` is called when there is room again."""
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
        self.flows = Flows(settings.max_flows, settings.max_flows_per_source, settings.max_flow_bytes)
        """Those of UDP ports."""
        self.clients = self._registry.all
        self.client_opened = self._registry.opened
        self.client_closed = self._registry.closed
        self.close_idle = self._registry.close_idle
        # The same as in `_table_apps`, as plain attributes, because they are read for every request.
        self.table: RoutingTable | None = None
        self.apps: dict[str, App] = {}
        self.applist = AppList(lambda: self.apps, backends.note) if settings.list_apps else None
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
        self.reject_held = self._table_apps.reject_held
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
        """Maximum number of client connections."""
        return self._registry.most

    @most_clients.setter
    def most_clients(self, count: int) -> None:
        self._registry.most = count
        self._table_apps.share_clients(count)

    @property
    def full(self) -> bool:
        """Whether the limit of client connections is reached."""
        return self._registry.full

    @property
    def times_full(self) -> int:
        """How often the limit was reached."""
        return self._registry.times_full

    @property
    def endpoint_sets(self) -> list[EndpointSet]:
        return self._table_apps.endpoint_sets

    @property
    def removed_sets(self) -> list[EndpointSet]:
        """Of targets that no route names any more, while they have unfinished exchanges."""
        return self._table_apps.removed_sets

    async def close(self) -> None:
        """Reset every remaining connection."""
        for client in list(self.clients):
            client.abort()
        self.flows.close(self.clock())
        await self._table_apps.close()
        await self.probes.close()
        await self.relay.close()
        self.hangups.close()

    def _swap(self, table: RoutingTable, apps: dict[str, App]) -> None:
        self.table, self.apps = table, apps
        self.flows.share_out({owner.app for key, routes in table.ports.items() if key.protocol == UDP for owner in routes})

    def _no_room(self) -> None:
        self.sheds = True
        self.on_full()

    def _room_again(self) -> None:
        self.sheds = self._draining
        self.on_room()


def _nothing() -> None:
    """The default for callbacks that are not set."""
