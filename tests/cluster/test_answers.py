"""Fields about requests without a backend, on a real API server: admitted or refused, translated, reported, and served."""

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest

from tests.cluster.api import Api, ApiError, Object, namespaced
from tests.cluster.cluster import ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, pods, service, until_ready
from tests.cluster.weir import NAMESPACE, TABLE, Weir, condition, http_scaled_object, interceptor_route, until_condition

BODY = {"http.keda.sh/response-body": "true"}
HOLDS_PAGE = {"bodyFromConfigMap": {"name": "pages", "key": "soon.html"}}
SORRY = {"service": {"name": "sorry", "port": 80}}

pytestmark = pytest.mark.usefixtures("weir")


def pages_of(text: str, labels: Object = BODY) -> Object:
    """The ConfigMap with the page."""
    return {"metadata": {"name": "pages", "labels": labels}, "data": {"soon.html": text}}


async def routed(api: Api, namespace: str, app: str) -> Object:
    """The routing table's entry for an application; {} if there is none."""
    held = await api.get(namespaced("configmaps", NAMESPACE, TABLE))
    text = held["data"].get("table.json")
    if text is None:
        names = json.loads(held["data"]["index.json"])["shards"]
        shards = [await api.get(namespaced("configmaps", NAMESPACE, name)) for name in names]
        text = gzip.decompress(b"".join(base64.b64decode(shard["binaryData"]["shard"]) for shard in shards))
    found = [route for route in json.loads(text)["routes"] if route["app"] == f"{namespace}/{app}"]
    return dict(found[0]) if found else {}


def body_of(response: Object) -> str:
    return base64.b64decode(response.get("body", "")).decode()


async def until_body(api: Api, namespace: str, body: str) -> Object:
    """Wait until the placeholder's answer has this body; returns its entry."""
    last: Object = {}

    async def is_there() -> bool:
        placeholder = (await routed(api, namespace, "web")).get("cold_start", {}).get("placeholder", {})
        last.clear()
        last.update(placeholder.get("response", {}))
        return body_of(last) == body

    await until(is_there, f"the table has {body!r}")
    return last


async def test_everything_that_the_addon_says_reaches_the_table(api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("services", namespace), service("sorry"))
    cold = {
        "fallback": SORRY,
        "placeholder": {"response": {"statusCode": 202, "body": "<p>soon", "headers": {"Refresh": "5"}}},
        "maxPendingRequests": 5,
        "overflow": "Placeholder",
    }
    static = {"rules": [{"paths": [{"value": "/healthz"}]}], "response": {"body": "ok"}, "responseMode": "Always"}
    await api.create(
        namespaced("interceptorroutes", namespace), interceptor_route(namespace, "web", coldStart=cold, staticRoutes=[static])
    )
    await until_condition(api, "interceptorroutes", namespace, "web", "Ready", "True")
    route = await routed(api, namespace, "web")
    assert route["cold_start"]["fallback"] == {"service": f"{namespace}/sorry", "port": 80}
    assert (route["cold_start"]["max_held"], route["cold_start"]["overflow_placeholder"]) == (5, True)
    response = route["cold_start"]["placeholder"]["response"]
    assert (response["status"], body_of(response)) == (202, "<p>soon")
    (found,) = route["static_routes"]
    assert (found["always"], found["rules"], body_of(found["response"])) == (True, [{"paths": ["/healthz"]}], "ok")


