"""A change of the routing table reaches every interceptor: at once by watch, later without one; the controller reports when."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.cutter import Cutter
from tests.cluster.objects import create_app, pods, until_ready
from tests.cluster.weir import NAMESPACE, Weir, condition, http_scaled_object, until_condition

BY_WATCH = 1.0
"""Limit in seconds from the object's creation until every interceptor routes by it, on a machine with fast watches."""
WATCHES = 20
"""On a slower machine, the limit is this many times the delay of one watch: the controller uses one watch and then works, the
interceptors use another."""
ROUNDS = 3
"""One round within the limit shows that watches are used, not polling."""
RESYNC = 5.0
SELDOM = 60.0
"""Default seconds between full reads."""


async def routed(weir: Weir, namespace: str, app: str, address: str) -> bool:
    return (await weir.get(f"{app}.{namespace}", address=address)).status == 200


@pytest.fixture
async def answering(api: Api, namespace: str) -> str:
    """Create an app that has a pod, so that a routed request is answered at once."""
    await create_app(api, namespace, "web", replicas=1)
    await until_ready(api, namespace, "web", 1)
    return "web"


async def test_every_interceptor_has_a_new_route_within_a_second(weir: Weir, api: Api, namespace: str, answering: str) -> None:
    interceptors = await weir.interceptors(api)
    assert len(interceptors) == 3
    path = namespaced("httpscaledobjects", namespace)
    rounds: list[tuple[float, float]] = []
    for number in range(ROUNDS):
        limit = max(BY_WATCH, WATCHES * await one_watch(api, namespace, f"round{number}"))
        host = f"round{number}.{namespace}"
        began = time.perf_counter()
        if number == 0:
            await api.create(path, http_scaled_object(namespace, answering, hosts=[host], replicas={"min": 1}))
        else:
            await api.merge(f"{path}/{answering}", {"spec": {"hosts": [host]}})
        await asyncio.gather(
            *(
                until(lambda address=address: routed(weir, namespace, f"round{number}", address), f"{name} routes", pause=0.02)  # type: ignore[misc]  # noqa: B023
                for name, address in interceptors.items()
            )
        )
        rounds.append((time.perf_counter() - began, limit))
        print(f"a new route at all interceptors after {rounds[-1][0] * 1000:.0f} ms")  # noqa: T201 - what was measured
        if rounds[-1][0] < limit:
            return
    pytest.fail(f"too late, of so many seconds: {rounds}")


async def one_watch(api: Api, namespace: str, name: str) -> float:
    """Seconds from the creation of an object until a watch reports it."""
    path = namespaced("configmaps", namespace)
    version = (await api.get(path))["metadata"]["resourceVersion"]
    began = time.perf_counter()
    await api.create(path, {"metadata": {"name": name}})
    async for kind, found in api.watch(path, version):
        if (kind, found["metadata"]["name"]) == ("ADDED", name):
            break
    return time.perf_counter() - began


async def test_routes_are_propagated_only_when_all_serve_them(
    cluster: Cluster, weir: Weir, api: Api, namespace: str, answering: str
) -> None:
    stopped, pid = next(iter(cluster.processes(NAMESPACE, "interceptor").items()))
    os.kill(pid, signal.SIGSTOP)
    try:
        await api.create(
            namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, answering, replicas={"min": 1})
        )

        async def told() -> bool:
            item = await api.get(namespaced("httpscaledobjects", namespace, answering))
            found = condition(item, "RoutesPropagated")
            message = found.get("message", "")
            return bool(found.get("status") == "False" and stopped in message and "2/3 interceptors serve version" in message)

        await until(told, f"it is told that {stopped} does not serve it")
    finally:
        os.kill(pid, signal.SIGCONT)
    await until_condition(api, "httpscaledobjects", namespace, answering, "RoutesPropagated", "True")
    await weir.until_ready(api)


