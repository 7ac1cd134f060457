"""Discovery with a real API server: pages, shards, a compacted history, a killed server."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from fleet.discovery.kubernetes.backends import KubernetesBackends
from fleet.discovery.kubernetes.client import Api, ApiError, open_api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import CONFIG_MAPS, ENDPOINT_SLICES, SERVICES, ConfigMap, Resource, parse_config_map
from fleet.discovery.kubernetes.routes import KubernetesRoutes
from fleet.discovery.kubernetes.tableformat import documents
from fleet.discovery.sources import Backend
from fleet.routing.route import Route, Rule, Target
from fleet.routing.table import RoutingTable
from tests.cluster.cluster import Cluster
from tests.support.waiting import until

SELDOM = Timing(resync=3600)
APPLY = "application/apply-patch+yaml"


@pytest.fixture
async def client(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The product's own client, as an administrator."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.plane.kubeconfig))
    api = open_api()
    yield api
    await api.close()


async def put(client: Api, resource: Resource, namespace: str, name: str, **content: object) -> None:
    kind = {CONFIG_MAPS: ("v1", "ConfigMap"), SERVICES: ("v1", "Service")}.get(resource, ("discovery.k8s.io/v1", "EndpointSlice"))
    metadata = {"name": name, **dict(content.pop("metadata", {}))}  # type: ignore[call-overload]
    body = {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, **content}
    query = [("fieldManager", "test"), ("force", "true")]
    await client.request("PATCH", resource.path(namespace, name), query=query, body=body, content_type=APPLY)


async def in_turns(work: Callable[[int], Awaitable[None]], count: int, at_once: int = 20) -> None:
    for start in range(0, count, at_once):
        await asyncio.gather(*(work(number) for number in range(start, min(count, start + at_once))))


async def patiently(work: Callable[[], Awaitable[object]]) -> None:
    """Retry until the API server accepts it."""
    async with asyncio.timeout(60):
        while True:
            try:
                await work()
            except ApiError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_more_objects_than_a_page_and_what_happens_to_them(client: Api, namespace: str) -> None:
    await in_turns(lambda number: put(client, CONFIG_MAPS, namespace, f"n{number}", data={"number": str(number)}), 520)
    watch = ListWatch(client, CONFIG_MAPS, parse_config_map, namespaces=[namespace], timing=SELDOM)
    gone: list[str] = []
    watch.subscribe(lambda change: gone.append(change.key) if change.after is None else None)
    watch.start()
    await watch.synced.wait()
    assert len([key for key, _ in watch.items() if key.startswith(f"{namespace}/n")]) == 520
    await client.request("DELETE", CONFIG_MAPS.path(namespace, "n519"))
    await put(client, CONFIG_MAPS, namespace, "n0", data={"number": "another"})
    await until(lambda: gone == [f"{namespace}/n519"])
    await until(lambda: watch.get(f"{namespace}/n0") == ConfigMap({"number": "another"}))
    await watch.relist()
    assert gone == [f"{namespace}/n519"]
    await watch.close()


async def test_lists_and_watches_agree_however_they_meet(client: Api, namespace: str) -> None:
    """Objects change, lists are read and watches end all the time: no object ever returns to an older version."""
    await in_turns(lambda number: put(client, CONFIG_MAPS, namespace, f"stays-{number}", data={"count": "0"}), 4)
    watch = ListWatch(client, CONFIG_MAPS, parse_config_map, namespaces=[namespace], timing=Timing(resync=0.05, watch=1))
    counts: dict[str, list[int]] = {f"{namespace}/stays-{number}": [] for number in range(4)}

    def on_change(change: Change[ConfigMap]) -> None:
        if change.key in counts:
            counts[change.key].append(-1 if change.after is None else int(change.after.data["count"]))

    async def churn(number: int) -> None:
        for count in range(1, 120):
            await put(client, CONFIG_MAPS, namespace, f"stays-{number}", data={"count": str(count)})
            await put(client, CONFIG_MAPS, namespace, f"comes-{number}", data={})
            await client.request("DELETE", CONFIG_MAPS.path(namespace, f"comes-{number}"))

    watch.subscribe(on_change)
    watch.start()
    await asyncio.gather(*(churn(number) for number in range(4)))
    await until(lambda: all(told and told[-1] == 119 for told in counts.values()))
    assert all(told == sorted(told) for told in counts.values())
    await until(lambda: {key for key, _ in watch.items() if key.startswith(f"{namespace}/comes")} == set())
    await watch.close()


async def test_a_table_in_shards(client: Api, namespace: str) -> None:
    letters = random.Random(1)
    hosts = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=60)) for _ in range(12_000)]
    table = RoutingTable(Route(f"shop/{host}", Target(f"shop/{host}", 80), (Rule((f"{host}.test",)),)) for host in hosts)
    routes = KubernetesRoutes(open_api(), namespace, "table", timing=SELDOM)
    await routes.start()
    assert routes.current is None
    made = documents("table", table, limit=100_000)
    assert len(made) > 2
    for document in made:
        content = {"data": dict(document.data), "binaryData": dict(document.binary_data)}
        await put(client, CONFIG_MAPS, namespace, document.name, **content)
    began = time.perf_counter()
    await until(lambda: routes.current)
    print(f"{len(hosts)} routes in {len(made) - 1} shards served {time.perf_counter() - began:.2f} s after the last")  # noqa: T201
    assert routes.current is not None
    assert routes.current.version == table.version
    await routes.close()


async def test_backends_of_a_service(client: Api, namespace: str) -> None:
    backends = KubernetesBackends(open_api(), [namespace], timing=SELDOM)
    await backends.start()
    backends.want([f"{namespace}/web:80", f"{namespace}/web:admin"])
    await until(lambda: backends.synced)
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "kubernetes.io/h2c"}, {"name": "admin", "port": 81}]
    await put(client, SERVICES, namespace, "web", spec={"ports": ports})
    await put(
        client,
        ENDPOINT_SLICES,
        namespace,
        "web-x",
        metadata={"labels": {"kubernetes.io/service-name": "web"}},
        addressType="IPv4",
        ports=[{"name": "http", "port": 8080, "appProtocol": "kubernetes.io/h2c"}, {"name": "admin", "port": 9000}],
        endpoints=[
            {"addresses": ["10.244.9.1"], "conditions": {"ready": True}},
            {"addresses": ["10.244.9.2"], "conditions": {"ready": False, "serving": True, "terminating": True}},
        ],
    )
    await until(lambda: backends.get(f"{namespace}/web:80") == (Backend("10.244.9.1", 8080, "kubernetes.io/h2c"),))
    assert backends.get(f"{namespace}/web:admin") == (Backend("10.244.9.1", 9000),)
    await backends.close()


async def test_a_killed_server_and_a_compacted_history(cluster: Cluster, client: Api, namespace: str) -> None:
    """Objects deleted while the server was away are reported afterwards, although its history no longer has the deletions."""
    for name in ("stays", "goes"):
        await put(client, CONFIG_MAPS, namespace, name, data={"is": "here"})
    watch = ListWatch(client, CONFIG_MAPS, parse_config_map, namespaces=[namespace], timing=SELDOM)
    changes: list[Change[ConfigMap]] = []
    watch.start()
    await watch.synced.wait()
    watch.subscribe(changes.append)
    cluster.plane.apiserver.kill()
    await asyncio.sleep(2)
    assert changes == []
    cluster.plane.apiserver.start()
    other = open_api()
    await patiently(lambda: other.request("DELETE", CONFIG_MAPS.path(namespace, "goes")))
    await compact()
    await patiently(lambda: put(other, CONFIG_MAPS, namespace, "comes", data={}))
    await other.close()
    await until(lambda: watch.get(f"{namespace}/comes") is not None and watch.get(f"{namespace}/goes") is None, seconds=20)
    assert {change.key for change in changes if change.after is None} == {f"{namespace}/goes"}
    assert watch.get(f"{namespace}/stays") == ConfigMap({"is": "here"})
    await watch.close()


async def compact() -> None:
    """Make etcd discard all old versions."""
    async with httpx.AsyncClient(base_url="http://127.0.0.1:2379") as etcd:
        answer = await etcd.post("/v3/kv/range", content=json.dumps({"key": "AA=="}))
        revision = answer.json()["header"]["revision"]
        (await etcd.post("/v3/kv/compaction", content=json.dumps({"revision": revision}))).raise_for_status()
