"""Random exchanges with random faults on both sides, while routes and backends change, all by the dice of one seed.

Whatever happens: nobody has another's answer, nothing that may be sent once is sent twice, no backend has more than it may have
at once, and when all is over every count of the interceptor is back at zero.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.route import (
    Affinity,
    ColdStart,
    HeaderMatch,
    Placeholder,
    Protection,
    Route,
    Rule,
    Scaling,
    StaticResponse,
    StaticRoute,
    Target,
    Timeouts,
)
from interceptor.app.app import App
from interceptor.backends.endpoint import Endpoint
from tests.support.full import FULL
from tests.support.raw_requests import get
from tests.wire.proxy_backend import RawBackend
from tests.wire.proxy_rig import Rig, eventually, proxy_rig
from tests.wire.random_clients import APPS, EXCHANGES, Clients
from tests.wire.random_origin import Origin, pause

SEEDS = range(1, 31) if FULL else range(1, 3)
BACKENDS = 4
CEILING = 3
"""Requests that a backend of the bounded application has at once, whatever changes."""
KEYS = ("default/plain", "default/bounded", "default/sticky", "default/shared", "default/fallback")
SETTINGS: dict[str, Any] = {
    "head_timeout": 0.5, "keep_alive_timeout": 0.5, "backend_idle_timeout": 0.4, "max_held": 12, "max_idle_per_backend": 4,
    "max_early_bytes": 128 * 1024,
}  # fmt: skip
DEAD = Backend("127.0.0.1", 1)


def app_route(dice: Random, name: str) -> Route:
    """One of the ways in which a route may be written. Its ceiling never changes."""
    target = Target(
        dice.choice((f"default/{name}", f"default/{name}", "default/shared")) if name != "bounded" else "default/bounded"
    )
    limits = Timeouts(
        readiness=dice.choice((0.1, 0.5)), connect=0.2, response_header=dice.choice((0.2, 0.5)),
        request=dice.choice((None, None, 0.6)), idle=dice.choice((0.2, 0.5)),
    )  # fmt: skip
    cold = ColdStart(
        placeholder=Placeholder(StaticResponse(status=503)) if dice.random() < 0.1 else None,
        fallback=Target("default/fallback") if dice.random() < 0.3 else None,
        max_held=dice.choice((None, 3)),
    )
    static = StaticRoute(StaticResponse(status=418), rules=(Rule(headers=(HeaderMatch("accept"),)),), always=dice.random() < 0.5)
    return Route(
        app=f"default/{name}", target=target, rules=(Rule(hosts=(f"{name}.test",)),), timeouts=limits, cold_start=cold,
        scaling=Scaling(concurrency=dice.choice((1, 5))), server_timing=dice.random() < 0.3,
        maintenance=StaticResponse() if dice.random() < 0.03 else None,
        static_routes=(static,) if dice.random() < 0.2 else (),
        affinity=Affinity(cookie="where") if name == "sticky" else None,
        protection=Protection(
            backend_concurrency=CEILING if name == "bounded" else dice.choice((None, 0)),
            readiness_path="/ready" if dice.random() < 0.3 else None, max_requests=dice.choice((None, 10)),
        ),
    )  # fmt: skip


class Churn:
    """Changes routes and backends until it is told to stop."""

    def __init__(self, rig: Rig, seed: int, silent: Backend) -> None:
        self.rig = rig
        self.silent = silent
        self.dice = Random(f"{seed} churn")
        self.most = 0
        """Requests that a backend of the bounded application had at once."""
        self._apps: set[App] = set()
        self._endpoints: set[Endpoint] = set()
        self.task = asyncio.create_task(self._run(), name="churn")

    async def _run(self) -> None:
        while True:
            self.look()
            self.change()
            await pause(self.dice.random() * 0.15)

    def look(self) -> None:
        self._apps.update(self.rig.interceptor.proxy.apps.values())
        for each in self.rig.endpoints:
            self._endpoints.update(each.endpoints)
            if each.key == "default/bounded":
                self.most = max([self.most, *(endpoint.load for endpoint in each.endpoints)])

    @property
    def loaded(self) -> list[Endpoint]:
        """Of all backends that ever were listed: those on which something is going on."""
        return [each for each in self._endpoints if each.load or each.dialing]

    @property
    def reasons(self) -> Counter[str]:
        """Why requests were answered in their backends' place, or went to another one, over all applications that there were."""
        met = Counter(fallback=sum(app.stats.fallbacks for app in self._apps))
        for app in self._apps:
            for (reason, _), count in app.stats.own.items():
                met[reason] += count
            met.update(app.stats.cut)
        return met

    def change(self) -> None:
        dice = self.dice
        for key in dice.sample(KEYS, 2):
            listed = dice.sample([backend.backend for backend in self.rig.backends], dice.choice((0, 1, 2, BACKENDS)))
            self.rig.sources.set(key, listed + [DEAD] * (dice.random() < 0.3) + [self.silent] * (dice.random() < 0.2))
        if dice.random() < 0.3:
            self.rig.set_routes(*(app_route(dice, name) for name in APPS if dice.random() < 0.9))

    async def clear_up(self) -> None:
        """All is well and stays so: every application is there, at one good backend."""
        self.task.cancel()
        good = RawBackend()
        await good.start()
        self.rig.backends.append(good)
        self.rig.set_routes(
            *(
                Route(app=f"default/{name}", target=Target("default/good"), rules=(Rule(hosts=(f"{name}.test",)),))
                for name in APPS
            )
        )
        self.rig.sources.set("default/good", [good.backend])


