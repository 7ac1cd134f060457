"""Mistakes in the scaling of a workload: each is named by `kubectl get` and `kubectl describe`, soon after the object."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, until_ready
from tests.cluster.test_miswirings import allowance
from tests.cluster.weir import SCALER_ADDRESS, Weir, http_scaled_object, interceptor_route, scaled_object

NAMED_SECONDS = 10.0
"""Seconds from the last object to the condition or the event; both times are in whole seconds."""
THEIRS = "keda-add-ons-http-external-scaler.keda:9090"


def http(name: str = "web", /, *, annotations: dict[str, str] | None = None, host: str = "", **target: Any) -> tuple[str, Object]:
    made = http_scaled_object("apps", name)
    made["metadata"]["annotations"] = annotations or {}
    made["spec"]["hosts"] = [f"{host or name}.example.com"]
    spec = {field: target.pop(field) for field in ("replicas",) if field in target}
    made["spec"]["scaleTargetRef"] |= target
    made["spec"] |= spec
    return "httpscaledobjects", made


def route(name: str = "web", **spec: Any) -> tuple[str, Object]:
    return "interceptorroutes", interceptor_route("apps", name, **spec)


def hosted(made: Object, namespace: str) -> Object:
    """The same object with hosts of the namespace's own: the objects of the test before may not be gone yet, and hold theirs."""
    text = json.dumps(made).replace(".example.com", f".{namespace}.example.com").replace('"web.apps"', f'"web.{namespace}"')
    found: Object = json.loads(text)
    return found


def scaled(
    name: str = "web",
    *,
    workload: str = "web",
    triggers: list[Object] | None = None,
    annotations: dict[str, str] | None = None,
    **trigger: str,
) -> tuple[str, Object]:
    fields = {"scalerAddress": SCALER_ADDRESS, **trigger}
    chosen = triggers or [{"type": "external-push", "metadata": fields}]
    made = scaled_object(name, triggers=chosen, scaleTargetRef={"name": workload})
    made["metadata"]["annotations"] = annotations or {}
    return "scaledobjects", made


def hpa(name: str) -> tuple[str, Object]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "metrics": [{"type": "Resource", "resource": resource}]}
    return "horizontalpodautoscalers", {"metadata": {"name": name}, "spec": spec}


