"""What the connections of one interceptor share: the table, the applications, the ledger, the limits.

Makes the dialer, the probes and the watch for clients that leave; reads and writes nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from heapq import nsmallest
from operator import attrgetter

from fleet.demand.ledger import Ledger
from fleet.discovery.sources import Backend, BackendSource
from fleet.discovery.work import sum_of_work
from fleet.routing.table import RoutingTable
from fleet.runtime.strangers import Strangers
from interceptor.app.admission import UNBOUNDED
from interceptor.app.app import App
from interceptor.app.applist import AppList
from interceptor.app.stats import LAG_BUCKETS, Histogram
from interceptor.app.waits import Waits
from interceptor.backends.endpoint import PoolLimits, ProbeRule
from interceptor.backends.endpoints import EndpointSet
from interceptor.backends.probes import Probes, probe_rules
from interceptor.core.deadlines import NEVER, Deadlines
from interceptor.core.errors import ExchangeError
from interceptor.core.messages import Request
from interceptor.core.sides import Client, Dialer, Downstream, RequestEvents
from interceptor.exchange.exchange import Exchange
from interceptor.http1.early import EarlyBytes
from interceptor.settings import InterceptorSettings
from interceptor.transport.hangups import HangupWatch
from interceptor.transport.tcp import Outbox
from interceptor.trust import TrustedProxies

__all__ = ["Proxy"]

TICK_SECONDS = 0.1
"""Precision of time limits. A sweep with nothing due costs about a microsecond."""
ROOM_PART = 50
"""One connection in so many is made free at a time: the look for idle ones is shared by as many newcomers."""
FULL_HEAD_SECONDS = 2.0
"""A head that takes longer is given up while there is no room: others have been waiting with theirs for as long."""
HEADS_AT_ONCE = 200
"""Given up in one look: some milliseconds' work. Each keeps its place while its answer is on its way."""
LOOK_SECONDS = 1.0
"""Between two looks for connections to do without, while there is no room. Each costs up to a few milliseconds."""
NEWCOMER_SECONDS = 1.0
"""A connection so young is not idle: its first request is on its way."""


