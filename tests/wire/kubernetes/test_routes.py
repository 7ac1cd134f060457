"""The routing table from ConfigMaps of a server: followed, kept when it goes wrong, put together from shards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fleet.discovery.kubernetes import tableformat
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.discovery.kubernetes.routes import KubernetesRoutes
from fleet.discovery.sources import SourceError
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.support.apiserver import ApiServer
from tests.support.waiting import turns, until

QUICK = Timing(resync=3600, first_pause=0.01, longest_pause=0.05, silence=3600)
MAPS = "/api/v1/namespaces/weir-system/configmaps"


def table(*apps: str) -> RoutingTable:
    return RoutingTable(Route(f"default/{app}", Target(f"default/{app}", 80), (Rule((f"{app}.test",)),)) for app in apps)


def write(server: ApiServer, one: RoutingTable, *, limit: int = 10_000, without: int | None = None) -> None:
    for number, document in enumerate(tableformat.documents("table", one, limit=limit)):
        if number != without:
            server.put(f"{MAPS}/{document.name}", data=dict(document.data), binaryData=dict(document.binary_data))


@asynccontextmanager
async def following(api: Api, timing: Timing = QUICK) -> AsyncIterator[KubernetesRoutes]:
    routes = KubernetesRoutes(api, "weir-system", "table", timing=timing)
    await routes.start()
    try:
        yield routes
    finally:
        await routes.close()


async def test_it_is_there_after_the_start_and_follows_the_map(server: ApiServer, api: Api) -> None:
    write(server, table("a"))
    server.put(f"{MAPS}/other", data={"table.json": "{}"})
    async with following(api) as routes:
        assert routes.current is not None
        assert routes.current.version == table("a").version
        told: list[str] = []
        routes.subscribe(lambda table: told.append(table.version))
        await until(lambda: server.watches)
        write(server, table("a", "b"))
        await until(lambda: told)
        assert told == [table("a", "b").version] == [routes.current.version]
        assert all(request.query["fieldSelector"] == "metadata.name=table" for request in server.requests), "one map is asked for"


async def test_shards_are_put_together(server: ApiServer, api: Api) -> None:
    apps = [f"app-{number}" for number in range(50)]
    async with following(api) as routes:
        assert routes.current is None
        await until(lambda: server.watches)
        write(server, table(*apps), limit=100)
        await until(lambda: routes.current)
        assert routes.current is not None
        assert routes.current.version == table(*apps).version
        gets = len(server.requests)
        await routes.refresh()
        assert len(server.requests) == gets + 1, "shards of a version that is served are not got again"


async def test_a_table_that_is_not_whole_waits_until_it_is(server: ApiServer, api: Api) -> None:
    write(server, table("old"))
    async with following(api) as routes:
        await until(lambda: server.watches)
        one = table(*(f"app-{number}" for number in range(50)))
        write(server, one, limit=200, without=1)
        missing = tableformat.documents("table", one, limit=200)[1]
        await until(lambda: [request for request in server.requests if request.path.endswith(missing.name)])
        await turns()
        assert routes.current is not None
        assert routes.current.version == table("old").version
        with pytest.raises(ApiError, match="404"):
            await routes.refresh()
        server.put(f"{MAPS}/{missing.name}", binaryData=dict(missing.binary_data))
        await until(lambda: routes.current and routes.current.version == one.version)


@pytest.mark.parametrize("content", ["{", '{"routes":[{"app":"x","target":{"service":"default/x"}}]}', None])
async def test_what_is_wrong_keeps_the_last_good_one(
    server: ApiServer, api: Api, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    write(server, table("a"))
    async with following(api) as routes:
        await until(lambda: server.watches)
        if content is None:
            server.delete(f"{MAPS}/table")
        else:
            server.put(f"{MAPS}/table", data={"table.json": content})
        await until(lambda: caplog.records)
        assert "configmap weir-system/table: " in caplog.text
        assert "the last good one stays" in caplog.text
        with pytest.raises(SourceError, match="configmap weir-system/table: "):
            await routes.refresh()
        assert len(caplog.records) == 1, "told once"
        assert routes.current is not None
        assert routes.current.version == table("a").version
        write(server, table("b"))
        await until(lambda: routes.current and routes.current.version == table("b").version)


async def test_refresh_reads_what_the_watch_has_not_told(server: ApiServer, api: Api) -> None:
    write(server, table("a"))
    async with following(api) as routes:
        await until(lambda: server.watches)
        server.watches[0].muted = True
        write(server, table("b"))
        await routes.refresh()
        assert routes.current is not None
        assert routes.current.version == table("b").version


async def test_refresh_says_that_the_server_is_away(server: ApiServer, api: Api) -> None:
    write(server, table("a"))
    async with following(api) as routes:
        await server.down()
        with pytest.raises(SourceError):
            await routes.refresh()
        assert routes.current is not None
        await server.up()


async def test_with_the_watch_cut_a_change_is_seen_within_the_resync(server: ApiServer, api: Api) -> None:
    write(server, table("a"))
    async with following(api, Timing(resync=0.1, silence=3600)) as routes:
        await until(lambda: server.watches)
        server.watches[0].muted = True
        write(server, table("b"))
        await until(lambda: routes.current and routes.current.version == table("b").version, seconds=1.5)


async def test_a_server_that_is_away_at_the_start_is_waited_for(server: ApiServer, api: Api) -> None:
    write(server, table("a"))
    await server.down()
    async with following(api) as routes:
        assert routes.current is None
        await server.up()
        await until(lambda: routes.current)
