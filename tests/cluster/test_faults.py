"""Plugs pulled: interceptors rolled, scalers and controllers killed, the API server away. No request is lost."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.metrics import sampled_metrics
from tests.cluster.objects import create_app, until_deployed, until_ready
from tests.cluster.weir import NAMESPACE, Answer, Weir, http_scaled_object, until_condition

MANY = 50
AWAY = 120.0
"""Seconds without an API server."""
KEDAS_PATIENCE = 120.0
"""Seconds. Its client waits for up to a minute before it watches again where it was refused for so long."""
SLOW_START = 25
"""Seconds that the pod of the held requests takes to listen."""


@contextlib.asynccontextmanager
async def requests_under_way(weir: Weir, api: Api, namespace: str) -> AsyncIterator[None]:
    """MANY requests held and MANY in flight while the block runs and longer; all are answered, and seen without a gap."""
    await create_app(api, namespace, "busy", replicas=1)
    await create_app(api, namespace, "held", env={"START_SECONDS": str(SLOW_START)})
    for app in ("busy", "held"):
        await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, app, replicas={"max": 1}))
    for app in ("busy", "held"):
        await until_condition(api, "httpscaledobjects", namespace, app, "Ready", "True")
    waiting = [asyncio.create_task(weir.get(f"held.{namespace}")) for _ in range(MANY)]
    in_flight = [asyncio.create_task(weir.get(f"busy.{namespace}", f"/sleep/{SLOW_START}")) for _ in range(MANY)]
    await asyncio.sleep(2)
    async with sampled_metrics(api, namespace, ["busy", "held"]) as values:
        yield
        assert not any(task.done() for task in waiting + in_flight), "the fault came and went while they waited"
        await asyncio.sleep(2)
        seen = {app: list(found) for app, found in values.items()}
    answers: list[Answer] = await asyncio.gather(*waiting, *in_flight)
    assert {answer.status for answer in answers} == {200}
    assert all(len(found) > 5 and min(found) > 0 for found in seen.values()), seen


async def test_no_request_is_lost_when_interceptors_are_rolled(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    before = set(await weir.interceptors(api))
    async with requests_under_way(weir, api, namespace):
        await cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/weir-interceptor")
        await cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/weir-interceptor", "--timeout=20s")
    await until_deployed(api, NAMESPACE, "weir-interceptor", patience=120)

    async def replaced() -> bool:
        return not before & set(await weir.interceptors(api))

    await until(replaced, "the old interceptors are gone once their last request is answered", patience=30)


@pytest.mark.parametrize("component", ["scaler", "controller"])
async def test_no_request_is_lost_when_others_are_killed(
    cluster: Cluster, weir: Weir, api: Api, namespace: str, component: str
) -> None:
    async with requests_under_way(weir, api, namespace):
        for pid in cluster.processes(NAMESPACE, component).values():
            os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(1)
        await until_deployed(api, NAMESPACE, f"weir-{component}", patience=15)
    await until_ready(api, namespace, "held", 0)


async def test_a_scaler_killed_while_an_app_wakes(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web"))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    for pid in cluster.processes(NAMESPACE, "scaler").values():
        os.kill(pid, signal.SIGKILL)
    answer = await weir.get(f"web.{namespace}")
    assert answer.status == 200
    await until_deployed(api, NAMESPACE, "weir-scaler")


async def test_two_minutes_without_an_api_server(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    for app in ("awake", "asleep"):
        await create_app(api, namespace, app)
        replicas = {"min": 1 if app == "awake" else 0, "max": 3}
        # Clients of the API server that were refused for so long, KEDA among them, may ask again only after a minute.
        patient = http_scaled_object(namespace, app, replicas=replicas, timeouts={"conditionWait": "200s"})
        await api.create(namespaced("httpscaledobjects", namespace), patient)
        await until_condition(api, "httpscaledobjects", namespace, app, "Ready", "True")
    await until_ready(api, namespace, "awake", 1)
    ended = len(cluster.events("exited", namespace=NAMESPACE))

    cluster.plane.apiserver.kill()
    cluster.plane.manager.kill()  # it ends by itself where it has a lease to lose
    try:
        for second in range(int(AWAY)):
            answer = await weir.get(f"awake.{namespace}")
            assert answer.status == 200, f"second {second}: {answer}"
            if second == int(AWAY) - 10:
                waking = asyncio.create_task(weir.get(f"asleep.{namespace}"))
            await asyncio.sleep(1)
        assert not waking.done()
    finally:
        cluster.plane.apiserver.start()
    await cluster.plane.serving()
    cluster.plane.manager.start()
    back = time.time()

    answer = await waking
    assert answer.status == 200
    print(f"woken {answer.sent + answer.seconds - back:.0f} s after the API server came back")  # noqa: T201 - what was measured
    await create_app(api, namespace, "later")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "later"))
    await until_condition(api, "httpscaledobjects", namespace, "later", "Ready", "True", patience=KEDAS_PATIENCE)
    assert (await weir.get(f"later.{namespace}")).status == 200
    await until_ready(api, namespace, "asleep", 0)
    assert len(cluster.events("exited", namespace=NAMESPACE)) == ended, "nothing of ours was started again"
