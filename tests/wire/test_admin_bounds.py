"""Bounds of the Admin API that only many callers, or a large chart, come to: each made small, so that few come to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from controller.admin import busystore, server
from controller.admin.authentication import Caller
from controller.admin.authorization import Authorizer
from controller.admin.busystore import BusyStore, Overloaded
from controller.admin.releases import guard
from controller.admin.releases.guard import Guard
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until
from tests.wire.admin import admin, new_api

CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"
LEASES = "/api/v1/namespaces/weir-system/configmaps"


async def test_changes_of_leases_that_wait_for_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busystore, "MAX_WAITING", 3)
    api = MemoryApi()
    api.slow[LEASES] = asyncio.Event()
    store = BusyStore(api, "weir-system", "weir-busy-leases", wall=lambda: 1000.0)
    writing = asyncio.create_task(store.change("shop/web", "first", 2000.0))
    await until(lambda: LEASES in api.reads)  # its write is under way, and waits for the API server
    waiting = [asyncio.create_task(store.change("shop/web", f"pod-{number}", 2000.0)) for number in range(3)]
    await until(lambda: len(store._waiting) == 3)
    with pytest.raises(Overloaded):
        async with asyncio.timeout(60):
            await store.change("shop/web", "one more", 2000.0)
    api.slow[LEASES].set()
    assert await asyncio.gather(writing, *waiting) == [True] * 4
    assert await store.change("shop/web", "one more", 2000.0), "there is room again"
    await store.close()


async def test_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)
    async with admin(new_api(), tmp_path / "routes.json") as rig:
        assert (await rig.call("GET")).status_code == 200  # and keeps its connection: one
        idle = [await asyncio.open_connection("127.0.0.1", rig.controller.admin_port) for _ in range(3)]
        answered = [await rig.call("GET")]
        async with httpx.AsyncClient(base_url=rig.client.base_url, trust_env=False, timeout=60) as another:
            answered.append(await another.get("/openapi.json"))
        assert [answer.status_code for answer in answered] == [503, 503]
        for _, writer in idle:
            writer.close()
        listening = rig.controller._admin._server  # type: ignore[union-attr]
        await until(lambda: len(listening.server_state.connections) < 3)  # type: ignore[union-attr]
        assert (await rig.call("GET")).status_code == 200


async def test_bytes_of_an_object_that_helm_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_BODY", 4096)
    api = new_api()
    guarded = Guard(api, Authorizer(api), ())
    await guarded.start()
    try:
        url = guarded.url(guarded.open(Caller(username="adam"))) + CONFIG_MAPS
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:

            async def write(name: str, size: int) -> httpx.Response:
                return await client.post(url, json={"metadata": {"name": name}, "data": {"text": "x" * size}})

            async def pieces() -> object:
                for _ in range(100):
                    yield b" " * 1000

            assert (await write("small", 2000)).status_code == 201
            large = await write("large", 4096)
            unannounced = await client.post(url, content=pieces())  # type: ignore[arg-type]
        for answer in (large, unannounced):
            assert (answer.status_code, answer.json()["reason"]) == (413, "RequestEntityTooLarge"), answer.text
        assert [path for path in api.objects if path.startswith(CONFIG_MAPS)] == [f"{CONFIG_MAPS}/small"]
    finally:
        await guarded.stop()
