"""Cases about scaling and its metrics: cold starts, rate, concurrency, scaling to zero."""

import asyncio
import json
from collections.abc import Mapping

import httpx

from tests.cluster.addon.case import Case, Run
from tests.cluster.addon.objects import rate, scaled_object
from tests.cluster.api import Object, namespaced
from tests.cluster.controlplane import until
from tests.cluster.objects import pods, until_deployed
from tests.cluster.weir import NAMESPACE, until_condition
from tests.support.gate import Gate

__all__ = ["CASES", "graceful_shutdown"]

STAYS = 10
"""Seconds for which a count must not change; 10 and 30 in the add-on's tests."""
SUBSTITUTES = {
    "interceptor_request_concurrency": "weir_interceptor_in_flight_requests",
    "interceptor_request_count_total": "weir_interceptor_requests_total",
    "interceptor_request_duration_seconds": "weir_interceptor_request_duration_seconds",
}
"""Weir's metrics for the add-on's, as in docs/migration.md."""


async def cold_start(case: Case) -> None:
    await case.routed("cold-start-app", rules=[{"hosts": [case.host()]}])
    # Weir recognises its scaler by the add-on's address: no event says that another scaler is used.
    await until_condition(case.api, "interceptorroutes", case.namespace, "ir-cold-start-app", "ScaledObjectReady", "True")
    await case.until_replicas("cold-start-app", 0)
    await case.status(case.host(), "", 200)
    await case.until_replicas("cold-start-app", 1)
    await case.status(case.host(), "", 200, method="POST", json={"key": "value"})
    await case.until_replicas("cold-start-app", 0)


async def scaling(case: Case) -> None:
    """Ten requests a second, five for each replica."""
    await case.routed("scaling-app", rules=[{"hosts": [case.host()]}], scalingMetric=rate(5), so={"maxReplicaCount": 10})
    await case.until_replicas("scaling-app", 0)
    async with case.load(case.host()):
        await case.until_replicas("scaling-app", 2)
    await case.until_replicas("scaling-app", 0)
    await case.stable("scaling-app", 0, STAYS)


async def concurrency_scaling(case: Case) -> None:
    """Ten requests a second that take half a second each have a concurrency of five, the target of a replica."""
    metric = {"concurrency": {"targetValue": 5}}
    await case.routed("concurrency-app", rules=[{"hosts": [case.host()]}], scalingMetric=metric, so={"maxReplicaCount": 10})
    await case.until_replicas("concurrency-app", 0)
    async with case.load(case.host(), "/?wait=500ms"):
        await case.until_replicas("concurrency-app", 1, more=True)
    await case.until_replicas("concurrency-app", 0)
    await case.stable("concurrency-app", 0, STAYS)


async def concurrent_routing(case: Case) -> None:
    for letter in "ab":
        hosts = [case.host(f"app-{letter}")]
        await case.routed(f"app-{letter}", rules=[{"hosts": hosts}], scalingMetric=rate(5), so={"maxReplicaCount": 10})
    for letter in "ab":
        await case.until_replicas(f"app-{letter}", 0)
    async with case.load(case.host("app-a")):
        await case.until_replicas("app-a", 1, more=True)
        await case.stable("app-b", 0, STAYS)
    assert not case.cluster.events("started", namespace=case.namespace, app="app-b")


async def prometheus_metrics(case: Case) -> None:
    """By Weir's names of the metrics. Each scrape reaches one of three interceptors, and only one of them had the request."""
    await case.routed("prom-app", rules=[{"hosts": [case.host()]}])
    await case.status(case.host(), "", 200)

    async def told() -> bool:
        text = await _scraped("http://keda-add-ons-http-interceptor-metrics.keda:2223/metrics")
        assert all(f"# TYPE {name} " in text for name in SUBSTITUTES.values()), text[:2000]
        lines = [line for line in text.splitlines() if f'namespace="{case.namespace}"' in line]
        counted = [line for line in lines if line.startswith("weir_interceptor_requests_total{")]
        return len(counted) == 1 and counted[0].endswith(" 1.0")

    await until(told, f"the metrics of the interceptors have {case.namespace}")


async def graceful_shutdown(case: Case) -> None:
    """All interceptors are replaced during a request. It takes ten seconds in the add-on's test; here as long as needed."""
    await case.app("shutdown-app", replicas=1)
    await case.route("shutdown-ir", "shutdown-app", rules=[{"hosts": [case.host()]}])
    await case.reaches("shutdown-app", case.host())
    (pod,) = await pods(case.api, case.namespace, "shutdown-app")
    gate = Gate(case.cluster.directory)
    before = {found["metadata"]["name"] for found in await _interceptors(case)}

    async def under_way() -> bool:
        return gate.path in case.cluster.log(case.namespace, pod["metadata"]["name"], "shutdown-app")

    async def told_to_end() -> bool:
        staying = {
            found["metadata"]["name"] for found in await _interceptors(case) if "deletionTimestamp" not in found["metadata"]
        }
        return not before & staying

    request = asyncio.create_task(case.send(case.host(), gate.path), name="the request under way")
    try:
        await until(under_way, "the request is at the app")
        await case.cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/weir-interceptor")
        await until(told_to_end, "every interceptor is told to end")
        assert not request.done()
        gate.open()
        assert (await request).status_code == 200
    finally:
        request.cancel()
        gate.open()
    await until_deployed(case.api, NAMESPACE, "weir-interceptor")
    await case.reaches("shutdown-app", case.host())


async def _interceptors(case: Case) -> list[Object]:
    return await case.api.list(namespaced("pods", NAMESPACE), labelSelector="app.kubernetes.io/component=interceptor")


async def operator_metrics(case: Case) -> None:
    text = await _scraped("http://keda-add-ons-http-operator-metrics.keda:8080/metrics")
    assert "# HELP weir_controller_" in text, case.namespace


async def other_aliases(case: Case) -> None:
    """Not a case of the add-on: the aliases in Weir's own namespace, and the admin port, which serves the counts."""
    await case.app("app")
    await case.route("ir-app", "app", rules=[{"hosts": [case.host()]}])
    metadata = {"interceptorRoute": "ir-app", "scalerAddress": f"keda-add-ons-http-external-scaler.{NAMESPACE}:9090"}
    await case.api.create(namespaced("scaledobjects", case.namespace), scaled_object("so-app", "app", metadata=metadata))
    await until_condition(case.api, "interceptorroutes", case.namespace, "ir-app", "ScaledObjectReady", "True")
    await case.reaches("app", case.host(), proxy=f"keda-add-ons-http-interceptor-proxy.{NAMESPACE}:8080")
    counts = json.loads(await _scraped("http://keda-add-ons-http-interceptor-admin.keda:9090/queue"))
    assert f"{case.namespace}/ir-app" in str(counts), counts


async def _scraped(url: str) -> str:
    """Scrape over a new connection, which may reach any of the pods."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.get(url)
    assert answer.status_code == 200, f"{url}: {answer.status_code}"
    return answer.text


CASES: Mapping[str, Run] = {
    "TestScaling": scaling,
    "TestConcurrencyScaling": concurrency_scaling,
    "TestColdStart": cold_start,
    "TestConcurrentRouting": concurrent_routing,
    "TestPrometheusMetrics": prometheus_metrics,
    "operator_metrics": operator_metrics,
    "other_aliases": other_aliases,
}
