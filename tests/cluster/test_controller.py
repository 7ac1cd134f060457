"""The controller on a real API server, with a real KEDA and the manifests' account: routes and statuses for objects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.cluster.api import Api, ApiError, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, pods, until_ready
from tests.cluster.weir import NAMESPACE, SCALER_ADDRESS, Weir, scaled_object

TABLE = "weir-routing-table"

pytestmark = pytest.mark.usefixtures("_controllers")


@pytest.fixture
async def _controllers(weir: Weir, api: Api) -> None:
    await api.merge(namespaced("deployments", NAMESPACE, "weir-controller"), {"spec": {"replicas": 2}})
    await weir.until_ready(api)


def http_scaled_object(name: str, *hosts: str, **spec: Any) -> Object:
    return {
        "apiVersion": "http.keda.sh/v1alpha1",
        "kind": "HTTPScaledObject",
        "metadata": {"name": name},
        "spec": {
            "hosts": list(hosts),
            "scaleTargetRef": {"name": name, "service": name, "port": 80},
            "replicas": {"min": 0, "max": 5},
            "scaledownPeriod": 3,
            "pollingInterval": 2,
            "activityPeriod": "1s",
            "scalingMetric": {"concurrency": {"targetValue": 5}},
            **spec,
        },
    }


def interceptor_route(name: str, *hosts: str, **spec: Any) -> Object:
    return {
        "apiVersion": "http.keda.sh/v1beta1",
        "kind": "InterceptorRoute",
        "metadata": {"name": name},
        "spec": {
            "target": {"service": name, "port": 80},
            "rules": [{"hosts": list(hosts)}],
            "scalingMetric": {"concurrency": {"targetValue": 5}},
            "activityPeriod": "1s",
            **spec,
        },
    }


async def conditions(api: Api, kind: str, namespace: str, name: str) -> dict[str, Object]:
    found = await api.get(namespaced(kind, namespace, name))
    listed = found.get("status", {}).get("conditions", ())
    return {condition["type"]: condition for condition in listed}


async def until_condition(api: Api, kind: str, namespace: str, name: str, **wanted: str) -> dict[str, Object]:
    """Wait until one condition has this status, as in Ready="True". Returns all conditions."""
    ((condition, status),) = wanted.items()

    async def reached() -> dict[str, Object] | None:
        found = await conditions(api, kind, namespace, name)
        return found if found.get(condition, {}).get("status") == status else None

    try:
        return await until(reached, f"{kind} {namespace}/{name} has {condition}={status}") or {}
    except BaseException as error:
        error.add_note(str(await conditions(api, kind, namespace, name)))
        raise


async def until_same(ask: Callable[[], Awaitable[object]], *, seconds: float = 3) -> object:
    """Wait until the result does not change any more; returns it."""
    before = await ask()
    while True:
        await asyncio.sleep(seconds)
        now = await ask()
        if now == before:
            return now
        before = now


async def test_an_object_is_all_that_an_app_needs(weir: Weir, api: Api, cluster: Cluster, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object("web", f"web.{namespace}"))
    told = await until_condition(api, "httpscaledobjects", namespace, "web", Ready="True")
    assert {kind: condition["status"] for kind, condition in told.items()} == {
        "Ready": "True",
        "BackendFound": "True",
        "Conflict": "False",
        "RoutesPropagated": "True",
        "ScaledObjectReady": "True",
        "Reachable": "True",
    }
    interceptors = len(await api.list(namespaced("pods", NAMESPACE), labelSelector="app.kubernetes.io/component=interceptor"))
    assert told["RoutesPropagated"]["message"].startswith(f"{interceptors}/{interceptors} interceptors serve version ")
    assert not await pods(api, namespace, "web")

    answer = await weir.get(f"web.{namespace}")
    assert (answer.status, answer.text.split()[0].startswith("web-")) == (200, True)
    await until_ready(api, namespace, "web", 0)

    line = (await cluster.kubectl("get", "httpso", "web", "-n", namespace)).splitlines()[1].split()
    assert line[:8] == ["web", "apps/v1/Deployment/web", "web:80", "0", "5", "True", "Serving", "True"]


async def test_an_interceptor_route_with_a_scaled_object_of_its_user(weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("interceptorroutes", namespace), interceptor_route("web", f"web.{namespace}"))
    told = await until_condition(api, "interceptorroutes", namespace, "web", Ready="True")
    assert told["ScaledObjectReady"]["reason"] == "NoScaledObject"
    trigger = {"type": "external-push", "metadata": {"scalerAddress": SCALER_ADDRESS, "interceptorRoute": "web"}}
    await api.create(namespaced("scaledobjects", namespace), scaled_object("web", triggers=[trigger]))
    await until_condition(api, "interceptorroutes", namespace, "web", ScaledObjectReady="True")
    assert (await weir.get(f"web.{namespace}")).status == 200
    await until_ready(api, namespace, "web", 0)


async def test_the_scaled_object_is_repaired_and_goes_with_its_owner(api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object("web", f"web.{namespace}"))
    await until_condition(api, "httpscaledobjects", namespace, "web", Ready="True")
    path = namespaced("scaledobjects", namespace, "web")
    made = await api.get(path)
    other = {"type": "external", "metadata": {"scalerAddress": SCALER_ADDRESS, "app": "other"}}
    await api.merge(
        path, {"spec": {"maxReplicaCount": 50, "triggers": [other], "fallback": {"failureThreshold": 3, "replicas": 1}}}
    )

    async def repaired() -> bool:
        found = await api.get(path)
        return bool(found["spec"].pop("fallback")["failureThreshold"] == 3 and found["spec"] == made["spec"])

    await until(repaired, "what is the controller's is repaired, what is not stays")
    await api.delete(path)
    await until(lambda: _another(api, path, made["metadata"]["uid"]), "it is made anew")

    await api.merge(namespaced("httpscaledobjects", namespace, "web"), {"spec": {"replicas": {"max": 7}}})
    await until(lambda: _says(api, path, "maxReplicaCount", 7), "it follows its owner")
    await api.delete(namespaced("httpscaledobjects", namespace, "web"))
    await until(lambda: _gone(api, path), "it goes with its owner")


async def test_the_older_of_two_claims_wins_and_the_other_is_reported(weir: Weir, api: Api, namespace: str) -> None:
    for name in ("first", "second"):
        await create_app(api, namespace, name)
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object("first", f"web.{namespace}"))
    await until_condition(api, "httpscaledobjects", namespace, "first", Ready="True")
    await asyncio.sleep(1.1)  # creation times have whole seconds
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object("second", f"WEB.{namespace}:80"))
    told = await until_condition(api, "httpscaledobjects", namespace, "second", Conflict="True")
    assert told["Ready"]["status"] == "False"
    assert f"is held by HTTPScaledObject {namespace}/first" in told["Conflict"]["message"]
    assert (await weir.get(f"web.{namespace}")).text.startswith("first-")

    async def event() -> bool:
        events = await api.list(namespaced("events", namespace))
        return any(one["reason"] == "ClaimedByOlder" and one["involvedObject"]["name"] == "second" for one in events)

    await until(event, "there is an event about it")
    await api.delete(namespaced("httpscaledobjects", namespace, "first"))
    await until_condition(api, "httpscaledobjects", namespace, "second", Ready="True")
    assert (await weir.get(f"web.{namespace}")).text.startswith("second-")


async def test_bad_objects_mark_their_own_status_only(api: Api, namespace: str) -> None:
    await create_app(api, namespace, "good")
    bad = http_scaled_object("bad", "no host at all!")
    lost = http_scaled_object("lost", f"lost.{namespace}")
    for one in (bad, lost, http_scaled_object("good", f"good.{namespace}")):
        await api.create(namespaced("httpscaledobjects", namespace), one)
    await until_condition(api, "httpscaledobjects", namespace, "good", Ready="True")
    told = await until_condition(api, "httpscaledobjects", namespace, "bad", Ready="False")
    assert told["Ready"]["reason"] == "Invalid"
    assert "spec.hosts[0]" in told["Ready"]["message"]
    told = await until_condition(api, "httpscaledobjects", namespace, "lost", Ready="False")
    assert told["BackendFound"]["reason"] == "ServiceNotFound"
    await api.create(
        namespaced("services", namespace), {"metadata": {"name": "lost"}, "spec": {"ports": [{"port": 81, "name": "http"}]}}
    )
    told = await until_condition(api, "httpscaledobjects", namespace, "lost", BackendFound="False")
    await until(lambda: _has_reason(api, namespace, "lost", "BackendFound", "PortNotFound"), "the port is missed")


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("httpscaledobjects", {"scaleTargetRef": {"name": "a", "service": "a"}}),
        ("httpscaledobjects", {"scaleTargetRef": {"name": "a", "service": "a", "port": 1, "portName": "b"}}),
        ("interceptorroutes", {"scalingMetric": {}}),
        ("interceptorroutes", {"target": {"service": "a", "port": 1, "portName": "b"}}),
        ("interceptorroutes", {"coldStart": {"placeholder": {"response": {"body": "a", "bodyFromConfigMap": {"name": "b"}}}}}),
    ],
)
async def test_the_api_server_refuses_what_makes_no_sense(api: Api, kind: str, spec: Object) -> None:
    make = http_scaled_object if kind == "httpscaledobjects" else interceptor_route
    with pytest.raises(ApiError) as told:
        await api.create(namespaced(kind, "default"), make("wrong", "wrong.example.com", **spec))
    assert told.value.status == 422


async def test_nothing_is_written_without_a_change_and_another_takes_over(api: Api, weir: Weir, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object("web", f"web.{namespace}"))
    await until_condition(api, "httpscaledobjects", namespace, "web", Ready="True")

    async def known() -> object:
        table = await api.get(namespaced("configmaps", NAMESPACE, TABLE))
        return (table["metadata"]["resourceVersion"], await api.get(namespaced("httpscaledobjects", namespace, "web")))

    before = await until_same(known)
    leader = await _leader(api)
    await api.delete(namespaced("pods", NAMESPACE, leader))
    await until(lambda: _leads_another(api, leader), "the other one leads")
    await create_app(api, namespace, "next")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object("next", f"next.{namespace}"))
    await until_condition(api, "httpscaledobjects", namespace, "next", Ready="True")
    assert isinstance(before, tuple)
    assert await api.get(namespaced("httpscaledobjects", namespace, "web")) == before[1]


async def _leader(api: Api) -> str:
    lease = await api.get(namespaced("leases", NAMESPACE, "weir-controller"))
    return str(lease["spec"]["holderIdentity"])


async def _leads_another(api: Api, leader: str) -> bool:
    return await _leader(api) not in ("", leader)


async def _another(api: Api, path: str, uid: str) -> bool:
    return bool((await api.get(path))["metadata"]["uid"] != uid)


async def _says(api: Api, path: str, field: str, value: object) -> bool:
    return bool((await api.get(path))["spec"].get(field) == value)


async def _gone(api: Api, path: str) -> bool:
    return await api.find(path) is None


async def _has_reason(api: Api, namespace: str, name: str, kind: str, reason: str) -> bool:
    return (await conditions(api, "httpscaledobjects", namespace, name)).get(kind, {}).get("reason") == reason
