"""The applications and targets of the routing table in one interceptor: created, kept, changed and removed with each new table.

Does no I/O: the caller passes the dialer, the probes and the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fleet.demand.ledger import Ledger
from fleet.discovery.sources import Backend, BackendSource
from fleet.discovery.work import sum_of_work
from fleet.routing.port import PortTarget
from fleet.routing.route import Route
from fleet.routing.table import RoutingTable
from fleet.routing.target import Connects, PoolKey, Target
from interceptor.app.admission import UNBOUNDED
from interceptor.app.app import App
from interceptor.app.branches import branch_out
from interceptor.app.waits import Waits
from interceptor.backends.endpoint import PoolLimits, ProbeRule
from interceptor.backends.endpoints import EndpointSet, Prober
from interceptor.backends.probes import probe_rules
from interceptor.core.deadlines import Deadlines
from interceptor.core.sides import Dialer
from interceptor.settings import InterceptorSettings

__all__ = ["TableApps"]


class TableApps:
    """The applications of the table, and an endpoint set for each of their targets."""

    def __init__(
        self,
        settings: InterceptorSettings,
        ledger: Ledger,
        backends: BackendSource,
        *,
        deadlines: Deadlines,
        waits: Waits,
        dialer: Dialer,
        prober: Prober,
        clock: Callable[[], float],
        on_swap: Callable[[RoutingTable, dict[str, App]], None],
    ) -> None:
        """`on_swap` is called with every new table and its applications, before waiting requests are admitted or answered."""
        self.table: RoutingTable | None = None
        self.apps: dict[str, App] = {}
        self._most_clients = settings.max_connections
        self._share = UNBOUNDED
        self._settings = settings
        self._ledger = ledger
        self._backends = backends
        self._deadlines = deadlines
        self._waits = waits
        self._dialer = dialer
        self._prober = prober
        self._clock = clock
        self._on_swap = on_swap
        self._endpoints: dict[str, dict[Connects, EndpointSet]] = {}
        """By key of the target, and by how its backends are spoken to: connections that were opened in one way are never used in
        another."""
        self._removed: list[EndpointSet] = []
        """Sets of targets that no route names any more but that have unfinished exchanges."""
        self._usual = ProbeRule(connect=settings.connect_timeout)
        self._rules: dict[PoolKey, ProbeRule] = {}
        self._pool = PoolLimits(
            idle_timeout=settings.backend_idle_timeout,
            max_idle=settings.max_idle_per_backend,
        )
        self._unpooled = PoolLimits(idle_timeout=settings.backend_idle_timeout, max_idle=0)
        """Of ports: each connection of a client has one of its own, which the server may greet at once."""

    def set_table(self, table: RoutingTable) -> None:
        """Use another table from the next request on. Open exchanges keep the application they began with."""
        self._share_out(len(table.apps))
        self._rules = probe_rules(table, self._usual, as_clients=self._settings.backend_tls_as_clients)
        for endpoints in self.endpoint_sets:
            endpoints.rule = self._rules.get((endpoints.key, endpoints.connects), self._usual)
        apps = {name: self._app(name, table) for name in table.apps}
        gone = [app for name, app in self.apps.items() if name not in apps]
        self.table, self.apps = table, apps
        self._on_swap(table, apps)
        self._ledger.retain(table.apps)
        wanted = {target.pool for app in apps.values() for target in self._targets(app.route)}
        self._backends.want({key for key, _ in wanted})
        for endpoints in self.endpoint_sets:
            if (endpoints.key, endpoints.connects) not in wanted:
                self._remove(endpoints)
        self._removed = [endpoints for endpoints in self._removed if any(endpoints.at_work().values())]
        for app in gone:
            for part in app.parts:
                part.close()
        now = self._clock()
        for endpoints in self.endpoint_sets:  # a changed target may have backends already
            if endpoints.waiting_apps:
                endpoints.pump(now)

    def share_clients(self, count: int) -> None:
        """Set the limit of client connections, of which no application gets more than its share."""
        self._most_clients = count
        self._share_out(len(self.apps))

    def backends_changed(self, key: str) -> None:
        """Discovery lists other backends for a target."""
        for endpoints in self._endpoints.get(key, {}).values():
            was_outside = endpoints.outside
            endpoints.update(self._backends.get(key), self._backends.trouble(key))
            if endpoints.outside != was_outside:
                self._note_outside(endpoints)

    def _note_outside(self, endpoints: EndpointSet) -> None:
        for app in self.apps.values():
            for part in app.parts:
                if part.endpoints is endpoints:
                    part.note_outside()

    @property
    def endpoint_sets(self) -> list[EndpointSet]:
        return [endpoints for same in self._endpoints.values() for endpoints in same.values()]

    @property
    def removed_sets(self) -> list[EndpointSet]:
        """Of targets that no route names any more, while they have unfinished exchanges."""
        return [endpoints for endpoints in self._removed if endpoints.in_use]

    def at_work(self) -> dict[str, dict[Backend, int]]:
        """By target: the number of unfinished exchanges at each listed backend, and at each removed one that still has some."""
        found: dict[str, dict[Backend, int]] = {}
        for endpoints in (*self.endpoint_sets, *self._removed):
            if work := endpoints.at_work():
                found[endpoints.key] = sum_of_work([found.get(endpoints.key, {}), work])
        return found

    def missing(self, app: App) -> tuple[str, str] | None:
        """Why the application can never have a backend, as a reason for metrics and as text; None if it can have one."""
        return self._backends.missing(app.route.target.key)

    def reject_held(self) -> int:
        """Answer all waiting requests with an error, because the drain time is over. Returns their number."""
        waiting = [part for app in self.apps.values() for part in app.parts if part.room]
        return sum(app.reject("this interceptor is shutting down", reason="draining", retry_after=1) for app in waiting)

    async def close(self) -> None:
        for endpoints in self.endpoint_sets:
            await endpoints.close()

    def _app(self, name: str, table: RoutingTable) -> App:
        route = table.apps[name]
        app = self.apps.get(name)
        if app is not None and app.route == route:
            return app
        endpoints = self._endpoint_set(route.target)
        target = route.cold_start.fallback
        fallback = None if target is None else self._endpoint_set(target)
        if app is None:
            entry = self._ledger.entry(name)
            app = App(route, entry, endpoints, self._settings, fallback=fallback, share=self._share, waits=self._waits)
        else:
            app.apply(route, endpoints, self._settings, fallback=fallback)
        branch_out(app, self._settings, self._endpoint_set)
        return app

    def _targets(self, route: Route) -> Iterator[Target]:
        """All that its requests and connections go to."""
        for target in route.targets:
            yield target
            if self._settings.backend_tls_as_clients and (secured := target.over_tls) is not None:
                yield secured

    def _endpoint_set(self, target: Target) -> EndpointSet:
        key, connects = target.pool
        same = self._endpoints.setdefault(key, {})
        endpoints = same.get(connects)
        if endpoints is None:
            endpoints = same[connects] = EndpointSet(
                target,
                limits=self._unpooled if isinstance(target, PortTarget) else self._pool,
                deadlines=self._deadlines,
                dialer=self._dialer,
                prober=self._prober,
                rule=self._rules.get(target.pool, self._usual),
                clock=self._clock,
            )
            endpoints.update(self._backends.get(key), self._backends.trouble(key))
        return endpoints

    def _remove(self, endpoints: EndpointSet) -> None:
        """No route speaks to these backends in this way any more: close what is idle, and let exchanges end."""
        same = self._endpoints[endpoints.key]
        del same[endpoints.connects]
        if not same:
            del self._endpoints[endpoints.key]
        endpoints.update(())
        self._removed.append(endpoints)

    def _share_out(self, apps: int) -> None:
        """If there are several applications, limit each to half of the connections, so that overload of one leaves some for the
        others."""
        share = max(1, self._most_clients // 2) if apps > 1 else UNBOUNDED
        if share != self._share:
            self._share = share
            for app in self.apps.values():
                for part in app.parts:
                    part.take_share(share, self._settings)
