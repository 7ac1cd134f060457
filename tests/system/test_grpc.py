"""A gRPC server that sleeps at zero: calls of a real client wake it, a stream keeps it awake, and it sleeps again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fleet.runtime.address import join_address
from tests.system.harness import app, fleet, running_up, until

RPC = f"{sys.executable} {Path(__file__).parent / 'apps' / 'rpc.py'}"
SERVING = health_pb2.HealthCheckResponse.SERVING


async def test_a_grpc_server_wakes_and_sleeps(tmp_path: Path) -> None:
    shop = app("shop", command=RPC, app_protocol="grpc", cooldown=1, activity_period=1)
    async with running_up(tmp_path, fleet(shop)) as up:
        options = (("grpc.default_authority", "shop.localhost"),)
        async with aio.insecure_channel(join_address(up.near, up.port), options=options) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service="shop")
            assert (await stub.Check(request, timeout=60)).status == SERVING
            watch = stub.Watch(request, timeout=60)
            assert (await watch.read()).status == SERVING
            assert await up.value("shop") > 0
            assert (await stub.Check(request, timeout=60)).status == SERVING
            watch.cancel()
            await until(lambda: not up.backends("shop"), what="it sleeps when nobody asks")
            assert (await stub.Check(request, timeout=60)).status == SERVING