class Proxy:
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
        self.clock = clock
        self.open_exchange: Callable[[Client, Request], RequestEvents] = partial(Exchange, self)
        self.deadlines = Deadlines(TICK_SECONDS, now=clock())
        self.hangups = HangupWatch()
        self.waits = Waits()
        self.outbox = outbox
        self._dialer = dialer
        self.probes = Probes(self._dialer, clock)
        self.strangers = Strangers("requests")
        self.head_timeout = settings.head_timeout
        self.keep_alive_timeout = settings.keep_alive_timeout
        self.sheds = False
        """Whether connections are closed after their answer."""
        self.early = EarlyBytes(settings.max_early_bytes)
        self.proxies = TrustedProxies.parse(settings.trusted_proxies)
        self.lag = Histogram(LAG_BUCKETS)
        """How much later than asked for the event loop came back."""
        self._most_clients = settings.max_connections
        self.full = False
        """Whether there is no room for another client connection."""
        self.times_full = 0
        """How often that was so."""
        self.deadline = NEVER
        """Of the next look for room."""
        self.bucket = 0
        self.on_full: Callable[[], None] = _nothing
        """Told when there is no room, and `on_room` when there is again."""
        self.on_room: Callable[[], None] = _nothing
        self._draining = False
        self.table: RoutingTable | None = None
        self.apps: dict[str, App] = {}
        self.applist = AppList(lambda: self.apps) if settings.list_apps else None
        self.clients: set[Client] = set()
        self.refusals: Counter[tuple[str, int]] = Counter()
        """Requests that no application can be charged with, by (reason, status)."""
        self._share = UNBOUNDED
        self._settings = settings
        self._ledger = ledger
        self._backends = backends
        self._endpoints: dict[str, EndpointSet] = {}
        self._parted: list[EndpointSet] = []
        """Of targets that no route names any more, while exchanges at their backends go on."""
        self._usual = ProbeRule(connect=settings.connect_timeout)
        self._rules: dict[str, ProbeRule] = {}
        self._pool = PoolLimits(
            idle_timeout=settings.backend_idle_timeout,
            max_idle=settings.max_idle_per_backend,
        )

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
        return self._most_clients

    @most_clients.setter
    def most_clients(self, count: int) -> None:
        self._most_clients = count
        self._share_out(len(self.apps))

    # -- what discovery tells -------------------------------------------------------------------------------------

    def set_table(self, table: RoutingTable) -> None:
        """Serve another table from the next request on. Exchanges under way keep the application they began with."""
        self._share_out(len(table.apps))
        self._rules = probe_rules(table, self._usual)
        for key, endpoints in self._endpoints.items():
            endpoints.rule = self._rules.get(key, self._usual)
        apps = {name: self._app(name, table) for name in table.apps}
        gone = [app for name, app in self.apps.items() if name not in apps]
        self.table, self.apps = table, apps
        self._ledger.retain(table.apps)
        targets = [app.route.target.key for app in apps.values()]
        wanted = {*targets, *(app.fallback.key for app in apps.values() if app.fallback is not None)}
        self._backends.want(wanted)
        for key in self._endpoints.keys() - wanted:
            parted = self._endpoints.pop(key)
            parted.update(())
            self._parted.append(parted)
        self._parted = [endpoints for endpoints in self._parted if any(endpoints.at_work().values())]
        for app in gone:
            app.close()
        now = self.clock()
        for endpoints in self.endpoint_sets:  # a changed target may have backends already
            if endpoints.waiting_apps:
                endpoints.pump(now)

    def _share_out(self, apps: int) -> None:
        """The flood of one application leaves connections for the others, where there are any."""
        share = max(1, self.most_clients // 2) if apps > 1 else UNBOUNDED
        if share != self._share:
            self._share = share
            for app in self.apps.values():
                app.take_share(share, self._settings)

    def backends_changed(self, key: str) -> None:
        """Discovery lists other backends for a target."""
        endpoints = self._endpoints.get(key)
        if endpoints is not None:
            endpoints.update(self._backends.get(key), self._backends.trouble(key))

    @property
    def endpoint_sets(self) -> list[EndpointSet]:
        return list(self._endpoints.values())

    def at_work(self) -> dict[str, dict[Backend, int]]:
        """By target: exchanges at each backend that may get another one, or has some that are not over."""
        found: dict[str, dict[Backend, int]] = {}
        for endpoints in (*self._endpoints.values(), *self._parted):
            if work := endpoints.at_work():
                found[endpoints.key] = sum_of_work([found.get(endpoints.key, {}), work])
        return found

    def turn_away_held(self) -> int:
        """Answer all who wait, for there is no more time; how many those were."""
        waiting = [app for app in self.apps.values() if app.room]
        return sum(app.turn_away("this interceptor is shutting down", reason="draining", retry_after=1) for app in waiting)

    async def close(self) -> None:
        """Cut every connection that is left."""
        for client in list(self.clients):
            client.abort()
        for endpoints in self.endpoint_sets:
            await endpoints.close()
        await self.probes.close()
        self.hangups.close()

    def close_idle(self, now: float) -> None:
        """Close every connection on which nothing is going on, nor about to. One with a request on it is only not read yet."""
        for client in self._idle(now):
            client.close_at_rest()

    def _app(self, name: str, table: RoutingTable) -> App:
        route = table.apps[name]
        app = self.apps.get(name)
        if app is not None and app.route == route:
            return app
        endpoints = self._endpoint_set(route.target.key)
        target = route.cold_start.fallback
        fallback = None if target is None else self._endpoint_set(target.key)
        if app is None:
            entry = self._ledger.entry(name)
            return App(route, entry, endpoints, self._settings, fallback=fallback, share=self._share, waits=self.waits)
        app.update(route, endpoints, self._settings, fallback=fallback)
        return app

    def _endpoint_set(self, key: str) -> EndpointSet:
        endpoints = self._endpoints.get(key)
        if endpoints is None:
            endpoints = self._endpoints[key] = EndpointSet(
                key,
                limits=self._pool,
                deadlines=self.deadlines,
                dialer=self._dialer,
                prober=self.probes,
                rule=self._rules.get(key, self._usual),
                clock=self.clock,
            )
            endpoints.update(self._backends.get(key), self._backends.trouble(key))
        return endpoints

    # -- what connections and exchanges ask -----------------------------------------------------------------------

    def client_opened(self, client: Client) -> None:
        self.clients.add(client)
        if len(self.clients) >= self.most_clients:
            self._fill_up(self.clock())

    def client_closed(self, client: Client) -> None:
        self.clients.discard(client)
        if self.full and len(self.clients) <= self.most_clients - self._part:
            self.full = False
            self.sheds = self._draining
            self.on_room()

    @property
    def _part(self) -> int:
        return max(1, self.most_clients // ROOM_PART)

    def _fill_up(self, now: float) -> None:
        """The last place is taken. Those that wait for nothing leave first, the longest idle before the others."""
        if not self.full:
            self.full = self.sheds = True
            self.times_full += 1
            self.on_full()
            if self.deadline == NEVER:
                self._look_again(now)
        self._close_longest_idle(now)

    def on_deadline(self, now: float) -> None:
        """Who came with the crowd and has asked for nothing since must not keep the door closed until its time is up."""
        self.deadline = NEVER
        if self.full:
            self._look_again(now)
            self._close_longest_idle(now)
            self._give_up_heads(now)

    def _look_again(self, now: float) -> None:
        self.deadline = now + LOOK_SECONDS
        self.deadlines.watch(self)

    def _close_longest_idle(self, now: float) -> None:
        for client in nsmallest(self._part, self._idle(now), key=attrgetter("deadline")):
            client.close_at_rest()

    def _give_up_heads(self, now: float) -> None:
        slow = now + self.head_timeout - FULL_HEAD_SECONDS
        heads = [one for one in self.clients if one.begun and one.deadline <= slow]
        for client in heads[:HEADS_AT_ONCE]:
            self.early.evicted += 1
            client.evict()

    def _idle(self, now: float) -> list[Client]:
        fresh = now + self.head_timeout
        return [one for one in self.clients if one.idle and not fresh - NEWCOMER_SECONDS <= one.deadline <= fresh]

    def missing(self, app: App) -> tuple[str, str] | None:
        """Why there can be no backend, as a reason and in words. None when there may be one, today or later."""
        return self._backends.missing(app.route.target.key)

    def watch(self, client: Downstream) -> None:
        self.deadlines.watch(client)

    def refused(self, error: ExchangeError) -> None:
        self.refusals[error.reason, error.status] += 1


def _nothing() -> None:
    """Nobody has asked to be told."""