async def nothing_is_left(rig: Rig) -> None:
    """Beyond what the rig looks at itself."""
    proxy = rig.interceptor.proxy
    await rig.settle()
    await eventually(lambda: not rig.pooled)
    await eventually(lambda: not len(proxy.deadlines))
    assert (proxy.early.total, len(proxy.early), len(proxy.hangups)) == (0, 0, 0)
    assert not proxy.outbox.waiting
    await eventually(lambda: not proxy.probes._tasks)
    assert [each.key for each in rig.endpoints] == ["default/good"]
    assert not any(each.waiting_apps or each._leaving or each.probing for each in rig.endpoints)
    await eventually(lambda: not rig.connections_open)


@asynccontextmanager
async def under_way(seed: int, silent: Backend, **settings: Any) -> AsyncIterator[tuple[Rig, Clients, Churn]]:
    """An interceptor, who is about to ask things of it, and what changes meanwhile."""
    dice, origin = Random(f"{seed} routes"), Origin(seed)
    routes = [app_route(dice, name) for name in APPS]
    async with proxy_rig(origin, routes=routes, backends=0, settle=False, **SETTINGS, **settings) as rig:
        for _ in range(BACKENDS):
            await rig.backend(origin, listed=False)
        churn = Churn(rig, seed, silent)
        for key in KEYS:
            rig.sources.set(key, [backend.backend for backend in rig.backends])
        try:
            yield rig, Clients(rig, origin, seed), churn
        finally:
            churn.task.cancel()


def nobody_was_wronged(clients: Clients, churn: Churn) -> None:
    origin = clients.origin
    assert not origin.failures, "\n".join(origin.failures)
    assert not [name for name in clients.once if origin.heads[name] > 1]
    assert 0 < churn.most <= CEILING


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_answers_are_ones_own_and_nothing_is_left(seed: int, silent: Backend) -> None:
    async with under_way(seed, silent) as (rig, clients, churn):
        await clients.run()
        nobody_was_wronged(clients, churn)
        assert clients.tally["200"] > EXCHANGES / 4, clients.tally
        assert len(+churn.reasons) > 5, churn.reasons
        await churn.clear_up()
        await nothing_is_left(rig)
        assert not churn.loaded
        for name in APPS:
            client = await rig.client()
            assert (await client.ask(get(host=name.encode() + b".test"))).status == 200


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_drain_whatever_happens_leaves_nothing(seed: int, silent: Backend) -> None:
    """In the middle of it all. Who waits until the end is told so, and what does not end is cut."""
    async with under_way(seed, silent, drain_delay=0.1, drain_timeout=0.8) as (rig, clients, churn):
        running = asyncio.create_task(clients.run())
        await pause(0.3 + Random(f"{seed} drain").random() * 0.5)
        await rig.interceptor.drain()
        await rig.interceptor.close()
        clients.numbers = iter(())
        await running
        nobody_was_wronged(clients, churn)
        assert clients.tally["200"], clients.tally
        await eventually(rig.ledger.balanced)
        proxy = rig.interceptor.proxy
        assert not any(app.room for app in proxy.apps.values())
        assert not churn.loaded
        assert (len(proxy.clients), proxy.early.total, len(proxy.hangups)) == (0, 0, 0)
        await eventually(lambda: not rig.connections_open)
