"""Common configuration mistakes, on a real control plane: what `kubectl get` and `kubectl describe` say about each.

Each row is a correct application with one mistake. The cause must be named within ten seconds of the first request, whose
readiness timeout is as long.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import PATIENCE, until
from tests.cluster.objects import deployment, replicas, service
from tests.cluster.weir import (
    Answer,
    Weir,
    condition,
    http_scaled_object,
    interceptor_route,
    scaled_object,
    until_condition,
)

NAMED_WITHIN = 10.0
"""Seconds; multiplied by how much slower the API server is than on an idle machine."""
IDLE_ROUND_TRIP = 0.05
"""Seconds for a write and a read on an idle machine, a high estimate."""
HTTP, ROUTE = "httpscaledobjects", "interceptorroutes"


@dataclass(frozen=True)
class Row:
    """`says` is a part of the message. `service` and `pod` are merged into the spec of the Service and of the pod."""

    kind: str
    reason: str
    says: str
    status: str = "False"
    service: Object | None = field(default_factory=dict)
    """None: no Service."""
    container: Object | None = field(default_factory=dict)
    """None: no Deployment."""
    target: Object = field(default_factory=dict)
    spec: Object = field(default_factory=dict)
    scaled: bool = True
    answer: int = 504
    beside: Callable[[Api, str], Awaitable[None]] | None = None


async def another_that_is_never_ready(api: Api, namespace: str) -> None:
    await api.create(namespaced("deployments", namespace), deployment("other", replicas=1, env={"START_FILE": "/nowhere"}))


async def no_pods_allowed(api: Api, namespace: str) -> None:
    """The ReplicaSet cannot create its pods; a webhook, a quota or a policy would have the same effect."""
    await api.merge(
        namespaced("namespaces", name=namespace), {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    )


NEVER_READY = {"env": [{"name": "START_FILE", "value": "/nowhere"}]}
CRASHES = {"command": ["/bin/sh", "-c", "exit 3"]}
NO_SECRET = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "a"}}}]}
OTHER_PORT = {"ports": [{"name": "http", "port": 80, "targetPort": 8099}]}
UNKNOWN_PORT = {"ports": [{"name": "http", "port": 80, "targetPort": "htp"}]}
EXTERNAL = {"type": "ExternalName", "externalName": "app.localhost"}

ROWS: Mapping[str, Row] = {
    "no-service": Row(HTTP, "ServiceNotFound", "there is no Service", service=None, answer=502),
    "no-service-of-a-route": Row(ROUTE, "ServiceNotFound", "there is no Service", service=None, answer=502),
    "no-port": Row(HTTP, "PortNotFound", "has no TCP port 81; it has 80 (http)", target={"port": 81}, answer=502),
    "no-port-of-that-name": Row(
        ROUTE, "PortNotFound", "has no TCP port web; it has 80 (http)", target={"port": None, "portName": "web"}, answer=502
    ),
    "no-selector": Row(HTTP, "NoSelector", "Service web has no selector", service={"selector": None}),
    "external-name": Row(
        ROUTE, "RefusedAddress", "of type ExternalName (app.localhost)", service=EXTERNAL | {"selector": None}, answer=503
    ),
    "selects-nothing": Row(HTTP, "SelectsNothing", "(app=wep)", service={"selector": {"app": "wep"}}),
    "selects-nothing-of-a-route": Row(ROUTE, "SelectsNothing", "(app=wep)", service={"selector": {"app": "wep"}}),
    "selects-another": Row(
        HTTP,
        "SelectsOtherPods",
        "selects pods of something else",
        service={"selector": {"app": "other"}},
        beside=another_that_is_never_ready,
    ),
    "target-port-of-no-name": Row(HTTP, "TargetPortNotFound", "leads to port htp of its pods", service=UNKNOWN_PORT),
    "nothing-listens-there": Row(
        ROUTE, "ConnectionRefused", "none takes a connection at port 8099", "Unknown", service=OTHER_PORT
    ),
    "no-deployment": Row(HTTP, "WorkloadNotFound", "there is no Deployment web", container=None),
    "no-deployment-of-a-route": Row(ROUTE, "WorkloadNotFound", "there is no Deployment web", container=None),
    "never-ready": Row(HTTP, "PodsNotReady", "Deployment web has 1 pod, 0 ready", "Unknown", container=NEVER_READY),
    "crash-loop": Row(HTTP, "CrashLoop", "the last time with exit code 3", "Unknown", container=CRASHES),
    "crash-loop-of-a-route": Row(ROUTE, "CrashLoop", "the last time with exit code 3", "Unknown", container=CRASHES),
    "no-image": Row(
        HTTP, "ImageNotPulled", "the image nobody/nothing:1 cannot be pulled", container={"image": "nobody/nothing:1"}
    ),
    # KEDA reads a workload's variables before it scales it, and reports which Secret is missing.
    "no-secret": Row(ROUTE, "NotScaled", "nothing has scaled it, see ScaledObjectReady", "Unknown", container=NO_SECRET),
    "no-pods-allowed": Row(HTTP, "PodsNotCreated", "is asked to have 1 pod and has none", "Unknown", beside=no_pods_allowed),
    "nothing-scales-it": Row(ROUTE, "SelectsNothing", "nothing is known that scales it", "Unknown", scaled=False),
    "probe-fails": Row(
        HTTP, "ProbeFails", "none has passed the interceptors' probe", "Unknown", spec={"readinessPath": "/until/never"}
    ),
}


async def create(api: Api, namespace: str, row: Row) -> None:
    """Create the application with the row's mistake."""
    if row.beside is not None:
        await row.beside(api, namespace)
    if row.container is not None:
        made = deployment("web")
        (container,) = made["spec"]["template"]["spec"]["containers"]
        container.update(row.container)
        await api.create(namespaced("deployments", namespace), made)
    if row.service is not None:
        made = service("web")
        made["spec"].update(row.service)
        await api.create(namespaced("services", namespace), made)
    if row.kind == HTTP:
        made = http_scaled_object(namespace, "web", timeouts={"conditionWait": "10s"}, **row.spec)
        target = made["spec"]["scaleTargetRef"]
    else:
        made = interceptor_route(namespace, "web", timeouts={"readiness": "10s"}, **row.spec)
        target = made["spec"]["target"]
        if row.scaled:
            await api.create(namespaced("scaledobjects", namespace), scaled_object("web"))
    target.update(row.target)
    await api.create(namespaced(row.kind, namespace), made)


