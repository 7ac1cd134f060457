"""A whole term of the controller: what it says of objects that wake together, by what KEDA says of them."""

from pathlib import Path
from typing import Any

import pytest

from controller.suggestions import SUGGESTED
from controller.wakes import Wakes
from fleet.demand.pair import LEAST_WAKES
from fleet.routing.codec import decode_json
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until
from tests.wire.test_controller import SCALED, Rig, rig

SLICES = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


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


def wakes_of(held: Rig) -> Wakes:
    term = held.controller._term
    assert term is not None
    return term._wakes


async def pods(held: Rig, name: str, *ready: bool) -> None:
    """The Service has these pods, and the controller has seen it."""
    endpoints = [
        {
            "addresses": [f"10.0.0.{number}"],
            "conditions": {"ready": one},
            "targetRef": {"kind": "Pod", "name": f"{name}-{number}"},
        }
        for number, one in enumerate(ready)
    ]
    labels = {"kubernetes.io/service-name": name}
    held.api.put(f"{SLICES}/{name}-1", metadata={"labels": labels}, addressType="IPv4", ports=[], endpoints=endpoints)
    phase = "ASLEEP" if not ready else "AWAKE" if any(ready) else "WAKING"
    wakes = wakes_of(held)
    await until(lambda: f"shop/{name}" in wakes._apps and wakes._apps[f"shop/{name}"]._phase.name == phase)


async def chain(held: Rig, *names: str) -> None:
    """Each wakes when the one before it is ready; then all sleep."""
    for name in names:
        await pods(held, name, False)
        await pods(held, name, True)
    for name in names:
        await pods(held, name)


def status_writes(api: MemoryApi) -> int:
    return len([write for write in api.writes if write[1].endswith("/status")])


async def test_a_dependency_that_wakes_suggest(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        web, middle = held.app("web"), held.app("api")
        for name in ("web", "api"):
            await held.until(lambda name=name: f"{SCALED}/{name}" in api.objects)  # type: ignore[misc]
            held.keda_is_ready(name)
            await pods(held, name)
        await held.until_is(web, "Ready", "True")
        for _ in range(LEAST_WAKES - 1):
            await chain(held, "web", "api")
        await held.quiet()
        assert SUGGESTED not in held.conditions(web)
        await chain(held, "web", "api")
        words = (
            "web seems to call api (in about 100 % of its wakes), which woke before web was ready or within 2 s of that: "
            "add dependsOn: [api]"
        )
        found = await until_said(held, web, SUGGESTED, "WokeAfter", words)
        assert (found[SUGGESTED]["status"], found["Ready"]["status"]) == ("True", "True")
        await held.quiet()
        before = status_writes(api)
        for _ in range(5):
            await chain(held, "web", "api")
        await held.quiet()
        assert (status_writes(api), SUGGESTED in held.conditions(middle)) == (before, False)
    async with rig(api, tmp_path / "routes.json") as held:  # another one leads
        await held.until_is(web, "Ready", "True")
        await held.quiet()
        assert held.conditions(web)[SUGGESTED]["message"] == words
        assert status_writes(api) == before
        held.app("web", dependsOn=["api"])
        found = await until_said(held, web, "Dependencies", "Found", "wakes with this: api")
        await held.until(lambda: SUGGESTED not in held.conditions(web))


async def test_only_slices_of_applications_are_followed(api: MemoryApi, tmp_path: Path) -> None:
    api.put(f"{SLICES}/other-1", metadata={"labels": {"kubernetes.io/service-name": "other"}}, addressType="IPv4", endpoints=[])
    async with rig(api, tmp_path / "routes.json") as held:
        web = held.app("web")
        await held.until(lambda: held.controller.leads)
        await pods(held, "web", True)
        slices = wakes_of(held)._slices._slices
        assert [key for key, _ in slices.items()] == ["shop/web-1"]
        held.app("other")  # whose slices were there before it
        await held.until(lambda: "shop/other" in wakes_of(held)._apps)
        assert {key for key, _ in slices.items()} == {"shop/web-1", "shop/other-1"}
        api.drop(web)
        await held.until(lambda: [key for key, _ in slices.items()] == ["shop/other-1"])
        await pods(held, "other", False)
