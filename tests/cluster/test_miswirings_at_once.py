"""More configuration mistakes, all at once in separate namespaces, and some unusual configurations that are correct.

On an idle machine each mistake is named within ten seconds of its object or of its first request; correct configurations are not
reported as wrong.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import PATIENCE, until
from tests.cluster.objects import create_app, deployment, service
from tests.cluster.test_miswirings import HTTP, NAMED_WITHIN, NEVER_READY, ROUTE, allowance
from tests.cluster.weir import Weir, condition, http_scaled_object, interceptor_route, scaled_object, until_condition

AT_ONCE = 4
IMPATIENT_SECONDS = 1.5


@dataclass(frozen=True)
class Case:
    """The application "web". `says` is a part of the message of `kind`; `answer` is the response to the first request, None for a
    client that disconnects and tries again."""

    reason: str
    says: str
    status: str
    resource: str = HTTP
    kind: str = "Reachable"
    before: Callable[[Api, str], Awaitable[None]] | None = None
    container: Object = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    service: Object = field(default_factory=dict)
    spec: Object = field(default_factory=dict)
    target: Object = field(default_factory=dict)
    metadata: Object = field(default_factory=dict)
    answer: int | None = 504


async def another_is_ready(api: Api, namespace: str) -> None:
    made = deployment("other", replicas=1)
    made["spec"]["template"]["metadata"]["labels"]["group"] = "g"
    await api.create(namespaced("deployments", namespace), made)

    async def ready() -> bool:
        found = await api.get(namespaced("deployments", namespace, "other"))
        return bool(found.get("status", {}).get("readyReplicas"))

    await until(ready, "the other workload's pod is ready")


async def no_large_pods(api: Api, namespace: str) -> None:
    limits = [{"type": "Container", "max": {"cpu": "100m"}}]
    await api.create(namespaced("limitranges", namespace), {"metadata": {"name": "small"}, "spec": {"limits": limits}})


async def a_slice_by_hand(api: Api, namespace: str) -> None:
    metadata = {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}
    made = {"metadata": metadata, "addressType": "IPv4", "ports": [{"name": "", "port": 8080}]}
    await api.create(namespaced("endpointslices", namespace), made | {"endpoints": [{"addresses": ["10.1.2.3"]}]})


async def two_scaled_objects(api: Api, namespace: str) -> None:
    """Both name the route; the alphabetically first scales a helper."""
    await create_app(api, namespace, "helper")
    for name, workload in (("a-helper", "helper"), ("web", "web")):
        made = scaled_object("web", scaleTargetRef={"name": workload})
        made["metadata"]["name"] = name
        await api.create(namespaced("scaledobjects", namespace), made)


async def one_scaled_object_without_workload(api: Api, namespace: str) -> None:
    for name, workload in (("a-helper", "nothing"), ("web", "web")):
        made = scaled_object("web", scaleTargetRef={"name": workload})
        made["metadata"]["name"] = name
        await api.create(namespaced("scaledobjects", namespace), made)


LARGE = {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}
WRONG_PROBE = {"readinessProbe": {"httpGet": {"path": "/", "port": 8081}, "periodSeconds": 1}}
NO_IMAGE = {"image": "nobody/nothing:1"}
PAGE = {"coldStart": {"placeholder": {"response": {"statusCode": 503, "body": "soon"}}}}
ROLLOUT = {"kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1"}
SERVING = "requests are routed, and the workload is scaled by them"

CASES: Mapping[str, Case] = {
    "pods-of-another-answer": Case(
        "SelectsOtherPods",
        "selects no pod of Deployment web (app=other); it selects pods of something else, and requests go to them: other-",
        "False",
        before=another_is_ready,
        service={"selector": {"app": "other"}},
        answer=200,
    ),
    "pods-of-another-as-well": Case(
        "SelectsMore",
        "which get requests as well (group=g): other-",
        "True",
        before=another_is_ready,
        labels={"group": "g"},
        service={"selector": {"group": "g"}},
        answer=200,
    ),
    "pods-too-large": Case(
        "PodsNotCreated", "maximum cpu usage per Container is 100m", "False", before=no_large_pods, container=LARGE
    ),
    "wrong-probe": Case("PodsNotReady", "runs and has not passed its startup or readiness probe", "False", container=WRONG_PROBE),
    "page-for-ever": Case("ImageNotPulled", "found no backend", "False", container=NO_IMAGE, spec=PAGE, answer=503),
    "impatient": Case(
        "PodsNotReady", "has not passed its startup or readiness probe", "Unknown", container=NEVER_READY, answer=None
    ),
    "unknown-kind": Case("NotScaled", "how many Rollout web is asked to have cannot be read", "False", target=ROLLOUT),
    "slice-by-hand": Case(
        "TargetPortNotFound",
        'no EndpointSlice of Service web has a port named "http"',
        "False",
        before=a_slice_by_hand,
        service={"selector": None},
    ),
    "two-scaled-objects": Case(
        "PodsNotReady",
        "Deployment web has 1 pod, 0 ready",
        "False",
        resource=ROUTE,
        before=two_scaled_objects,
        container=NEVER_READY,
    ),
    # Correct configurations, which must not be reported as wrong.
    "one-of-two-scales": Case(
        "Serving", SERVING, "True", resource=ROUTE, kind="Ready", before=one_scaled_object_without_workload, answer=200
    ),
    "kedas-label": Case(
        "Serving", SERVING, "True", kind="Ready", metadata={"labels": {"scaledobject.keda.sh/name": "other"}}, answer=200
    ),
    "port-of-digits": Case("Serving", SERVING, "True", kind="Ready", target={"port": None, "portName": "80"}, answer=200),
    "by-the-service": Case("Serving", SERVING, "True", kind="Ready", spec={"directPodRouting": False}, answer=200),
    "to-the-pods": Case("Serving", SERVING, "True", kind="Ready", spec={"directPodRouting": True}, answer=200),
}


async def create(api: Api, namespace: str, case: Case) -> None:
    """Create the application of the case."""
    if case.before is not None:
        await case.before(api, namespace)
    workload, made = deployment("web"), service("web")
    workload["spec"]["template"]["metadata"]["labels"].update(case.labels)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    container.update(case.container)
    made["spec"].update(case.service)
    await api.create(namespaced("deployments", namespace), workload)
    await api.create(namespaced("services", namespace), made)
    patience = "10s" if case.answer == 504 else "120s"
    if case.resource == HTTP:
        one = http_scaled_object(namespace, "web", timeouts={"conditionWait": patience}, **case.spec)
        one["spec"]["scaleTargetRef"].update(case.target)
    else:
        one = interceptor_route(namespace, "web", timeouts={"readiness": patience}, **case.spec)
    one["metadata"].update(case.metadata)
    await api.create(namespaced(case.resource, namespace), one)


async def first_request(weir: Weir, namespace: str, case: Case) -> None:
    if case.answer is None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(weir.get(f"web.{namespace}"), IMPATIENT_SECONDS)
    answer = await weir.get(f"web.{namespace}")
    assert answer.status == case.answer, answer


async def named(api: Api, namespace: str, case: Case) -> Object:
    found: Object = {}

    async def is_so() -> bool:
        found.clear()
        found.update(condition(await api.get(namespaced(case.resource, namespace, "web")), case.kind))
        so = (found.get("reason"), found.get("status")) == (case.reason, case.status)
        return so and case.says in found.get("message", "")

    try:
        await until(is_so, f"{case.reason} is told", patience=PATIENCE)
    except AssertionError as error:
        raise AssertionError(f"{namespace}: {error}: {found}") from None
    return found


async def check(cluster: Cluster, weir: Weir, api: Api, namespace: str, case: Case) -> None:
    await create(api, namespace, case)
    await until_condition(api, case.resource, namespace, "web", "RoutesPropagated", "True")
    slower, began = await allowance(api, namespace), time.monotonic()
    request: asyncio.Task[Any] = asyncio.create_task(first_request(weir, namespace, case), name=f"request of {namespace}")
    try:
        await named(api, namespace, case)
        # A cause that may pass is certain only after a request has timed out.
        waits = 10.0 if case.answer == 504 else 0.0
        assert time.monotonic() - began < (NAMED_WITHIN + waits) * slower
        if case.answer is not None:
            await request
        described = " ".join((await cluster.kubectl("describe", case.resource, "web", "-n", namespace)).split())
        assert case.says in described
        assert case.reason in described
    finally:
        request.cancel()


async def test_each_is_named_and_nothing_else_is(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with places:
            home = f"{namespace[:20]}-{name}"
            await api.create(namespaced("namespaces"), {"metadata": {"name": home}})
            try:
                await check(cluster, weir, api, home, CASES[name])
            finally:
                await api.delete(namespaced("namespaces", name=home))

    results = await asyncio.gather(*map(one, CASES), return_exceptions=True)
    wrong = {name: result for name, result in zip(CASES, results, strict=True) if result is not None}
    assert not wrong, "\n".join(f"{name}: {result!r}" for name, result in wrong.items())
