"""Applications and targets of routing tables, without connections: created, kept, changed and removed."""

from __future__ import annotations

from fleet.demand.ledger import Ledger
from fleet.discovery.fixed import FixedBackends
from fleet.discovery.sources import Backend
from fleet.routing.route import ColdStart, Route, Rule, Target
from fleet.routing.table import RoutingTable
from interceptor.app.admission import UNBOUNDED
from interceptor.app.app import App
from interceptor.app.waits import Waits
from interceptor.backends.probes import Probes
from interceptor.core.deadlines import Deadlines
from interceptor.http1.dialer import Http1Dialer
from interceptor.settings import InterceptorSettings
from interceptor.table_apps import TableApps
from interceptor.transport.tcp import Outbox


def route(app: str, service: str = "", *, fallback: str = "") -> Route:
    cold_start = ColdStart(fallback=Target(fallback) if fallback else None)
    return Route(app=app, target=Target(service or app), rules=(Rule(hosts=(f"{app[2:]}.test",)),), cold_start=cold_start)


class Rig:
    def __init__(self) -> None:
        self.swaps: list[tuple[RoutingTable, list[str]]] = []
        self.backends = FixedBackends({"n/a": [Backend("192.0.2.1", 80)]})
        dialer = Http1Dialer(Outbox())
        self.apps = TableApps(
            InterceptorSettings.load(),
            Ledger(),
            self.backends,
            deadlines=Deadlines(0.1, now=0.0),
            waits=Waits(),
            dialer=dialer,
            prober=Probes(dialer, lambda: 0.0),
            clock=lambda: 0.0,
            on_swap=self._swapped,
        )

    def set(self, *routes: Route) -> dict[str, App]:
        self.apps.set_table(RoutingTable(routes))
        return self.apps.apps

    @property
    def targets(self) -> list[str]:
        return sorted(endpoints.key for endpoints in self.apps.endpoint_sets)

    def _swapped(self, table: RoutingTable, apps: dict[str, App]) -> None:
        self.swaps.append((table, sorted(apps)))


async def test_a_table_makes_an_app_for_every_route_and_a_set_for_every_target() -> None:
    rig = Rig()
    apps = rig.set(route("n/a"), route("n/b", "n/a"), route("n/c", fallback="n/d"))
    assert sorted(apps) == ["n/a", "n/b", "n/c"]
    assert rig.targets == ["n/a", "n/c", "n/d"]
    assert [(table.version, names) for table, names in rig.swaps] == [(rig.swaps[0][0].version, sorted(apps))]
    await rig.apps.close()


async def test_what_has_not_changed_is_kept() -> None:
    rig = Rig()
    before = dict(rig.set(route("n/a"), route("n/b")))
    after = rig.set(route("n/a"), route("n/b", "n/c"))
    assert after["n/a"] is before["n/a"]
    assert after["n/b"] is before["n/b"]
    assert after["n/b"].route.target == Target("n/c")
    assert rig.targets == ["n/a", "n/c"]
    await rig.apps.close()


async def test_what_no_route_names_is_let_go() -> None:
    rig = Rig()
    rig.set(route("n/a"), route("n/b"))
    assert sorted(rig.set(route("n/b"))) == ["n/b"]
    assert rig.targets == ["n/b"]
    await rig.apps.close()


async def test_changes_of_a_target_that_nobody_has_are_not_heard() -> None:
    rig = Rig()
    rig.set(route("n/a"))
    rig.apps.backends_changed("n/other")
    rig.apps.backends_changed("n/a")
    assert rig.targets == ["n/a"]
    assert rig.apps.at_work() == {"n/a": {Backend("192.0.2.1", 80): 0}}
    await rig.apps.close()


async def test_without_waiting_requests_none_is_rejected() -> None:
    rig = Rig()
    rig.set(route("n/a"))
    assert rig.apps.reject_held() == 0
    assert rig.apps.missing(rig.apps.apps["n/a"]) is None
    await rig.apps.close()


async def test_one_app_may_have_every_connection_and_of_several_none_more_than_half() -> None:
    rig = Rig()
    rig.set(route("n/a"))
    assert shares(rig) == {UNBOUNDED}
    rig.set(route("n/a"), route("n/b"))
    rig.apps.share_clients(10)
    assert shares(rig) == {5}
    rig.apps.share_clients(1)
    assert shares(rig) == {1}
    await rig.apps.close()


def shares(rig: Rig) -> set[int]:
    return {app.share for app in rig.apps.apps.values()}