async def allowance(api: Api, namespace: str) -> float:
    """How many times slower the control plane is now than on an idle machine; at least 1."""
    began = time.perf_counter()
    await api.create(namespaced("configmaps", namespace), {"metadata": {"generateName": "clock-"}})
    await api.list(namespaced("configmaps", namespace))
    return max(1.0, (time.perf_counter() - began) / IDLE_ROUND_TRIP)


async def until_named(api: Api, namespace: str, row: Row) -> Object:
    """Wait, by watch, until the condition Reachable names the cause; returns it."""
    path = namespaced(row.kind, namespace)
    listed = await api.get(path)
    found: Object = {}

    async def named() -> Object:
        for item in listed["items"]:
            if condition(item, "Reachable").get("reason") == row.reason:
                return condition(item, "Reachable")
        async for _, item in api.watch(path, listed["metadata"]["resourceVersion"]):
            found.clear()
            found.update(condition(item, "Reachable"))
            if found.get("reason") == row.reason:
                return found
        raise AssertionError("the watch has ended")

    try:
        return await asyncio.wait_for(named(), PATIENCE)
    except TimeoutError:
        raise AssertionError(f"not told to be {row.reason}: {found}") from None


@pytest.mark.parametrize("name", ROWS)
async def test_it_is_named(cluster: Cluster, weir: Weir, api: Api, namespace: str, name: str) -> None:
    row = ROWS[name]
    await create(api, namespace, row)
    await until_condition(api, row.kind, namespace, "web", "RoutesPropagated", "True")
    slower, began = await allowance(api, namespace), time.monotonic()
    request = asyncio.create_task(weir.get(f"web.{namespace}"), name="the first request")
    try:
        told = await until_named(api, namespace, row)
        assert time.monotonic() - began < NAMED_WITHIN * slower
        assert told["status"] in (row.status, "False")  # a cause that may pass is Unknown until a request has timed out
        assert row.says in told["message"]
        await shown(cluster, api, namespace, row, told)
        await answered(api, namespace, row, await request)
    finally:
        request.cancel()


