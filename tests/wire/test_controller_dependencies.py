"""A whole term of the controller: what it says of objects that wake together, by what KEDA says of them."""

from pathlib import Path
from typing import Any

import pytest

from fleet.routing.codec import decode_json
from tests.support.memory_api import MemoryApi
from tests.wire.test_controller import SCALED, Rig, rig


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


def keda_says(api: MemoryApi, name: str, active: str) -> None:
    """Of the ScaledObject that the controller has made."""
    conditions = [{"type": "Ready", "status": "True"}, {"type": "Active", "status": active}]
    api.put(f"{SCALED}/{name}", **{**api.objects[f"{SCALED}/{name}"], "status": {"conditions": conditions}})


async def until_said(held: Rig, path: str, kind: str, reason: str, message: str = "") -> dict[str, Any]:
    def said() -> bool:
        found = held.conditions(path).get(kind, {})
        return bool(found.get("reason") == reason and message in ("", found.get("message")))

    await held.until(said)
    found: dict[str, Any] = held.conditions(path)
    return found


async def test_what_wakes_with_an_object_and_what_keeps_one_awake(api: MemoryApi, tmp_path: Path) -> None:
    table = tmp_path / "routes.json"
    async with rig(api, table) as held:
        web = held.app("web", dependsOn=["api", {"name": "log", "keepAwake": False}])
        await until_said(
            held, web, "Dependencies", "NotFound", "nothing of the name api, log is served in this namespace; it cannot wake"
        )
        middle, log, db = held.app("api", dependsOn=["db"]), held.app("log"), held.app("db")
        found = await until_said(held, web, "Dependencies", "Found", "wakes with this: api, log")
        assert found["Dependencies"]["status"] == "True"
        await until_said(held, db, "Needed", "NoDemand")
        assert "Needed" not in held.conditions(log)
        assert [each.app for each in decode_json(table.read_bytes()).dependencies.needs["shop/web"]] == ["shop/api", "shop/log"]
        await held.until(lambda: {f"{SCALED}/{name}" for name in ("web", "api", "log", "db")} <= api.objects.keys())
        for name in ("web", "api", "log", "db"):
            keda_says(api, name, "False")
        keda_says(api, "web", "True")
        await until_said(held, middle, "Needed", "AwakeFor", "awake for web")
        await until_said(held, db, "Needed", "AwakeFor", "awake for web")
        keda_says(api, "web", "False")
        await until_said(held, db, "Needed", "NoDemand")
        api.drop(web)
        await held.until(lambda: "Needed" not in held.conditions(middle))


async def test_a_circle_is_refused_and_requests_are_still_routed(api: MemoryApi, tmp_path: Path) -> None:
    table = tmp_path / "routes.json"
    async with rig(api, table) as held:
        web, db = held.app("web", dependsOn=["db"]), held.app("db", dependsOn=["web"])
        words = "what these need of each other is left out, for all of them: db -> web -> db"
        for path in (web, db):
            found = await until_said(held, path, "Dependencies", "Circle", words)
            assert found["Dependencies"]["status"] == "False"
        assert decode_json(table.read_bytes()).dependencies.needs == {}
        for name in ("web", "db"):
            held.keda_is_ready(name)
        await held.until(lambda: held.conditions(web)["Ready"]["status"] == "True")
        held.app("db")
        await until_said(held, web, "Dependencies", "Found", "wakes with this: db")