async def test_a_route_arrives_although_watches_are_silent(
    cluster: Cluster, weir: Weir, api: Api, namespace: str, answering: str
) -> None:
    async with Cutter(cluster.plane.pki, cluster.plane.ca) as cutter:
        pod = interceptor_behind(cutter.address, cutter.port, await template(api))
        await api.create(namespaced("pods", NAMESPACE), pod)
        try:
            await until(lambda: ready(api, "behind"), "the interceptor behind the cutter is ready")
            address = (await api.get(namespaced("pods", NAMESPACE, "behind")))["status"]["podIP"]
            assert cutter.watches
            cutter.cut()
            await api.create(
                namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, answering, replicas={"min": 1})
            )
            began = time.perf_counter()
            await until(lambda: routed(weir, namespace, answering, address), "the route arrives", patience=SELDOM)
            took = time.perf_counter() - began
        finally:
            await api.delete(namespaced("pods", NAMESPACE, "behind"))
    print(f"with silent watches and $DURATION {RESYNC:g} s: after {took:.1f} s")  # noqa: T201 - what was measured
    assert took < SELDOM / 2, "long before others would have read it anew"


@pytest.fixture
async def neighbour(api: Api, namespace: str) -> AsyncIterator[str]:
    """A second namespace."""
    name = f"{namespace[:45]}-next"
    await api.create(namespaced("namespaces"), {"metadata": {"name": name}})
    yield name
    await api.delete(namespaced("namespaces", name=name))


async def test_of_two_namespaces_that_claim_a_host_the_older_object_wins(
    weir: Weir, api: Api, namespace: str, neighbour: str, answering: str
) -> None:
    await create_app(api, neighbour, answering, replicas=1)
    hosts, replicas = [f"shared.{namespace}"], {"min": 1}
    for owner in (namespace, neighbour):
        claim = http_scaled_object(owner, answering, hosts=hosts, replicas=replicas)
        await api.create(namespaced("httpscaledobjects", owner), claim)
        await until_condition(api, "httpscaledobjects", owner, answering, "Conflict", "False" if owner == namespace else "True")
        await asyncio.sleep(1.1)  # creation times are in whole seconds

    loser = await api.get(namespaced("httpscaledobjects", neighbour, answering))
    assert condition(loser, "Ready")["status"] == "False"
    assert f"HTTPScaledObject {namespace}/{answering}" in condition(loser, "Conflict")["message"]
    assert condition(await api.get(namespaced("httpscaledobjects", namespace, answering)), "Conflict")["status"] == "False"
    (older,), (younger,) = [await pods(api, owner, answering) for owner in (namespace, neighbour)]
    assert (await weir.get(hosts[0])).text.split()[0] == older["metadata"]["name"]

    await api.delete(namespaced("httpscaledobjects", namespace, answering))
    await until_condition(api, "httpscaledobjects", neighbour, answering, "Conflict", "False")
    await until_condition(api, "httpscaledobjects", neighbour, answering, "Ready", "True")
    assert (await weir.get(hosts[0])).text.split()[0] == younger["metadata"]["name"]


async def template(api: Api) -> Object:
    deployment = await api.get(namespaced("deployments", NAMESPACE, "weir-interceptor"))
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def interceptor_behind(address: str, port: int, spec: Object) -> Object:
    """An interceptor from the manifests that is not a member of the fleet, and uses the API server through the cutter."""
    (container,) = spec["containers"]
    container["env"] += [
        {"name": "KUBERNETES_SERVICE_HOST", "value": address},
        {"name": "KUBERNETES_SERVICE_PORT", "value": str(port)},
        {"name": "WEIR_RESYNC", "value": str(RESYNC)},
    ]
    return {"metadata": {"name": "behind"}, "spec": spec | {"terminationGracePeriodSeconds": 1}}


async def ready(api: Api, name: str) -> bool:
    status = (await api.get(namespaced("pods", NAMESPACE, name))).get("status", {})
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions", ()))
