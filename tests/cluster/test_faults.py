"""Failures: interceptors are replaced, scalers and controllers killed, the API server is down. No request is lost."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.metrics import external_metric, sampled_metrics
from tests.cluster.objects import create_app, until_deployed, until_ready
from tests.cluster.weir import NAMESPACE, Answer, Weir, http_scaled_object, until_condition
from tests.support.full import FULL
from tests.support.gate import Gate

MANY = 50
AWAY = 120 if FULL else 45
"""Seconds without an API server."""
KEDAS_PATIENCE = 240.0
"""Seconds. After a long outage KEDA's client waits up to a minute before it watches again."""
SAMPLES = 6
"""Samples of each metric after the failure."""


@contextlib.asynccontextmanager
async def requests_under_way(weir: Weir, api: Api, namespace: str, gate: Gate) -> AsyncIterator[None]:
    """MANY held requests and MANY in flight, during the block and after it. All are answered, and the metrics are never zero.

    While a scaler is down there is no value. KEDA decides when it reads again, and its pauses grow with the length of the outage;
    the requests are kept open until then.
    """
    await create_app(api, namespace, "busy", replicas=1)
    await create_app(api, namespace, "held", env={"START_FILE": str(gate.file)})
    for app in ("busy", "held"):
        lasting = http_scaled_object(namespace, app, replicas={"max": 1}, timeouts={"conditionWait": "200s"})
        await api.create(namespaced("httpscaledobjects", namespace), lasting)
    for app in ("busy", "held"):
        await until_condition(api, "httpscaledobjects", namespace, app, "Ready", "True")
    waiting = [asyncio.create_task(weir.get(f"held.{namespace}")) for _ in range(MANY)]
    in_flight = [asyncio.create_task(weir.get(f"busy.{namespace}", gate.path)) for _ in range(MANY)]

    async def all_count() -> bool:
        return [await external_metric(api, namespace, app) for app in ("busy", "held")] == [MANY, MANY]

    await until(all_count, "all requests are there, and told")
    async with sampled_metrics(api, namespace, ["busy", "held"]) as values:
        yield
        enough = {app: len(found) + SAMPLES for app, found in values.items()}

        async def told_again() -> bool:
            return all(len(values[app]) >= count for app, count in enough.items())

        await until(told_again, "the metrics are told when the fault is over")
        assert not any(task.done() for task in waiting + in_flight), "the fault came and went while they waited"
    gate.open()
    answers: list[Answer] = await asyncio.gather(*waiting, *in_flight)
    assert {answer.status for answer in answers} == {200}
    assert all(min(found) > 0 for found in values.values()), values


async def test_no_request_is_lost_when_interceptors_are_rolled(
    cluster: Cluster, weir: Weir, api: Api, namespace: str, gate: Gate
) -> None:
    before = set(await weir.interceptors(api))
    async with requests_under_way(weir, api, namespace, gate):
        await cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/weir-interceptor")
        await cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/weir-interceptor", "--timeout=600s")
    await until_deployed(api, NAMESPACE, "weir-interceptor")

    async def replaced() -> bool:
        return not before & set(await weir.interceptors(api))

    await until(replaced, "the old interceptors are gone once their last request is answered")


@pytest.mark.parametrize("component", ["scaler", "controller"])
async def test_no_request_is_lost_when_others_are_killed(
    cluster: Cluster, weir: Weir, api: Api, namespace: str, gate: Gate, *, component: str
) -> None:
    async with requests_under_way(weir, api, namespace, gate):
        killed = cluster.processes(NAMESPACE, component)
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: _others(cluster, component, killed), "each is started again")
        await until_deployed(api, NAMESPACE, f"weir-{component}")
    await until_ready(api, namespace, "held", 0)


async def _others(cluster: Cluster, component: str, killed: Mapping[str, int]) -> bool:
    """Whether every pod has a new process."""
    running = cluster.processes(NAMESPACE, component)
    return running.keys() == killed.keys() and not set(running.values()) & set(killed.values())


async def test_a_scaler_killed_while_an_app_wakes(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web"))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    for pid in cluster.processes(NAMESPACE, "scaler").values():
        os.kill(pid, signal.SIGKILL)
    answer = await weir.get(f"web.{namespace}")
    assert answer.status == 200
    await until_deployed(api, NAMESPACE, "weir-scaler")


async def test_a_time_without_an_api_server(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    for app in ("awake", "asleep"):
        await create_app(api, namespace, app)
        replicas = {"min": 1 if app == "awake" else 0, "max": 3}
        # After a long outage clients of the API server, such as KEDA, may wait a minute before they try again.
        patient = http_scaled_object(namespace, app, replicas=replicas, timeouts={"conditionWait": "200s"})
        await api.create(namespaced("httpscaledobjects", namespace), patient)
        await until_condition(api, "httpscaledobjects", namespace, app, "Ready", "True")
    await until_ready(api, namespace, "awake", 1)
    ended = len(cluster.events("exited", namespace=NAMESPACE))

    cluster.plane.apiserver.kill()
    cluster.plane.manager.kill()  # it may have ended by itself, after losing its lease
    try:
        for second in range(AWAY):
            answer = await weir.get(f"awake.{namespace}")
            assert answer.status == 200, f"second {second}: {answer}"
            if second == AWAY - 10:
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