CRON = [{"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "1"}}]
LONG = "x" * 64


class Mistake(NamedTuple):
    name: str
    objects: list[tuple[str, Object]]
    """Objects that are created, in this order, in addition to a Deployment and a Service "web"."""
    about: tuple[str, str]
    """Resource and name of the object that reports the mistake."""
    reason: str
    words: str


MISTAKES = [
    Mistake(
        "missing-route",
        [scaled(interceptorRoute="nowhere")],
        ("scaledobjects", "web"),
        "NoSuchRoute",
        "no InterceptorRoute {namespace}/nowhere",
    ),
    Mistake(
        "missing-http",
        [scaled(httpScaledObject="nowhere")],
        ("scaledobjects", "web"),
        "NoSuchRoute",
        "no HTTPScaledObject {namespace}/nowhere",
    ),
    Mistake(
        "other-address",
        [route(), scaled(interceptorRoute="web", scalerAddress=THEIRS)],
        ("scaledobjects", "web"),
        "OtherScaler",
        f"its scaler is {THEIRS}, which is not this one",
    ),
    Mistake(
        "other-address-route",
        [route(), scaled(interceptorRoute="web", scalerAddress=THEIRS)],
        ("interceptorroutes", "web"),
        "NotScaled",
        f"nothing scales it: ScaledObject web names this application, but its scaler is {THEIRS}",
    ),
    Mistake("no-name", [scaled()], ("scaledobjects", "web"), "NoApplication", "its trigger names no application"),
    Mistake(
        "other-namespace",
        [scaled(app="kube-system/web")],
        ("scaledobjects", "web"),
        "OtherNamespace",
        "its trigger names kube-system/web",
    ),
    Mistake(
        "two-names",
        [route(), scaled(interceptorRoute="web", app="other")],
        ("scaledobjects", "web"),
        "NoApplication",
        "its trigger names different applications: app=other, interceptorRoute=web",
    ),
    Mistake(
        "invalid-route",
        [route(rules=[{"hosts": ["no host"]}]), scaled(interceptorRoute="web")],
        ("scaledobjects", "web"),
        "RouteNotServed",
        "InterceptorRoute {namespace}/web is not served: spec.rules[0].hosts[0]",
    ),
    Mistake(
        "no-scaled-object",
        [route()],
        ("interceptorroutes", "web"),
        "NotScaled",
        "nothing scales it: no ScaledObject in namespace {namespace} names this application",
    ),
    Mistake(
        "only-cron",
        [route(), scaled(triggers=CRON)],
        ("interceptorroutes", "web"),
        "NotScaled",
        "nothing scales it: no ScaledObject in namespace {namespace} names this application",
    ),
    Mistake(
        "wrong-workload-route",
        [route(), scaled(workload="nothing", interceptorRoute="web")],
        ("interceptorroutes", "web"),
        "NotScaled",
        "nothing scales it: ScaledObject web: ScaledObject doesn't have correct scaleTargetRef",
    ),
    Mistake(
        "paused",
        [http(annotations={"autoscaling.keda.sh/paused": "true"})],
        ("httpscaledobjects", "web"),
        "Paused",
        "ScaledObject web is paused by its annotation autoscaling.keda.sh/paused=true",
    ),
    Mistake(
        "paused-replicas",
        [route(), scaled(interceptorRoute="web", annotations={"autoscaling.keda.sh/paused-replicas": "0"})],
        ("interceptorroutes", "web"),
        "Paused",
        "paused by its annotation autoscaling.keda.sh/paused-replicas=0",
    ),
    Mistake(
        "maintenance",
        [http(annotations={"http.keda.sh/maintenance": "true"})],
        ("httpscaledobjects", "web"),
        "Maintenance",
        "in maintenance: every request gets its page",
    ),
    Mistake(
        "one-workload",
        [http("web"), http("web-two", name="web", service="web")],
        ("httpscaledobjects", "web-two"),
        "WorkloadTaken",
        "HTTPScaledObject {namespace}/web is older and scales Deployment {namespace}/web",
    ),
    Mistake(
        "older-hpa",
        [hpa("mine"), http()],
        ("httpscaledobjects", "web"),
        "WorkloadTaken",
        "HorizontalPodAutoscaler {namespace}/mine is older and scales Deployment {namespace}/web",
    ),
    Mistake(
        "younger-hpa",
        [http(), hpa("yours")],
        ("httpscaledobjects", "web"),
        "WorkloadScaledTwice",
        "HorizontalPodAutoscaler {namespace}/yours scales Deployment {namespace}/web, too",
    ),
    Mistake(
        "older-scaled",
        [scaled("mine", triggers=CRON), http()],
        ("httpscaledobjects", "web"),
        "WorkloadTaken",
        "ScaledObject {namespace}/mine is older and scales Deployment {namespace}/web",
    ),
    Mistake(
        "one-host",
        [http("web"), http("web-two", host="web", name="web", service="web")],
        ("httpscaledobjects", "web-two"),
        "ClaimedByOlder",
        "web.{namespace}.example.com/ is held by HTTPScaledObject {namespace}/web",
    ),
    Mistake(
        "long-name",
        [http(LONG, name="web", service="web", host="long")],
        ("httpscaledobjects", LONG),
        "NameTooLong",
        "KEDA takes no ScaledObject whose name has more than 63 characters",
    ),
    Mistake(
        "name-taken",
        [scaled(triggers=CRON, workload="other"), http()],
        ("httpscaledobjects", "web"),
        "NameTaken",
        "ScaledObject {namespace}/web was made by someone else",
    ),
    Mistake(
        "no-workload",
        [http(name="nothing")],
        ("httpscaledobjects", "web"),
        "NotReady",
        "ScaledObject doesn't have correct scaleTargetRef",
    ),
    Mistake(
        "min-above-max",
        [http(replicas={"min": 6, "max": 5})],
        ("httpscaledobjects", "web"),
        "Refused",
        "minReplicaCount must be less than or equal to maxReplicaCount",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.name for mistake in MISTAKES])
async def test_named(weir: Weir, api: Api, cluster: Cluster, namespace: str, mistake: Mistake) -> None:
    await create_app(api, namespace, "web")
    slower = await allowance(api, namespace)
    created = datetime.min.replace(tzinfo=UTC)
    for resource, made in mistake.objects:
        owned = hosted(made, namespace)
        created = _time((await api.create(namespaced(resource, namespace), owned))["metadata"]["creationTimestamp"])
    resource, name = mistake.about
    words = mistake.words.format(namespace=namespace)
    found: list[tuple[str, str, str]] = []

    async def is_named() -> bool:
        found[:] = await (_events if resource == "scaledobjects" else _conditions)(api, namespace, resource, name)
        return any(reason == mistake.reason and words in message for reason, message, _ in found)

    try:
        await until(is_named, f"{mistake.reason} is told")
    except AssertionError as error:
        raise AssertionError(f"{error}: {found}") from None
    described = " ".join((await cluster.kubectl("describe", resource, name, "-n", namespace)).split())
    assert mistake.reason in described
    assert words in described
    if resource != "scaledobjects":
        assert mistake.reason in (await cluster.kubectl("get", resource, name, "-n", namespace)).splitlines()[1].split()
    when = next(_time(at) for reason, message, at in found if reason == mistake.reason and words in message)
    assert (when - created).total_seconds() <= NAMED_SECONDS * max(slower, await allowance(api, namespace))


async def test_the_loser_gets_no_scaled_object_and_the_winner_is_scaled(weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    for resource, made in (http("web"), http("web-two", host="web", name="web", service="web")):
        await api.create(namespaced(resource, namespace), hosted(made, namespace))

    async def told() -> bool:
        ready = {
            name: [reason for reason, _, _ in await _conditions(api, namespace, "httpscaledobjects", name)]
            for name in ("web", "web-two")
        }
        return ready == {"web": ["Serving"], "web-two": ["ClaimedByOlder"]}

    await until(told, "both say what they are")
    scaled_objects = await api.list(namespaced("scaledobjects", namespace))
    assert [one["metadata"]["name"] for one in scaled_objects] == ["web"]
    assert (await weir.get(f"web.{namespace}.example.com")).status == 200


async def _conditions(api: Api, namespace: str, resource: str, name: str) -> list[tuple[str, str, str]]:
    """Reason, message and time of the condition Ready, which `kubectl get` shows."""
    found = await api.get(namespaced(resource, namespace, name))
    listed = found.get("status", {}).get("conditions", ())
    return [(one["reason"], one["message"], one["lastTransitionTime"]) for one in listed if one["type"] == "Ready"]


async def _events(api: Api, namespace: str, _: str, name: str) -> list[tuple[str, str, str]]:
    """Reason, message and time of the controller's events about a ScaledObject."""
    found = await api.list(namespaced("events", namespace))
    return [
        (one["reason"], one["message"], one["firstTimestamp"])
        for one in found
        if (one["involvedObject"]["kind"], one["involvedObject"]["name"]) == ("ScaledObject", name)
        and one["source"].get("component") == "weir-controller"
    ]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_workload_that_is_scaled_no_longer_sleeps(weir: Weir, api: Api, namespace: str) -> None:
    for name in ("web", "new"):
        await create_app(api, namespace, name, replicas=1 if name == "web" else 0)
    await api.create(namespaced("httpscaledobjects", namespace), hosted(http()[1], namespace))
    path = namespaced("httpscaledobjects", namespace, "web")
    await until(lambda: _serves(api, namespace), "it is scaled")
    await api.merge(path, {"spec": {"scaledownPeriod": 3600}})
    assert (await weir.get(f"web.{namespace}.example.com")).text.startswith("web-")
    await api.merge(path, {"spec": {"scaleTargetRef": {"name": "new", "service": "new"}}})
    await until_ready(api, namespace, "web", 0)
    assert (await weir.get(f"web.{namespace}.example.com")).text.startswith("new-")
    await until(lambda: _serves(api, namespace), "the other one is scaled")


async def _serves(api: Api, namespace: str) -> bool:
    return [reason for reason, _, _ in await _conditions(api, namespace, "httpscaledobjects", "web")] == ["Serving"]
