"""Objects created in an unusual order, and objects changed later: everything recovers by itself."""

import asyncio
import os
import signal
import time

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, until_deployed, until_ready
from tests.cluster.weir import (
    NAMESPACE,
    SCALER_ADDRESS,
    Weir,
    http_scaled_object,
    interceptor_route,
    scaled_object,
    until_condition,
)

TOO_EARLY = 10.0
"""Seconds for which a ScaledObject exists before its route."""
KEDAS_PATIENCE = 120.0
"""Seconds. KEDA's pauses double, so the last pause is about as long as all before it together."""
LEADERLESS = 60.0
"""Maximum seconds without a leader; a lease lasts a quarter of that."""


async def test_a_scaled_object_that_was_there_before_its_route(weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("scaledobjects", namespace), scaled_object("web"))
    await until_condition(api, "scaledobjects", namespace, "web", "Ready", "False")
    await asyncio.sleep(TOO_EARLY)
    await api.create(namespaced("interceptorroutes", namespace), interceptor_route(namespace, "web"))
    began = time.monotonic()
    await until_condition(api, "scaledobjects", namespace, "web", "Ready", "True", patience=KEDAS_PATIENCE)
    print(f"waited {TOO_EARLY:.0f} s for its route, and {time.monotonic() - began:.1f} s for KEDA to ask again")  # noqa: T201
    assert (await weir.get(f"web.{namespace}")).status == 200


async def test_a_scaler_that_was_there_before_any_interceptor(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web"))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    interceptors = namespaced("deployments", NAMESPACE, "weir-interceptor")
    replicas = (await api.get(interceptors))["spec"]["replicas"]
    await api.merge(interceptors, {"spec": {"replicas": 0}})
    try:
        await until(lambda: _none(weir, api), "every interceptor is gone")
        for pid in cluster.processes(NAMESPACE, "scaler").values():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: _scalers(cluster, 2), "the scalers are there again")
        await until_deployed(api, NAMESPACE, "weir-scaler")
    finally:
        await api.merge(interceptors, {"spec": {"replicas": replicas}})
    await weir.until_ready(api)
    assert (await weir.get(f"web.{namespace}")).status == 200
    await until_ready(api, namespace, "web", 0)


async def test_a_changed_target_reaches_the_autoscaler_by_itself(weir: Weir, api: Api, namespace: str) -> None:
    """By StreamMetricSpec: the ScaledObject does not change, and KEDA polls only once an hour."""
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", pollingInterval=3600))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    trigger = {"type": "external-push", "metadata": {"scalerAddress": SCALER_ADDRESS, "app": f"{namespace}/web"}}
    await create_app(api, namespace, "other")
    await api.create(namespaced("scaledobjects", namespace), scaled_object("other", triggers=[trigger], pollingInterval=3600))
    await until(lambda: _targets(api, namespace, "5"), "both autoscalers aim at five requests a pod")
    changed = {"spec": {"scalingMetric": {"concurrency": {"targetValue": 7}}}}
    await api.merge(namespaced("httpscaledobjects", namespace, "web"), changed)
    await until(lambda: _targets(api, namespace, "7"), "both autoscalers aim at seven requests a pod")


async def test_a_leader_that_hangs_is_replaced(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    lease = namespaced("leases", NAMESPACE, "weir-controller")

    async def leader() -> str:
        return str((await api.get(lease))["spec"]["holderIdentity"])

    async def another() -> bool:
        return await leader() not in {"", hung}

    await create_app(api, namespace, "web")
    hung = await leader()
    pid = cluster.processes(NAMESPACE, "controller")[hung]
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        await until(another, "the other one leads", patience=LEADERLESS)
        print(f"another leads {time.monotonic() - began:.1f} s after the leader hung")  # noqa: T201 - what was measured
        await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web"))
        await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(lambda: _logged(cluster, hung, "leads no longer"), "the one that hung knows that it leads no longer")
    assert await another()
    assert (await weir.get(f"web.{namespace}")).status == 200


async def _none(weir: Weir, api: Api) -> bool:
    return not await weir.interceptors(api)


async def _scalers(cluster: Cluster, count: int) -> bool:
    return len(cluster.processes(NAMESPACE, "scaler")) == count


async def _targets(api: Api, namespace: str, value: str) -> bool:
    found = await api.list(namespaced("horizontalpodautoscalers", namespace))
    targets = [metric["external"]["target"]["averageValue"] for one in found for metric in one["spec"]["metrics"]]
    return targets == [value, value]


async def _logged(cluster: Cluster, pod: str, words: str) -> bool:
    return words in cluster.log(NAMESPACE, pod, "controller")
