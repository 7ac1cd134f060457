"""Applications that wake together, as KEDA sees it: a real scaler on loopback, a played interceptor, KEDA's calls."""

from __future__ import annotations

import statistics
import time

import msgspec
import pytest

from fleet.demand.needs import REMAKE_SECONDS
from fleet.routing.route import Dependency, Route
from fleet.routing.table import RoutingTable
from tests.support.members import PlayedMember, playing
from tests.support.scalers import a_scaler, eventually, route

WAKE_LIMIT = 1.0
"""Seconds; a loaded machine included. What is measured is printed."""
NEVER = 60.0
"""Seconds between pushes that repeat, where only the first counts."""
PERIOD = 0.5
"""Seconds for which an application is active after its last request: less than until an interceptor counts as silent."""
WEB, API, DB = "shop/web", "shop/api", "shop/db"


def needing(app: str, *needs: str, keep_awake: bool = True, **scaling: float) -> Route:
    depends_on = tuple(Dependency(each, keep_awake=keep_awake) for each in needs)
    return msgspec.structs.replace(route(app, **scaling), depends_on=depends_on)


CHAIN = [needing(WEB, API, activity_period=PERIOD), needing(API, DB, activity_period=PERIOD), route(DB, activity_period=PERIOD)]


class Clock:
    """The real time, and what it is ahead of it."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


async def test_all_streams_of_a_chain_get_true_by_the_first_request(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = 20
    chains = [[f"shop/{tier}-{number}" for tier in ("web", "api", "db")] for number in range(rounds)]
    routes = [each for web, api, db in chains for each in (needing(web, api), needing(api, db), route(db))]
    member, firsts, lags = PlayedMember(), list[float](), list[float]()
    async with playing(member), a_scaler(member, routes=routes, reassert_interval=NEVER) as running:
        for apps in chains:
            streams = [await running.keda.pushes(app) for app in apps]
            assert not any([await running.keda.active(app) for app in apps])
            begun = time.monotonic()
            member.set(apps[0], held=1, total=1)
            for stream in streams:
                await stream.until(1)
            firsts.append(streams[0].times[0] - begun)
            lags.append(max(stream.times[0] for stream in streams) - streams[0].times[0])
            assert all([await running.keda.active(app) for app in apps])
    with capsys.disabled():
        print(  # noqa: T201 -- the figure is what a reader of the log wants
            f"\nheld request to pushed true: median {statistics.median(firsts) * 1e3:.2f} ms; the last of two dependencies "
            f"{statistics.median(lags) * 1e3:.2f} ms later"
        )
    assert statistics.median(lags) < WAKE_LIMIT


async def test_a_dependency_is_active_with_its_dependent_and_scales_on_its_own() -> None:
    member, clock = PlayedMember(), Clock()
    async with playing(member), a_scaler(member, routes=CHAIN, clock=clock) as running:
        keda = running.keda
        member.set(WEB, in_flight=7, total=7)
        await eventually(lambda: running.scaler._demand.level(WEB) == 7)
        assert [await keda.active(app) for app in (WEB, API, DB)] == [True] * 3
        assert [await keda.value(app) for app in (API, DB)] == [0.001, 0.001]
        member.set(DB, in_flight=3, total=3)
        await eventually(lambda: running.scaler._demand.level(DB) == 3)
        assert [await keda.value(app) for app in (API, DB)] == [0.001, 3.0]
        member.set(DB, total=3)
        member.set(WEB, total=7)
        await eventually(lambda: running.scaler._demand.level(WEB) == running.scaler._demand.level(DB) == 0)
        clock.ahead += PERIOD
        assert [await keda.active(app) for app in (WEB, API, DB)] == [False] * 3
        assert await keda.value(API) == 0.0


async def test_pushes_to_a_dependency_are_repeated_while_its_dependent_holds_requests() -> None:
    member, clock = PlayedMember(), Clock()
    routes = [needing(WEB, DB, keep_awake=False, activity_period=NEVER), route(DB)]
    async with playing(member), a_scaler(member, routes=routes, reassert_interval=0.2, clock=clock) as running:
        pushes = await running.keda.pushes(DB)
        member.set(WEB, held=1, total=1)
        await pushes.until(3)
        assert await running.keda.active(DB)
        member.set(WEB, in_flight=1, total=1)
        await eventually(lambda: running.scaler._demand.held(WEB) == 0)
        clock.ahead += REMAKE_SECONDS
        assert not await running.keda.active(DB)
        assert await running.keda.active(WEB)


async def test_a_dependency_that_the_table_gets_later_is_pushed_for_the_demand_that_there_is() -> None:
    member = PlayedMember()
    async with playing(member), a_scaler(member, routes=[route(WEB), route(DB)], reassert_interval=NEVER) as running:
        member.set(WEB, in_flight=1, total=1)
        await eventually(lambda: running.scaler._demand.level(WEB) == 1)
        pushes = await running.keda.pushes(DB)
        assert not await running.keda.active(DB)
        running.routes.set(RoutingTable([needing(WEB, DB), route(DB)]))
        await pushes.until(1)
        assert await running.keda.active(DB)
