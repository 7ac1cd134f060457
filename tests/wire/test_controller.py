"""A whole term of the controller: objects in memory, interceptors on real sockets, the table in a file."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from controller import world
from controller.answers import MAINTENANCE
from controller.reconciler import ADDON_FINALIZER
from controller.scaledobject import ORPHAN, SKIP
from controller.server import Controller
from controller.settings import ControllerSettings
from fleet.discovery.files import FileRoutes
from fleet.discovery.kubernetes.client import ApiError
from fleet.routing.codec import decode_json
from fleet.routing.route import StaticResponse, Target
from fleet.runtime.rpc import RpcServer
from interceptor.rpc import RoutingServicer
from protos.weir.interceptor.v1 import routing_pb2, routing_pb2_grpc
from tests.support.certificates import Authority
from tests.support.memory_api import MemoryApi, Write
from tests.support.waiting import settled, until

HTTP = "/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects"
ROUTES = "/apis/http.keda.sh/v1beta1/namespaces/shop/interceptorroutes"
SCALED = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects"
SERVICES = "/api/v1/namespaces/shop/services"
EVENTS = "/api/v1/namespaces/shop/events"
PORTS = {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}


class Interceptor:
    """The RoutingService of one, which can be told to stop answering."""

    def __init__(self, table: Path) -> None:
        self._routes = FileRoutes(table)
        self._servicer = _Pausable(self._routes, "x")
        self._rpc = RpcServer("127.0.0.1", 0)
        self._rpc.add(routing_pb2_grpc.add_RoutingServiceServicer_to_server, self._servicer, "weir.interceptor.v1.RoutingService")
        self.answering = self._servicer.answering

    @property
    def asked(self) -> list[str]:
        return self._servicer.asked

    async def __aenter__(self) -> Self:
        await self._routes.start()
        await self._rpc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.answering.set()
        await self._rpc.stop(0.1)
        await self._routes.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._rpc.port}"


class _Pausable(RoutingServicer):
    def __init__(self, routes: FileRoutes, member: str) -> None:
        super().__init__(routes, member)
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked: list[str] = []

    async def SyncRoutingTable(  # noqa: N802
        self, request: routing_pb2.SyncRoutingTableRequest, context: object
    ) -> routing_pb2.SyncRoutingTableResponse:
        self.asked.append(request.sync_id)
        await self.answering.wait()
        return await super().SyncRoutingTable(request, context)


class Rig:
    """What a test holds: the objects, the controller, the interceptors."""

    def __init__(self, api: MemoryApi, table: Path, controller: Controller, interceptors: list[Interceptor]) -> None:
        self.api = api
        self.controller = controller
        self.table = table
        self.interceptors = interceptors

    def app(self, name: str = "web", *, service: bool = True, metadata: Any = None, **spec: Any) -> str:
        """An HTTPScaledObject, and its Service; gives its path."""
        if service:
            self.api.put(f"{SERVICES}/{name}", spec=PORTS)
        target = {"name": name, "service": name, "port": 80}
        fields: dict[str, Any] = {"hosts": [f"{name}.example.com"], "scaleTargetRef": target, **spec}
        self.api.put(f"{HTTP}/{name}", spec=fields, metadata=metadata or {})
        return f"{HTTP}/{name}"

    def conditions(self, path: str) -> dict[str, Any]:
        told = self.api.objects[path].get("status", {}).get("conditions", ())
        return {condition["type"]: condition for condition in told}

    def keda_is_ready(self, name: str = "web") -> None:
        conditions = [{"type": "Ready", "status": "True", "message": "fine"}]
        self.api.put(f"{SCALED}/{name}", status={"conditions": conditions})

    async def until(self, true: Callable[[], object]) -> None:
        await until(true, seconds=8)

    async def until_is(self, path: str, kind: str, status: str) -> dict[str, Any]:
        await self.until(lambda: self.conditions(path).get(kind, {}).get("status") == status)
        return self.conditions(path)

    async def until_ready(self, name: str = "web", **spec: Any) -> str:
        path = self.app(name, **spec)
        await self.until(lambda: f"{SCALED}/{name}" in self.api.objects)
        self.keda_is_ready(name)
        await self.until_is(path, "Ready", "True")
        return path

    async def quiet(self) -> None:
        """Until there is nothing more to write."""
        await settled(lambda: len(objects_written(self.api)), seconds=0.5)


def objects_written(api: MemoryApi) -> list[Write]:
    """All but the lease, which is renewed all the time."""
    return [write for write in api.writes if "/leases" not in write[1]]


@asynccontextmanager
async def rig(api: MemoryApi, table: Path, count: int = 2, *more: str, patience: float = 0.3) -> AsyncIterator[Rig]:
    interceptors = [Interceptor(table) for _ in range(count)]
    for interceptor in interceptors:
        await interceptor.__aenter__()
    addresses = ",".join(interceptor.address for interceptor in interceptors)
    flags = ["--host", "127.0.0.1", "--diagnostics-port", "0", "--scaler-address", "scaler:9091"]
    flags += ["--routes", f"file:{table}", "--members", addresses, "--lease", "weir-system/weir-controller"]
    settings = ControllerSettings.load([*flags, *more, "--lease-duration", "3", "--verify-timeout", str(patience)])
    controller = Controller(settings, api=api)
    await controller.start()
    try:
        yield Rig(api, table, controller, interceptors)
    finally:
        await controller.close()
        for interceptor in interceptors:
            await interceptor.__aexit__()


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


async def test_an_object_becomes_a_route_a_scaled_object_and_a_true_status(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready()
        assert decode_json(held.table.read_bytes()).match(b"web.example.com", b"/", ()) is not None
        message = held.conditions(path)["RoutesPropagated"]["message"]
        assert message == f"2/2 interceptors serve version {decode_json(held.table.read_bytes()).version}"
        asked = [sync_id for interceptor in held.interceptors for sync_id in interceptor.asked]
        assert len(set(asked)) == len(asked)
        await held.until(lambda: [body["reason"] for _, _, body in api.written(EVENTS)] == ["Serving"])
        assert len(api.written("/status")) <= 2


async def test_nothing_is_written_without_a_change(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready()
        await held.quiet()
        before = objects_written(api)
        stamp = held.table.stat().st_mtime_ns
        held.keda_is_ready()
        api.put(f"{SERVICES}/web", spec=PORTS, metadata={"labels": {"a": "b"}})
        await asyncio.sleep(1)  # nothing comes of it, so there is nothing to wait for
        assert objects_written(api) == before
        assert held.table.stat().st_mtime_ns == stamp


async def test_an_interceptor_that_does_not_answer_is_named(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        old = await held.until_ready("old")
        stopped = held.interceptors[1]
        stopped.answering.clear()
        new = held.app("new")
        told = await held.until_is(new, "RoutesPropagated", "False")
        assert "1/2 interceptors serve" in told["RoutesPropagated"]["message"]
        assert f"not: {stopped.address} (no answer in 0.3 s)" in told["RoutesPropagated"]["message"]
        assert held.conditions(old)["RoutesPropagated"]["status"] == "True"
        stopped.answering.set()
        await held.until_is(new, "RoutesPropagated", "True")


async def test_a_bad_object_is_its_own_affair(api: MemoryApi, tmp_path: Path) -> None:
    api.put(f"{HTTP}/broken", spec={"scaleTargetRef": "none"})
    async with rig(api, tmp_path / "routes.json") as held:
        bad = held.app("bad", hosts=["no host"])
        await held.until_ready("good")
        assert (await held.until_is(bad, "Ready", "False"))["Ready"]["reason"] == "Invalid"
        assert "spec.scaleTargetRef" in (await held.until_is(f"{HTTP}/broken", "Ready", "False"))["Ready"]["message"]


async def test_the_loser_is_reported_and_takes_over(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("web")
        api.put(f"{SERVICES}/other", spec=PORTS)
        other = {"target": {"service": "other", "port": 80}, "scalingMetric": {"concurrency": {}}}
        api.put(
            f"{ROUTES}/other",
            spec=other | {"rules": [{"hosts": ["web.example.com"]}]},
            metadata={"creationTimestamp": "2026-01-02T00:00:00Z"},
        )
        told = await held.until_is(f"{ROUTES}/other", "Conflict", "True")
        assert told["Conflict"]["message"] == "web.example.com/ is held by HTTPScaledObject shop/web"
        slow = held.interceptors[1]
        slow.answering.clear()
        api.drop(f"{HTTP}/web")
        told = await held.until_is(f"{ROUTES}/other", "Conflict", "False")
        assert "True" not in (told["Ready"]["status"], told["RoutesPropagated"]["status"]), "one has not answered yet"
        slow.answering.set()
        await held.until_is(f"{ROUTES}/other", "Ready", "True")


async def test_an_api_server_that_refuses_is_reported_in_the_status_and_tried_again(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        api.refuse = lambda method, path: ApiError("quota", status=403) if (method, path) == ("POST", SCALED) else None
        path = held.app()
        told = await held.until_is(path, "ScaledObjectReady", "False")
        assert told["ScaledObjectReady"]["message"] == "quota"
        api.refuse = lambda method, path: None
        await held.until(lambda: f"{SCALED}/web" in api.objects)


async def test_annotations(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready()
        api.put(path, metadata={"annotations": {ORPHAN: "true"}})
        await held.until(lambda: "ownerReferences" not in api.objects[f"{SCALED}/web"]["metadata"])
        skipped = await held.until_ready("skipped")
        api.put(skipped, metadata={"annotations": {SKIP: "true"}})
        await held.until(lambda: f"{SCALED}/skipped" not in api.objects)


async def test_an_object_of_the_addon_can_go(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        going = {"deletionTimestamp": "2026-01-03T00:00:00Z", "finalizers": [ADDON_FINALIZER, "other"]}
        path = held.app(metadata=going)
        await held.until(lambda: api.objects[path]["metadata"]["finalizers"] == ["other"])


async def test_what_it_tells_of_itself(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held, httpx.AsyncClient(trust_env=False) as client:
        base = f"http://127.0.0.1:{held.controller.diagnostics_port}"
        assert "weir_controller_leads" in (await client.get(f"{base}/metrics")).text
        held.app("bad", hosts=["no host"])
        await held.until_ready()
        assert (await client.get(f"{base}/readyz")).status_code == 200
        table = (await client.get(f"{base}/table")).json()
        assert (table["leads"], table["routes"], table["written"]) == (True, 1, True)
        assert [*table["invalid"]] == ["HTTPScaledObject shop/bad"]
        told = (await client.get(f"{base}/interceptors")).json()
        assert {(one["address"], one["behind"]) for one in told} == {(one.address, False) for one in held.interceptors}
        metrics = (await client.get(f"{base}/metrics")).text
        assert "weir_controller_routes 1.0" in metrics
        assert "weir_controller_invalid 1.0" in metrics


async def test_a_controller_that_has_just_begun_takes_nothing_back(api: MemoryApi, tmp_path: Path) -> None:
    """It leads before everything is read, and before all interceptors have answered: what it does not know, it does not say."""
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready()
        await held.quiet()
    before, news = len(api.written(f"{path}/status")), len(api.written(EVENTS))
    api.slow = {"/api/v1/services": asyncio.Event(), "/apis/keda.sh/v1alpha1/scaledobjects": asyncio.Event()}
    async with rig(api, tmp_path / "routes.json", patience=8) as held:
        held.interceptors[0].answering.clear()
        new = held.app("new")  # the table becomes another at once
        told = await held.until_is(new, "Ready", "Unknown")
        unknown = {kind for kind, condition in told.items() if condition["status"] == "Unknown"}
        assert unknown == {"Ready", "BackendFound", "RoutesPropagated", "ScaledObjectReady", "Reachable"}
        held.interceptors[0].answering.set()
        await held.until_is(new, "RoutesPropagated", "True")
        for read in api.slow.values():
            read.set()
        await held.until_is(new, "BackendFound", "True")
        await held.quiet()
        assert len(api.written(f"{path}/status")) == before
        assert len([body for _, _, body in api.written(EVENTS)[news:] if body["involvedObject"]["name"] == "web"]) == 0


async def test_a_second_controller_takes_over_without_a_write_too_many(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready()
        await held.quiet()
    before = len(api.written(f"{path}/status"))
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("next")
        assert len(api.written(f"{path}/status")) == before
        assert held.conditions(path)["Ready"]["status"] == "True"


MAPS = "/api/v1/namespaces/shop/configmaps"
BODY = {"labels": {"http.keda.sh/response-body": "true"}}


def page_of(held: Rig, name: str = "web") -> StaticResponse:
    placeholder = decode_json(held.table.read_bytes()).apps[f"shop/{name}"].cold_start.placeholder
    assert placeholder is not None
    return placeholder.response


async def test_a_body_of_a_config_map_is_in_the_table_and_follows_it(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        api.put(f"{MAPS}/page", data={"index.html": "<p>soon"}, metadata=BODY)
        response = {"bodyFromConfigMap": {"name": "page", "key": "index.html"}}
        path = await held.until_ready(coldStart={"placeholder": {"response": response}})
        assert page_of(held).body == b"<p>soon"
        assert held.conditions(path)["BodiesFound"]["status"] == "True"
        api.put(f"{MAPS}/page", data={"index.html": "<p>now"})
        await held.until(lambda: page_of(held).body == b"<p>now")
        api.drop(f"{MAPS}/page")
        told = await held.until_is(path, "Ready", "False")
        assert "ConfigMap shop/page: there is none with the label" in told["BodiesFound"]["message"]
        await held.until(lambda: page_of(held).status == 500)
        async with httpx.AsyncClient(trust_env=False) as client:
            base = f"http://127.0.0.1:{held.controller.diagnostics_port}"
            assert [*(await client.get(f"{base}/table")).json()["missing"]] == ["HTTPScaledObject shop/web"]
            assert "weir_controller_missing_bodies 1.0" in (await client.get(f"{base}/metrics")).text
        await held.until(lambda: "BodyNotFound" in [body["reason"] for _, _, body in api.written(EVENTS)])
        api.put(f"{MAPS}/page", data={"index.html": "<p>again"}, metadata=BODY)
        await held.until_is(path, "Ready", "True")
        await held.until(lambda: page_of(held).body == b"<p>again")


AUTHORITIES = {"labels": {"http.keda.sh/ca-bundle": "true"}}


async def test_authorities_of_a_config_map_are_in_the_table_and_follow_it(api: MemoryApi, tmp_path: Path) -> None:
    """Without them the object is invalid, and says so; it is never served with less."""
    first, second = Authority().pem.decode(), Authority("second").pem.decode()

    def bundle(held: Rig) -> str | None:
        found = decode_json(held.table.read_bytes()).apps.get("shop/web")
        return None if found is None or found.target.tls is None else found.target.tls.ca_bundle

    async with rig(api, tmp_path / "routes.json") as held:
        api.put(f"{MAPS}/ca", data={"ca.crt": first}, metadata=AUTHORITIES)
        tls = {"caBundleFromConfigMap": {"name": "ca"}}
        path = await held.until_ready(scaleTargetRef={"name": "web", "service": "web", "port": 80, "tls": tls})
        assert bundle(held) == first
        api.put(f"{MAPS}/ca", data={"ca.crt": second})
        await held.until(lambda: bundle(held) == second)
        changes: list[dict[str, Any]] = [
            {"data": {"ca.crt": "garbage"}},
            {"data": {}},
            {"metadata": {"labels": {}}, "data": {"ca.crt": first}},
        ]
        for change in changes:
            api.put(f"{MAPS}/ca", **change)
            told = await held.until_is(path, "Ready", "False")
            await held.until(lambda: bundle(held) is None)
            assert told["Ready"]["reason"] == "Invalid"
            assert told["Ready"]["message"].startswith("spec.scaleTargetRef.tls.caBundleFromConfigMap: ConfigMap shop/ca")
            api.put(f"{MAPS}/ca", data={"ca.crt": first}, metadata=AUTHORITIES)
            await held.until_is(path, "Ready", "True")
            await held.until(lambda: bundle(held) == first)
        api.drop(f"{MAPS}/ca")
        told = await held.until_is(path, "Ready", "False")
        assert "there is none with the label http.keda.sh/ca-bundle: true" in told["Ready"]["message"]


async def test_a_controller_that_has_just_begun_keeps_authorities(api: MemoryApi, tmp_path: Path) -> None:
    api.put(f"{MAPS}/ca", data={"ca.crt": Authority().pem.decode()}, metadata=AUTHORITIES)
    tls = {"caBundleFromConfigMap": {"name": "ca"}}
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready(scaleTargetRef={"name": "web", "service": "web", "port": 80, "tls": tls})
        await held.quiet()
        before = held.table.stat().st_mtime_ns
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until(lambda: held.controller.leads and held.interceptors[0].asked)
        assert held.table.stat().st_mtime_ns == before


async def test_a_controller_that_has_just_begun_knows_the_bodies_of_its_first_table(api: MemoryApi, tmp_path: Path) -> None:
    api.put(f"{MAPS}/page", data={"index.html": "<p>soon"}, metadata=BODY)
    response = {"bodyFromConfigMap": {"name": "page", "key": "index.html"}}
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready(coldStart={"placeholder": {"response": response}})
        await held.quiet()
        before = held.table.stat().st_mtime_ns
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until(lambda: held.controller.leads and held.interceptors[0].asked)
        assert held.table.stat().st_mtime_ns == before


async def test_a_controller_that_cannot_read_bodies_yet_takes_none_back(
    api: MemoryApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "BODIES_SECONDS", 0.1)
    api.put(f"{MAPS}/page", data={"index.html": "<p>soon"}, metadata=BODY)
    response = {"bodyFromConfigMap": {"name": "page", "key": "index.html"}}
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready(coldStart={"placeholder": {"response": response}})
        await held.quiet()
    before = len(api.written(f"{path}/status"))
    api.slow = {MAPS: asyncio.Event(), "/api/v1/configmaps": asyncio.Event()}
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("other")
        assert page_of(held).body == b"<p>soon", "it was served, so it stays"
        assert len(api.written(f"{path}/status")) == before
        api.put(f"{MAPS}/page", data={"index.html": "<p>now"})
        for listed in api.slow.values():
            listed.set()
        await held.until(lambda: page_of(held).body == b"<p>now")


async def test_a_fallback_that_is_not_there_is_reported(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = held.app(coldStart={"fallback": {"service": {"name": "sorry", "port": 80}}})
        told = await held.until_is(path, "BackendFound", "False")
        assert told["BackendFound"]["reason"] == "FallbackServiceNotFound"
        api.put(f"{SERVICES}/sorry", spec=PORTS)
        await held.until_is(path, "BackendFound", "True")
        route = decode_json(held.table.read_bytes()).apps["shop/web"]
        assert route.cold_start.fallback == Target("shop/sorry", 80)


async def test_maintenance_by_annotation(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready()
        api.put(path, metadata={"annotations": {MAINTENANCE: "Back at 14:00"}})
        await held.until(lambda: decode_json(held.table.read_bytes()).apps["shop/web"].maintenance)
        await held.until(lambda: "in maintenance" in held.conditions(path)["Ready"]["message"])
        assert MAINTENANCE not in api.objects[f"{SCALED}/web"]["metadata"].get("annotations", {})
        api.put(path, metadata={"annotations": {}})
        await held.until(lambda: decode_json(held.table.read_bytes()).apps["shop/web"].maintenance is None)
