"""An interceptor and a scaler that find everything in Kubernetes, with an API server for tests in place of a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest

from fleet.discovery.kubernetes.tableformat import documents
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from interceptor.server import Interceptor
from interceptor.settings import InterceptorSettings
from protos.externalscaler import externalscaler_pb2 as pb
from protos.externalscaler import externalscaler_pb2_grpc
from protos.weir.interceptor.v1 import routing_pb2, routing_pb2_grpc
from scaler.server import Scaler
from scaler.settings import ScalerSettings
from tests.support.apiserver import ApiServer, serving
from tests.support.waiting import until

HOST = "127.0.0.1"
TABLE = "configmap:weir-system/weir-routing-table"


class World:
    """What a cluster would hold: the table, an application's Service and slices, the interceptors' slices."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    def put_table(self, *apps: str) -> None:
        routes = (Route(f"shop/{app}", Target(f"shop/{app}", 80), (Rule((f"{app}.test",)),)) for app in apps)
        for document in documents("weir-routing-table", RoutingTable(routes)):
            self.server.put(f"/api/v1/namespaces/weir-system/configmaps/{document.name}", data=dict(document.data))

    def put_service(self, name: str) -> None:
        self.server.put(f"/api/v1/namespaces/shop/services/{name}", spec={"ports": [{"name": "http", "port": 80}]})

    def put_slice(self, namespace: str, service: str, port: tuple[str, int], *, ready: bool = True) -> None:
        endpoint = {"addresses": [HOST], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": f"{service}-0"}}
        self.server.put(
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{service}-x",
            metadata={"labels": {"kubernetes.io/service-name": service}},
            addressType="IPv4",
            ports=[{"name": port[0], "port": port[1]}],
            endpoints=[endpoint],
        )


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    kubeconfig = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with serving(kubeconfig) as server:
        yield World(server)


@asynccontextmanager
async def an_interceptor(*, resync: float = 3600) -> AsyncIterator[Interceptor]:
    flags = [f"--host={HOST}", "--proxy-port=0", "--rpc-port=0", "--diagnostics-port=0", f"--resync={resync}"]
    settings = InterceptorSettings.load([*flags, f"--routes={TABLE}", "--backends=kubernetes:"])
    interceptor = Interceptor(settings)
    await interceptor.start()
    try:
        yield interceptor
    finally:
        await interceptor.close()


@asynccontextmanager
async def a_scaler() -> AsyncIterator[Scaler]:
    flags = [f"--host={HOST}", "--port=0", "--diagnostics-port=0", f"--routes={TABLE}"]
    settings = ScalerSettings.load([*flags, "--members=service:weir-system/weir-interceptor-rpc:rpc"])
    scaler = Scaler(settings)
    await scaler.start()
    try:
        yield scaler
    finally:
        await scaler.close()


@asynccontextmanager
async def an_app() -> AsyncIterator[int]:
    """The port of a server that answers everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def readiness(interceptor: Interceptor) -> tuple[int, str]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{HOST}:{interceptor.diagnostics_port}/readyz")
    return answer.status_code, answer.text.strip()


async def ask(interceptor: Interceptor, app: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://{HOST}:{interceptor.proxy_port}/", headers={"Host": f"{app}.test"}, timeout=60)


async def test_a_request_is_held_until_a_slice_tells_of_a_ready_pod(world: World) -> None:
    world.put_table("web")
    world.put_service("web")
    async with an_app() as port, an_interceptor() as interceptor:
        await until(lambda: interceptor.proxy.table and len(world.server.watches) == 3)
        world.put_slice("shop", "web", ("http", port), ready=False)
        asking = asyncio.create_task(ask(interceptor, "web"))
        await until(lambda: interceptor.ledger.outstanding == 1)
        assert not asking.done()
        world.put_slice("shop", "web", ("http", port))
        assert (await asking).status_code == 200


async def test_it_is_ready_when_table_and_backends_are_known(world: World) -> None:
    world.put_table("web")
    world.server.fail(503, times=10_000)
    world.server.faults[-1].matches = lambda request: request.path.endswith("/endpointslices")
    async with an_interceptor() as interceptor:
        await until(lambda: interceptor.proxy.table)
        assert await readiness(interceptor) == (503, "the backends have not been read yet")
        world.server.faults.clear()
        await until(lambda: len(world.server.watches) == 3)
        assert (await readiness(interceptor))[0] == 200


async def test_a_route_that_is_new_finds_its_backends(world: World) -> None:
    world.put_table("web")
    world.put_service("late")
    async with an_app() as port, an_interceptor() as interceptor:
        world.put_slice("shop", "late", ("http", port))
        await until(lambda: interceptor.proxy.table and len(world.server.watches) == 3)
        assert (await ask(interceptor, "late")).status_code == 404
        world.put_table("web", "late")
        await until(lambda: interceptor.proxy.table and "shop/late" in interceptor.proxy.table.apps)
        assert (await ask(interceptor, "late")).status_code == 200


async def test_traffic_flows_while_the_server_is_away(world: World) -> None:
    world.put_table("web")
    world.put_service("web")
    async with an_app() as port, an_interceptor(resync=0.1) as interceptor:
        world.put_slice("shop", "web", ("http", port))
        await until(lambda: interceptor.proxy.table and len(world.server.watches) == 3)
        assert (await ask(interceptor, "web")).status_code == 200
        await world.server.down()
        await asyncio.sleep(0.3)  # some syncs fail meanwhile; a server that is not there cannot count them
        assert (await ask(interceptor, "web")).status_code == 200
        await world.server.up()
        world.put_table("web", "other")
        await until(lambda: interceptor.proxy.table and "shop/other" in interceptor.proxy.table.apps, seconds=10)


async def test_a_sync_reads_the_table_whatever_the_watch_told(world: World) -> None:
    world.put_table("web")
    async with an_interceptor() as interceptor:
        await until(lambda: interceptor.proxy.table and len(world.server.watches) == 3)
        for watch in world.server.watches:
            watch.muted = True
        world.put_table("web", "other")
        async with grpc.aio.insecure_channel(f"{HOST}:{interceptor.rpc_port}") as channel:
            stub = routing_pb2_grpc.RoutingServiceStub(channel)
            answer = await stub.SyncRoutingTable(routing_pb2.SyncRoutingTableRequest(sync_id="one"))
        assert interceptor.proxy.table is not None
        assert answer.version == interceptor.proxy.table.version
        assert "shop/other" in interceptor.proxy.table.apps


@pytest.mark.parametrize("key", ["httpScaledObject", "interceptorRoute"])
async def test_a_held_request_is_reported_to_keda(world: World, key: str) -> None:
    world.put_table("web")
    world.put_service("web")
    async with an_interceptor() as interceptor:
        world.put_slice("weir-system", "weir-interceptor-rpc", ("rpc", interceptor.rpc_port))
        async with a_scaler() as scaler, grpc.aio.insecure_channel(f"{HOST}:{scaler.port}") as channel:
            await until(lambda: interceptor.proxy.table)
            stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)
            ref = pb.ScaledObjectRef(name="web", namespace="shop", scalerMetadata={key: "web"})
            pushes = stub.StreamIsActive(ref)
            await pushes.initial_metadata()
            asking = asyncio.create_task(ask(interceptor, "web"))
            async with asyncio.timeout(60):
                first = await pushes.read()
            assert isinstance(first, pb.IsActiveResponse)
            assert first.result
            pushes.cancel()
            asking.cancel()