async def test_fields_of_our_own_reach_the_table(api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    ours = {
        "coldStart": {"placeholder": {"audience": "Browsers"}, "maxPendingBytes": "16Mi"},
        "staticRoutes": [{"userAgents": ["*bot*"], "response": {"statusCode": 404}}],
        "affinity": {"cookie": "weir", "maxAge": "1h"},
        "backendConcurrency": 0,
        "maxRequests": 100,
        "readinessPath": "/healthz",
        "serverTiming": True,
        "answerHalfClosed": False,
    }
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", **ours))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    route = await routed(api, namespace, "web")
    assert route["cold_start"] == {"placeholder": {"browsers_only": True}, "max_held_bytes": 16 << 20}
    assert route["static_routes"][0]["user_agents"] == ["*bot*"]
    assert route["affinity"] == {"cookie": "weir", "max_age": 3600.0}
    assert route["protection"] == {"backend_concurrency": 0, "max_requests": 100, "readiness_path": "/healthz"}
    assert route["server_timing"]
    assert route["answer_half_closed"] is False
    path = namespaced("httpscaledobjects", namespace, "web")
    await api.merge(path, {"spec": {"coldStart": {"maxPendingBytes": 4096}}})
    await until(lambda: _has_bytes(api, namespace, 4096), "a number is as good as a quantity")


async def _has_bytes(api: Api, namespace: str, count: int) -> bool:
    return bool((await routed(api, namespace, "web"))["cold_start"]["max_held_bytes"] == count)


async def test_the_body_of_a_config_map_reaches_the_table_and_follows_it(api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    pages = namespaced("configmaps", namespace, "pages")
    cold = {"placeholder": {"response": HOLDS_PAGE}}
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", coldStart=cold))
    missing = await until_condition(api, "httpscaledobjects", namespace, "web", "BodiesFound", "False")
    assert f"ConfigMap {namespace}/pages: there is none with the label" in missing["message"]
    assert (await until_body(api, namespace, "Internal Server Error\n"))["status"] == 500

    await api.create(namespaced("configmaps", namespace), pages_of("<p>soon", {"other": "label"}))
    await api.merge(pages, {"metadata": {"labels": BODY}})
    response = await until_body(api, namespace, "<p>soon")
    assert response["headers"] == [["Content-Type", "text/html; charset=utf-8"]]
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")

    await api.merge(pages, {"data": {"soon.html": "<p>now"}})
    await until_body(api, namespace, "<p>now")
    await api.merge(pages, {"data": {"soon.html": None}, "binaryData": {"soon.html": base64.b64encode(b"<p>raw").decode()}})
    await until_body(api, namespace, "<p>raw")
    await api.merge(pages, {"metadata": {"labels": {"http.keda.sh/response-body": None}}})
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "False")

    async def told() -> bool:
        events = await api.list(namespaced("events", namespace))
        return any(one["reason"] == "BodyNotFound" and one["involvedObject"]["name"] == "web" for one in events)

    await until(told, "there is an event about it")
    await api.delete(pages)
    await until_body(api, namespace, "Internal Server Error\n")


async def test_maintenance_is_an_annotation_and_leaves_the_scaled_object_alone(api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    path = namespaced("httpscaledobjects", namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web"))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    scaled = await api.get(namespaced("scaledobjects", namespace, "web"))
    await api.merge(path, {"metadata": {"annotations": {"http.keda.sh/maintenance": "Back at 14:00"}}})
    await until(lambda: _is_maintained(api, namespace, "Back at 14:00"), "the table has the page")

    async def told() -> bool:
        return "in maintenance" in condition(await api.get(path), "Ready")["message"]

    await until(told, "Ready tells of it")
    now = await api.get(namespaced("scaledobjects", namespace, "web"))
    assert now["metadata"].get("annotations") == scaled["metadata"].get("annotations")
    await api.merge(path, {"metadata": {"annotations": {"http.keda.sh/maintenance": None}}})
    await until(lambda: _is_maintained(api, namespace, None), "it is over")


async def _is_maintained(api: Api, namespace: str, text: str | None) -> bool:
    page = (await routed(api, namespace, "web")).get("maintenance")
    return page is None if text is None else page is not None and body_of(page) == text


async def test_requests_meet_what_the_object_says(weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("configmaps", namespace), pages_of("<p>soon"))
    spec: Object = {
        "coldStart": {"placeholder": {"response": HOLDS_PAGE}},
        "staticRoutes": [{"rules": [{"paths": [{"value": "/healthz"}]}], "response": {"body": "asleep"}}],
    }
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", **spec))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    probed = await weir.get(f"web.{namespace}", "/healthz")
    assert (probed.status, probed.text) == (200, "asleep")
    await asyncio.sleep(1)
    assert not await pods(api, namespace, "web"), "a probe wakes nobody"
    shown = await weir.get(f"web.{namespace}")
    assert (shown.status, shown.text) == (503, "<p>soon")

    async def is_awake() -> bool:
        return (await weir.get(f"web.{namespace}")).status == 200

    await until(is_awake, "the page has woken it")


async def test_a_request_that_waits_too_long_goes_to_the_fallback(weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await create_app(api, namespace, "sorry", replicas=1)
    await until_ready(api, namespace, "sorry")
    waiting = interceptor_route(namespace, "web", coldStart={"fallback": SORRY}, timeouts={"readiness": "1s"})
    await api.create(namespaced("interceptorroutes", namespace), waiting)
    await until_condition(api, "interceptorroutes", namespace, "web", "Ready", "True")
    answer = await weir.get(f"web.{namespace}")
    assert answer.status == 200
    assert answer.text.startswith("sorry-")
    assert answer.seconds >= 1


async def test_a_fallback_that_is_not_there_is_reported(api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    spec = {"coldStartTimeoutFailoverRef": {"service": "sorry", "port": 80}}
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", **spec))
    told = await until_condition(api, "httpscaledobjects", namespace, "web", "BackendFound", "False")
    assert told["reason"] == "FallbackServiceNotFound"
    await api.create(namespaced("services", namespace), service("sorry"))
    await until_condition(api, "httpscaledobjects", namespace, "web", "BackendFound", "True")


async def test_the_example_is_taken(cluster: Cluster, namespace: str) -> None:
    example = ROOT / "deploy" / "examples" / "kubernetes" / "cold-start.yaml"
    told = await cluster.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", str(example))
    assert "httpscaledobject.http.keda.sh/shop created" in told


ANSWER = {"body": "x"}


@pytest.mark.parametrize(
    "spec",
    [
        {"coldStart": {}},
        {"coldStart": {"placeholder": {}}},
        {"coldStart": {"maxPendingRequests": 5, "overflow": "Placeholder"}},
        {"coldStart": {"maxPendingRequests": 0}},
        {"coldStart": {"maxPendingBytes": "lots"}},
        {"coldStart": {"fallback": {"service": {"name": "a"}}}},
        {"coldStart": {"fallback": {"service": {"name": "a", "port": 80}, "tls": {}}}},
        {"coldStart": {"fallback": {"service": {"name": "a", "port": 80}, "appProtocol": "h2"}}},
        {"coldStart": {"fallback": {"host": "a.test", "port": 443, "appProtocol": "spdy"}}},
        {"coldStart": {"placeholder": {"response": ANSWER | HOLDS_PAGE}}},
        {"staticRoutes": [{"response": ANSWER}]},
        {"staticRoutes": [{"rules": [], "userAgents": [], "response": ANSWER}]},
        {"affinity": {}},
        {"affinity": {"cookie": "a", "header": "b"}},
        {"affinity": {"header": "a", "maxAge": "1h"}},
        {"readinessPath": "healthz"},
    ],
)
@pytest.mark.parametrize("kind", ["httpscaledobjects", "interceptorroutes"])
async def test_the_api_server_refuses_what_makes_no_sense(api: Api, kind: str, spec: Object) -> None:
    make = http_scaled_object if kind == "httpscaledobjects" else interceptor_route
    with pytest.raises(ApiError) as told:
        await api.create(namespaced(kind, "default"), make("default", "wrong", **spec))
    assert told.value.status == 422


async def test_two_fallbacks_are_refused(api: Api) -> None:
    spec: dict[str, Any] = {"coldStartTimeoutFailoverRef": {"service": "a", "port": 80}, "coldStart": {"fallback": SORRY}}
    with pytest.raises(ApiError) as told:
        await api.create(namespaced("httpscaledobjects", "default"), http_scaled_object("default", "wrong", **spec))
    assert told.value.status == 422
    assert "exclude each other" in str(told.value)