async def shown(cluster: Cluster, api: Api, namespace: str, row: Row, told: Object) -> None:
    """Check the output of kubectl for the user."""
    head, line = (await cluster.kubectl("get", row.kind, "web", "-n", namespace)).splitlines()
    at = head.index("REACHABLE")
    assert line[at:].split()[0] in (told["status"], "False")
    if row.kind == ROUTE:
        assert line[head.index("HOSTS") :].split()[0] == f"web.{namespace}"
        assert line[head.index("TARGETSERVICE") :].split()[0].startswith("web:")
        scaled = line[head.index("SCALEDBY") : head.index("READY")].strip()
        assert scaled == ("ScaledObject/web" if row.scaled else "")
    wide = await cluster.kubectl("get", row.kind, "web", "-n", namespace, "-o", "wide")
    assert row.says in wide
    described = " ".join((await cluster.kubectl("describe", row.kind, "web", "-n", namespace)).split())
    assert row.says in described
    assert row.reason in described


async def answered(api: Api, namespace: str, row: Row, answer: Answer) -> None:
    """Check the response to the first request, and the status afterwards."""
    assert answer.status == (502 if row.reason == "ConnectionRefused" else row.answer)
    if row.answer == 502:
        assert "Service" in answer.text
        assert answer.seconds < NAMED_WITHIN
        assert await replicas(api, namespace, "web") == 0, "what can have no backend wakes nothing"
    else:
        told = await until_condition(api, row.kind, namespace, "web", "Reachable", "False")
        await until(lambda: _counted(api, row.kind, namespace), "the request is counted")
        await until(lambda: _warned(api, namespace, told["reason"]), "there is an event")


async def _counted(api: Api, kind: str, namespace: str) -> bool:
    """A selector that cannot match is reported without a request, and the result of a request as soon as there is one."""
    told = condition(await api.get(namespaced(kind, namespace, "web")), "Reachable")
    return bool(told["message"].startswith(("1 request waited", "1 request waiting")))


async def _warned(api: Api, namespace: str, reason: str) -> bool:
    events = await api.list(namespaced("events", namespace))
    return any(one["type"] == "Warning" and one["reason"] == reason and one["involvedObject"]["name"] == "web" for one in events)


async def test_what_is_mended_is_reported(weir: Weir, api: Api, namespace: str) -> None:
    row = ROWS["selects-nothing"]
    await create(api, namespace, row)
    await until_condition(api, row.kind, namespace, "web", "RoutesPropagated", "True")
    request = asyncio.create_task(weir.get(f"web.{namespace}"), name="the first request")
    await until_condition(api, row.kind, namespace, "web", "Reachable", "False")
    await api.merge(namespaced("services", namespace, "web"), {"spec": {"selector": {"app": "web"}}})
    await request
    assert (await weir.get(f"web.{namespace}")).status == 200
    await until_condition(api, row.kind, namespace, "web", "Reachable", "True")


@pytest.mark.parametrize("kind", [HTTP, ROUTE])
async def test_a_protocol_that_is_not_spoken_is_reported(
    cluster: Cluster, weir: Weir, api: Api, namespace: str, kind: str
) -> None:
    spoken: Any = [{"name": "http", "port": 80, "targetPort": "http", "appProtocol": "redis"}]
    await create(api, namespace, Row(kind, "", "", service={"ports": spoken}))
    await until_condition(api, kind, namespace, "web", "ProtocolSpoken", "False")
    described = await cluster.kubectl("describe", kind, "web", "-n", namespace)
    assert "port 80 of Service" in described
    assert "says appProtocol redis" in " ".join(described.split())
