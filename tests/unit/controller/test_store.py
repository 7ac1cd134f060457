import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controller.store import ConfigMapStore, FileStore
from fleet.discovery.kubernetes import tableformat
from fleet.discovery.sources import SourceError
from fleet.routing.codec import decode_json
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.support.full import FULL
from tests.support.memory_api import MemoryApi

MAIN = "/api/v1/namespaces/weir-system/configmaps/weir-routing-table"
PATHS, LIMIT = (1500, tableformat.MAX_DATA_BYTES) if FULL else (30, 2_000)
"""Bytes of each of sixty routes, and of a ConfigMap: the table needs several."""


def documents(name: str, table: RoutingTable) -> tuple[tableformat.Document, ...]:
    return tableformat.documents(name, table, limit=LIMIT)


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.store.documents", documents)


def table(*names: str, paths: int = 1) -> RoutingTable:
    rules = [(Rule((f"{name}.example.com",), tuple(f"/{name}/{number}" for number in range(paths))),) for name in names]
    return RoutingTable(Route(f"shop/{name}", Target(f"shop/{name}", 80), rule) for name, rule in zip(names, rules, strict=True))


@asynccontextmanager
async def store(api: MemoryApi) -> AsyncIterator[ConfigMapStore]:
    made = ConfigMapStore(api, "weir-system", "weir-routing-table")
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def test_written_once_whoever_asks() -> None:
    api = MemoryApi()
    async with store(api) as first:
        assert await first.write(table("a", "b"))
        assert not await first.write(table("b", "a"))
    async with store(api) as second:
        assert not await second.write(table("a", "b"))
        assert await second.write(table("a"))
    assert [method for method, _, _ in api.writes] == ["PATCH", "PATCH"]
    assert decode_json(api.objects[MAIN]["data"]["table.json"].encode()).version == table("a").version


async def test_what_is_kept_is_read_again_by_another() -> None:
    api = MemoryApi()
    large = table(*(f"app{number}" for number in range(60)), paths=PATHS)
    assert len(documents("x", large)) > 1
    for written in (table("a"), large):
        async with store(api) as first:
            await first.write(table("before"))
            await first.write(written)
        async with store(api) as second:
            found = await second.read()
            assert found is not None
            assert (found.version, found.apps) == (written.version, written.apps)


async def test_what_cannot_be_read_is_said() -> None:
    api = MemoryApi()
    async with store(api) as kept:
        assert await kept.read() is None
    api.put(MAIN, data={"table.json": "{"})
    async with store(api) as kept:
        with pytest.raises(SourceError, match="configmap weir-system/weir-routing-table"):
            await kept.read()


async def test_a_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    kept = FileStore(path)
    assert await kept.read() is None
    await kept.write(table("a"))
    found = await FileStore(path).read()
    assert found is not None
    assert found.apps == table("a").apps
    path.write_text("{")
    with pytest.raises(SourceError, match=r"routes\.json"):
        await kept.read()


async def test_what_others_change_is_reported_and_put_right() -> None:
    api = MemoryApi()
    async with store(api) as kept:
        told = asyncio.Event()
        kept.subscribe(told.set)
        await kept.write(table("a"))
        for spoil in (lambda: api.put(MAIN, data={"table.json": "{}"}), lambda: api.drop(MAIN)):
            told.clear()
            spoil()
            async with asyncio.timeout(60):
                await told.wait()
            assert await kept.write(table("a"))
            assert not await kept.write(table("a"))
    assert decode_json(api.objects[MAIN]["data"]["table.json"].encode()).version == table("a").version


async def test_a_large_table_is_in_shards_and_older_shards_go() -> None:
    api = MemoryApi()
    large = [table(*(f"app{number}" for number in range(60)), paths=PATHS + more) for more in range(4)]
    assert len(documents("x", large[0])) > 1
    async with store(api) as kept:
        names = []
        for one in large:
            assert await kept.write(one)
            names.append({path for path in api.objects if path != MAIN})
        first, _, _, last = ({document.name for document in documents("weir-routing-table", one)} for one in large)
        assert api.writes[-1][0] in ("PATCH", "DELETE")
        present = {path.rpartition("/")[2] for path in api.objects}
        assert last <= present
        assert not (first - {"weir-routing-table"}) & present
        data = api.objects[MAIN]["data"]
        index = tableformat.index_of(data)
        shards = {name: api.objects[MAIN.replace("weir-routing-table", name)]["binaryData"] for name in index.shards}
        assert tableformat.whole(index, shards).version == large[-1].version
        assert await kept.write(table("small"))
        assert "index.json" not in api.objects[MAIN]["data"]


async def test_a_file(tmp_path: Path) -> None:
    kept = FileStore(tmp_path / "routes.json")
    await kept.start()
    assert await kept.write(table("a"))
    assert not await kept.write(table("a"))
    assert decode_json((tmp_path / "routes.json").read_bytes()).version == table("a").version
    await kept.close()
