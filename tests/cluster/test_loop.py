"""The closed loop, routing table and ScaledObjects written by hand: interceptors and scalers as their manifests run them."""

import asyncio
import statistics

import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, pods, until_ready
from tests.cluster.weir import NAMESPACE, Weir, route, scaled_object, until_scaled_object_ready

PLANES = ("weir-interceptor", "weir-scaler")
WAKE_LIMIT = 0.040
"""Seconds from a request to the pod's process, median. A scaler that does nothing but push takes about 0.024."""


@pytest.fixture(autouse=True)
async def _no_controller(weir: Weir, api: Api) -> None:
    """It would write a table of its own."""
    await api.merge(namespaced("deployments", NAMESPACE, "weir-controller"), {"spec": {"replicas": 0}})


async def create_scaled(api: Api, namespace: str, app: str, **fields: int) -> None:
    await create_app(api, namespace, app)
    await api.create(namespaced("scaledobjects", namespace), scaled_object(app, **fields))


async def test_zero_to_one_to_many_to_zero(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    await weir.write_table(api, [route(namespace, "web")])
    await weir.until_ready(api, PLANES)
    await create_scaled(api, namespace, "web")
    await until_scaled_object_ready(api, namespace, "web")
    assert not await pods(api, namespace, "web")

    first = await weir.get(f"web.{namespace}")
    assert (first.status, first.text.split()[0].startswith("web-")) == (200, True)
    assert len(cluster.events("started", namespace=namespace)) == 1

    load = [asyncio.create_task(weir.get(f"web.{namespace}", "/sleep/12")) for _ in range(40)]
    await until_ready(api, namespace, "web", 5)
    assert {answer.status for answer in await asyncio.gather(*load)} == {200}

    await until_ready(api, namespace, "web", 0)
    assert not cluster.events("killed", namespace=namespace)


async def test_a_request_starts_a_process_within_milliseconds(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    apps = [f"app{number}" for number in range(20)]
    await weir.write_table(api, [route(namespace, app) for app in apps])
    await weir.until_ready(api, PLANES)
    for app in apps:
        await create_scaled(api, namespace, app, cooldownPeriod=60, pollingInterval=30)
    for app in apps:
        await until_scaled_object_ready(api, namespace, app)
    await asyncio.sleep(3)  # KEDA's first poll of each is over, and its streams are open

    took = []
    for app in apps:
        answer = await weir.get(f"{app}.{namespace}")
        assert answer.status == 200
        (started,) = cluster.events("started", namespace=namespace, app=app)
        (created,) = cluster.events("seen", namespace=namespace, app=app)
        (bind,) = cluster.events("bound", namespace=namespace, app=app)
        (ready,) = cluster.events("ready", namespace=namespace, app=app)
        took.append(
            (
                created["time"] - answer.sent,
                bind["time"] - answer.sent,
                started["time"] - answer.sent,
                answer.sent + answer.seconds - ready["time"],
            )
        )
    seen, bound, wakes, answers = ([row[column] for row in took] for column in range(4))
    print(f"\nrequest to pod seen by the node: {_summary(seen)}")  # noqa: T201
    print(f"request to pod bound: {_summary(bound)}")  # noqa: T201
    print(f"request to process start: {_summary(wakes)}; pod ready to answer: {_summary(answers)}")  # noqa: T201 - what was measured
    assert statistics.median(wakes) <= WAKE_LIMIT


async def test_apps_do_not_see_each_others_load(weir: Weir, api: Api, namespace: str) -> None:
    apps = [f"app{number}" for number in range(7)]
    await weir.write_table(api, [route(namespace, app) for app in apps])
    await weir.until_ready(api, PLANES)
    for app in apps:
        await create_scaled(api, namespace, app)
    for app in apps:
        await until_scaled_object_ready(api, namespace, app)

    busy = [asyncio.create_task(weir.get(f"app{number}.{namespace}", "/sleep/10")) for number in (2, 5) for _ in range(number)]

    async def seen() -> bool:
        return await external_metrics(api, namespace, apps) == {app: {"app2": 2.0, "app5": 5.0}.get(app, 0.0) for app in apps}

    await until(seen, "seven apps have seven metrics, each its own")
    assert {answer.status for answer in await asyncio.gather(*busy)} == {200}
    assert [len(await pods(api, namespace, app)) for app in apps] == [0, 0, 1, 0, 0, 1, 0]


async def external_metrics(api: Api, namespace: str, apps: list[str]) -> dict[str, float]:
    """What an HPA reads, by way of KEDA's adapter."""
    values = {}
    for app in apps:
        status = (await api.get(namespaced("scaledobjects", namespace, app)))["status"]
        (metric,) = status["externalMetricNames"]
        path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}"
        (item,) = (await api.get(path, labelSelector=f"scaledobject.keda.sh/name={app}"))["items"]
        values[app] = _quantity(item["value"])
    return values


def _quantity(text: str) -> float:
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def _summary(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1000:.1f} ms ({min(seconds) * 1000:.1f} to {max(seconds) * 1000:.1f})"
