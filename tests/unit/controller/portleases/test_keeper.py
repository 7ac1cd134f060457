"""Leases that follow their objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller.portleases.keeper import LeaseKeeper
from controller.portleases.lease import Holder, PortLease
from controller.portleases.store import PortStore
from controller.resources import Key
from controller.world import World
from fleet.discovery.kubernetes.client import ApiError
from fleet.discovery.kubernetes.listwatch import Timing
from tests.support.apply_api import ApplyApi
from tests.support.port_leases import LEASES, entry, leased, limits, stores, wanted
from tests.support.waiting import turns, until
from tests.unit.controller.objects import raw

HTTP = "/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects"
REDIS = Key("HTTPScaledObject", "shop", "redis")
TIME = 1e9


class Rig:
    def __init__(self, api: ApplyApi, world: World, store: PortStore, keeper: LeaseKeeper, later: dict[Key, float]) -> None:
        self.api, self.world, self.store, self.keeper, self.later = api, world, store, keeper, later
        self.leads = True
        self.now = TIME

    async def put(self, *ports: dict[str, Any], name: str = "redis", uid: str = "uid-redis") -> None:
        """An object, and what the queue does because of it."""
        spec = {"scaleTargetRef": {"name": name, "service": name, "port": 6379}, "ports": list(ports)}
        self.api.put(f"{HTTP}/{name}", spec=spec, metadata={"uid": uid})
        await turns()
        await self.keep(name)

    async def keep(self, name: str = "redis") -> None:
        await self.keeper.keep(Key("HTTPScaledObject", "shop", name))
        await turns()

    async def sweep(self) -> None:
        await self.keeper._sweep()
        await turns()

    def holders(self) -> dict[str, str]:
        """Names of leases, and the uids of those that they are for."""
        found = [held["metadata"]["annotations"] for path, held in self.api.objects.items() if path.startswith(LEASES)]
        return {said["weir.dev/port-name"]: said.get("weir.dev/port-app-uid", "") for said in found}


@asynccontextmanager
async def keeping(api: ApplyApi) -> AsyncIterator[Rig]:
    later: dict[Key, float] = {}
    world = World(api, ("shop",), timing=Timing(), on_object=lambda key: None, on_routes=lambda: None)
    rig: list[Rig] = []
    async with stores(api, limits()) as [store]:
        keeper = LeaseKeeper(
            api,
            world,
            store._source,
            store,
            later=later.__setitem__,
            leads=lambda: rig[0].leads,
            wall=lambda: rig[0].now,
        )
        rig.append(Rig(api, world, store, keeper, later))
        world.start()
        try:
            await until(lambda: not world.unread)
            yield rig[0]
        finally:
            await world.close()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    api = ApplyApi()
    entry(api)
    async with keeping(api) as held:
        yield held


async def test_an_object_gets_the_lease_that_it_names_and_loses_it_with_the_name(rig: Rig) -> None:
    await rig.put({"lease": "redis"}, {"lease": "second", "protocol": "UDP"})
    assert rig.holders() == {"redis": "uid-redis", "second": "uid-redis"}
    before = leased(rig.api)
    await rig.put({"lease": "redis"})
    assert rig.holders() == {"redis": "uid-redis"}
    assert leased(rig.api).items() <= before.items()
    writes = len(rig.api.writes)
    await rig.keep()
    assert len(rig.api.writes) == writes, "nothing is written where nothing has to be"


async def test_it_is_freed_with_its_object(rig: Rig) -> None:
    await rig.put({"lease": "redis"})
    await rig.sweep()
    assert rig.holders() == {"redis": "uid-redis"}
    rig.api.drop(f"{HTTP}/redis")
    await turns()
    await rig.keep()
    assert rig.holders() == {}


async def test_a_leader_who_was_not_there_when_it_went_finds_it(rig: Rig) -> None:
    """Also if another object of the same name came meanwhile, which names no port."""
    holder = Holder(REDIS, "uid-of-one-before", "http.keda.sh/v1alpha1")
    await rig.store.lease(wanted("redis", holder=holder))
    gone = Holder(Key("InterceptorRoute", "shop", "gone"), "uid-gone", "http.keda.sh/v1beta1")
    await rig.store.lease(wanted("gone", holder=gone))
    await rig.put({"port": 1})
    await rig.sweep()
    assert rig.holders() == {}


async def test_a_route_that_takes_the_place_of_an_object_takes_its_lease(rig: Rig) -> None:
    await rig.put({"lease": "redis"})
    before = leased(rig.api)
    path = f"{HTTP.replace('v1alpha1', 'v1beta1').rpartition('/')[0]}/interceptorroutes/redis"
    spec = {"target": {"service": "redis", "port": 6379}, "scalingMetric": {"concurrency": {}}, "ports": [{"lease": "redis"}]}
    rig.api.put(path, spec=spec, metadata={"uid": "uid-route"})
    await turns()
    await rig.keeper.keep(Key("InterceptorRoute", "shop", "redis"))
    await turns()
    await rig.keep()
    await rig.sweep()
    assert (rig.holders(), leased(rig.api)) == ({"redis": "uid-route"}, before)


async def test_an_object_made_anew_keeps_the_port(rig: Rig) -> None:
    await rig.put({"lease": "redis"})
    before = leased(rig.api)
    rig.api.drop(f"{HTTP}/redis")
    await rig.put({"lease": "redis"}, uid="uid-after")
    assert (rig.holders(), leased(rig.api)) == ({"redis": "uid-after"}, before)


async def test_the_watch_may_be_behind(rig: Rig) -> None:
    """A lease of an object that this controller does not see yet stays: the API server is asked."""
    holder = Holder(REDIS, "uid-redis", "http.keda.sh/v1alpha1")
    await rig.store.lease(wanted("redis", holder=holder, by_route=True))
    spec = {"scaleTargetRef": {"name": "redis", "service": "redis", "port": 6379}, "ports": [{"lease": "redis"}]}
    unread = json.dumps({"items": [raw("redis", spec=spec)]}).encode()
    kept = rig.api.get

    async def get(path: str, query: Any = ()) -> bytes:
        return unread if path == HTTP and query else await kept(path, query)

    rig.api.get = get  # type: ignore[method-assign]
    await turns()
    await rig.sweep()
    assert rig.holders() == {"redis": "uid-redis"}
    rig.api.get = kept  # type: ignore[method-assign]
    rig.api.refuse = lambda method, path: ApiError("down") if method == "GET" and path == HTTP else None
    await rig.sweep()
    assert rig.holders() == {"redis": "uid-redis"}, "not known is not gone"
    rig.api.refuse = lambda method, path: None
    await rig.sweep()
    assert rig.holders() == {}


async def test_a_lease_by_a_call_is_bound_by_name_and_by_number_and_stays_when_the_name_goes(rig: Rig) -> None:
    named, _ = await rig.store.lease(wanted("redis"))
    numbered, _ = await rig.store.lease(wanted("other"))
    foreign, _ = await rig.store.lease(wanted("redis", "elsewhere"))
    await turns()
    await rig.put({"lease": "redis"}, {"port": numbered.port.port}, {"port": foreign.port.port})
    now = await rig.store.read()
    assert (now[named.port].holder, now[named.port].until) == (REDIS, None)
    assert (now[numbered.port].holder, now[foreign.port].holder) == (REDIS, None)
    await rig.put({"port": 1})
    await rig.sweep()
    assert set(await rig.store.read()) == {named.port, numbered.port, foreign.port}, "whoever has leased them releases them"


async def test_what_nothing_uses_ends(rig: Rig) -> None:
    await rig.store.lease(wanted("short", seconds=30))
    await rig.store.lease(wanted("long", seconds=90))
    await turns()
    rig.now = TIME + 29
    await rig.sweep()
    assert set(rig.holders()) == {"short", "long"}
    rig.now = TIME + 30
    await rig.sweep()
    assert set(rig.holders()) == {"long"}


async def test_what_is_used_at_the_last_moment_stays(rig: Rig) -> None:
    """The sweep has an old version, which the API server does not delete."""
    first, _ = await rig.store.lease(wanted("redis", seconds=1))
    await turns()
    kept = rig.store.release

    async def release(lease: PortLease) -> None:
        rig.store.release = kept  # type: ignore[method-assign]
        await rig.store.change(first, Holder(REDIS, "uid-redis", "http.keda.sh/v1alpha1"))
        await kept(lease)

    rig.store.release = release  # type: ignore[method-assign]
    rig.now = TIME + 60
    await rig.sweep()
    assert rig.holders() == {"redis": "uid-redis"}


async def test_an_exhausted_range_is_told_and_tried_again(rig: Rig) -> None:
    await asyncio.gather(*(rig.store.lease(wanted(f"other-{number}")) for number in range(50)))
    await rig.put({"lease": "redis"})
    assert rig.keeper.troubles == {REDIS: "no TCP port between 20000 and 20049 is left"}
    assert rig.later[REDIS] > 0
    await rig.store.release(next(iter((await rig.store.read()).values())))
    await rig.keep()
    assert (rig.keeper.troubles, rig.holders()["redis"]) == ({}, "uid-redis")


async def test_a_port_that_there_is_not_keeps_no_other_from_being_leased(rig: Rig) -> None:
    await rig.put({"lease": "redis", "entry": "nowhere"}, {"lease": "second"})
    assert rig.keeper.troubles == {REDIS: "no such entry; there are: weir-system/weir-interceptor"}
    assert rig.holders() == {"second": "uid-redis"}


async def test_a_refusal_is_told_and_repeated(rig: Rig) -> None:
    rig.api.refuse = lambda method, path: ApiError("POST leases: 403 may not", status=403) if method == "POST" else None
    with pytest.raises(ApiError, match="may not"):
        await rig.put({"lease": "redis"})
    assert rig.keeper.troubles == {REDIS: "POST leases: 403 may not"}


async def test_an_invalid_object_keeps_its_port(rig: Rig) -> None:
    await rig.put({"lease": "redis"})
    await rig.put({"lease": "redis", "alpn": ["no space"]})
    await rig.sweep()
    assert rig.holders() == {"redis": "uid-redis"}


async def test_of_two_leases_of_a_name_the_younger_ends(rig: Rig) -> None:
    """Two leaders may have made them, one of which had been suspended."""
    await rig.put({"lease": "redis"})
    path, held = next((path, held) for path, held in rig.api.objects.items() if path.startswith(LEASES))
    name = "weir-port-tcp-20001" if not path.endswith("20001") else "weir-port-tcp-20002"
    metadata = held["metadata"] | {"name": name, "uid": "uid-second", "creationTimestamp": "2030-01-01T00:00:00Z"}
    rig.api.put(f"{LEASES}/{name}", spec=held["spec"], metadata=metadata)
    await turns()
    await rig.keep()
    assert list(leased(rig.api)) == [path.rpartition("/")[2]]


async def test_without_leading_nothing_is_written(rig: Rig) -> None:
    rig.leads = False
    await rig.put({"lease": "redis"})
    await rig.sweep()
    assert rig.holders() == {}
