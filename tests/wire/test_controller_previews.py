"""Objects that are previews of others, in a whole term of the controller."""

from __future__ import annotations

from pathlib import Path

from fleet.routing.codec import decode_json
from fleet.routing.table import RoutingTable
from tests.support.memory_api import MemoryApi
from tests.wire.test_controller import HTTP, PORTS, SCALED, SERVICES, Rig, rig

COPY = {"previewOf": {"base": "web", "name": "f1"}, "scaleTargetRef": {"name": "web--f1", "service": "web--f1", "port": 80}}


def table_of(held: Rig) -> RoutingTable:
    return decode_json(held.table.read_bytes())


async def test_a_preview_gets_a_scaled_object_and_a_status_of_its_own(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("web")
        api.put(f"{SERVICES}/web--f1", spec=PORTS)
        api.put(f"{HTTP}/web--f1", spec=COPY)
        await held.until(lambda: f"{SCALED}/web--f1" in api.objects)
        held.keda_is_ready("web--f1")
        await held.until_is(f"{HTTP}/web--f1", "Ready", "True")
        table = table_of(held)
        assert [route.app for route in table.routes] == ["shop/web"]
        assert table.match(b"f1.web.example.com", b"/", ()) is table.apps["shop/web"]
        second = {"previewOf": {"base": "web", "name": "f1"}, "scaleTargetRef": {"name": "x", "service": "x", "port": 80}}
        api.put(f"{HTTP}/x", spec=second, metadata={"creationTimestamp": "2026-02-01T00:00:00Z"})

        def said() -> str:
            return str(held.conditions(f"{HTTP}/x").get("Ready", {}).get("message", ""))

        await held.until(lambda: "f1 is already HTTPScaledObject shop/web--f1" in said())
        api.drop(f"{HTTP}/web--f1")
        await held.until_is(f"{HTTP}/x", "RoutesPropagated", "True")
        assert list(table_of(held).apps) == ["shop/web", "shop/x"]
        api.drop(f"{HTTP}/web")
        await held.until(lambda: "nothing of the name web is served" in said())
