"""The controller hears of requests that wait, looks around once, and says why: objects in memory, an interceptor on a socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.scaledobject import SKIP
from controller.server import Controller
from controller.settings import ControllerSettings
from fleet.discovery.files import FileRoutes
from fleet.runtime.rpc import RpcServer
from interceptor.app.waits import WaitReport
from interceptor.rpc import RoutingServicer
from interceptor.waits_rpc import WaitingServicer
from protos.weir.interceptor.v1 import routing_pb2_grpc, waiting_pb2_grpc
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until

HTTP = "/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects/web"
SCALED = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/mine"
SERVICE = "/api/v1/namespaces/shop/services/web"
SCALE = "/apis/apps/v1/namespaces/shop/deployments/web/scale"
PODS = "/api/v1/namespaces/shop/pods"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1"
IN_VAIN = WaitReport("shop/web", 0, 0.0, 3, 60.0, 0, 0, "")


def application(api: MemoryApi) -> None:
    """Two pods are ready, and the Service selects none of them."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}]
    api.put(SERVICE, spec={"ports": ports, "selector": {"app": "wep"}})
    target = {"name": "web", "service": "web", "port": 80}
    api.put(HTTP, spec={"hosts": ["web.example.com"], "scaleTargetRef": target})
    api.put(SCALE, spec={"replicas": 2}, status={"selector": "app=web"})
    for name in ("web-1", "web-2"):
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        api.put(f"{PODS}/{name}", metadata={"labels": {"app": "web"}}, status=ready)


def reachable(api: MemoryApi) -> dict[str, Any]:
    told = api.objects[HTTP].get("status", {}).get("conditions", ())
    return next((one for one in told if one["type"] == "Reachable"), {})


@asynccontextmanager
async def controlling(api: MemoryApi, table: Path, waiting: list[WaitReport]) -> AsyncIterator[None]:
    """A controller, and an interceptor that tells of these who wait."""
    routes, rpc = FileRoutes(table), RpcServer("127.0.0.1", 0)
    servicer = WaitingServicer(lambda: tuple(waiting), member="x", interval=0.02)
    rpc.add(
        routing_pb2_grpc.add_RoutingServiceServicer_to_server, RoutingServicer(routes, "x"), "weir.interceptor.v1.RoutingService"
    )
    rpc.add(waiting_pb2_grpc.add_WaitingServiceServicer_to_server, servicer, "weir.interceptor.v1.WaitingService")
    await routes.start()
    flags = ["--host", "127.0.0.1", "--diagnostics-port", "0", "--scaler-address", "scaler:9091", "--routes", f"file:{table}"]
    flags += ["--members", f"127.0.0.1:{await rpc.start()}", "--no-leader-elect"]
    controller = Controller(ControllerSettings.load(flags), api=api)
    await controller.start()
    try:
        yield
    finally:
        await controller.close()
        servicer.close()
        await rpc.stop(0.1)
        await routes.close()


async def until_it_is(api: MemoryApi, reason: str, status: str) -> str:
    """The condition's message, once it is so."""
    await until(lambda: (reachable(api).get("reason"), reachable(api).get("status")) == (reason, status), seconds=20)
    return str(reachable(api)["message"])


def selects(api: MemoryApi, **labels: str) -> None:
    """What the Service selects by."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}]
    api.put(SERVICE, spec={"ports": ports, "selector": labels})


async def test_it_says_why_and_when_that_is_over(api: MemoryApi, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    application(api)
    waiting: list[WaitReport] = []
    async with controlling(api, tmp_path / "routes.json", waiting):
        with caplog.at_level(logging.WARNING):
            waiting.append(IN_VAIN)
            await until(lambda: reachable(api).get("message", "").startswith("3 requests"), seconds=20)
        told = reachable(api)
        assert (told["status"], told["reason"]) == ("False", "SelectsNothing")
        assert told["message"] == ("3 requests waited 60 s: 2 pods are ready, but Service web selects none of them (app=wep)")
        lines = [record.getMessage() for record in caplog.records if record.name == "controller.events"]
        (line,) = [line for line in lines if "SelectsNothing" in line]
        assert line.startswith("HTTPScaledObject shop/web: SelectsNothing: ")
        await until(lambda: [body for _, _, body in api.written("/events") if body["reason"] == "SelectsNothing"], seconds=20)
        selects(api, app="web")
        waiting[:] = [WaitReport("shop/web", 0, 0.0, 3, 60.0, 2, 2, "")]
        await until_it_is(api, "BackendsReady", "True")


async def test_pods_of_something_else_that_answer_are_told_before_any_request(api: MemoryApi, tmp_path: Path) -> None:
    application(api)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    api.put(f"{PODS}/other-1", metadata={"labels": {"app": "other", "group": "g"}}, status=ready)
    selects(api, app="other")
    async with controlling(api, tmp_path / "routes.json", []):
        told = await until_it_is(api, "SelectsOtherPods", "False")
        assert told.startswith("Service web selects no pod of Deployment web (app=other); it selects pods of something else, and")
        assert told.endswith(": other-1")
        await until(lambda: [body for _, _, body in api.written("/events") if body["reason"] == "SelectsOtherPods"], seconds=20)
        selects(api, app="web")
        await until_it_is(api, "NoFailure", "True")
        api.put(f"{PODS}/web-1", metadata={"labels": {"app": "web", "group": "g"}}, status=ready)
        selects(api, group="g")
        assert "other-1" in await until_it_is(api, "SelectsMore", "True")
        selects(api, app="web")
        await until_it_is(api, "NoFailure", "True")


async def test_where_its_user_writes_the_scaled_object_that_says_what_is_scaled(api: MemoryApi, tmp_path: Path) -> None:
    """Of an object that needs no ScaledObject, nobody reads the name of the workload."""
    application(api)
    api.put(HTTP, metadata={"annotations": {SKIP: "true"}})
    api.put(SCALE.replace("/web/", "/other/"), spec={"replicas": 0}, status={"selector": "app=other"})
    selects(api, app="other")
    async with controlling(api, tmp_path / "routes.json", []):
        await until_it_is(api, "SelectsNothing", "False")
        trigger = {"type": "external-push", "metadata": {"scalerAddress": "scaler:9091", "httpScaledObject": "web"}}
        api.put(SCALED, spec={"scaleTargetRef": {"name": "other"}, "triggers": [trigger]})
        await until_it_is(api, "NoFailure", "True")


async def test_one_that_is_wired_well_is_looked_at_once(api: MemoryApi, tmp_path: Path) -> None:
    application(api)
    selects(api, app="web")
    async with controlling(api, tmp_path / "routes.json", []):
        await until_it_is(api, "NoFailure", "True")
        await until(lambda: SCALE in api.reads, seconds=20)
        written = len(api.written("httpscaledobjects"))
        for _ in range(3):
            api.put(SERVICE, metadata={"labels": {"a": "b"}})
        await asyncio.sleep(0.2)  # nothing comes of it, so there is nothing to wait for
        assert len([path for path in api.reads if path.endswith(("/pods", "/scale", "/events"))]) == 1
        assert len(api.written("httpscaledobjects")) == written


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()
