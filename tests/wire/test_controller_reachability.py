"""The controller hears of requests that wait, looks around once, and says why: objects in memory, an interceptor on a socket."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from controller.server import Controller
from controller.settings import ControllerSettings
from fleet.discovery.files import FileRoutes
from fleet.runtime.rpc import RpcServer
from interceptor.rpc import RoutingServicer
from interceptor.waits import WaitReport
from interceptor.waits_rpc import WaitingServicer
from protos.weir.interceptor.v1 import routing_pb2_grpc, waiting_pb2_grpc
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until

HTTP = "/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects/web"
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


async def test_it_says_why_and_when_that_is_over(api: MemoryApi, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    application(api)
    waiting: list[WaitReport] = []
    table = tmp_path / "routes.json"
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
        await until(lambda: reachable(api).get("status") == "True", seconds=20)
        assert not [path for path in api.reads if path.endswith(("/pods", "/scale"))], "nobody in trouble, nothing looked at"
        with caplog.at_level(logging.WARNING):
            waiting.append(IN_VAIN)
            await until(lambda: reachable(api).get("status") == "False", seconds=20)
        told = reachable(api)
        assert told["reason"] == "SelectsNothing"
        assert told["message"] == ("3 requests waited 60 s: 2 pods are ready, but Service web selects none of them (app=wep)")
        lines = [record.getMessage() for record in caplog.records if record.name == "controller.events"]
        (line,) = [line for line in lines if "SelectsNothing" in line]
        assert line == f"HTTPScaledObject shop/web: SelectsNothing: {told['message']}"
        await until(lambda: [body for _, _, body in api.written("/events") if body["reason"] == "SelectsNothing"], seconds=20)
        waiting[:] = [WaitReport("shop/web", 0, 0.0, 3, 60.0, 2, 2, "")]
        await until(lambda: reachable(api).get("reason") == "BackendsReady", seconds=20)
    finally:
        await controller.close()
        servicer.close()
        await rpc.stop(0.1)
        await routes.close()


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()
