"""Many objects at once: how long until all are served and report it, how much CPU that takes, and that all activity ends.

A thousand objects at full size. KEDA takes most of the time, because it limits itself to twenty requests a second.
"""

import asyncio
import time
from collections import Counter

import httpx
import psutil
import pytest

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import deployment, service
from tests.cluster.test_controller import http_scaled_object
from tests.cluster.weir import NAMESPACE, Weir
from tests.support.full import FULL

OBJECTS = 1000 if FULL else 150
AT_ONCE = 40
STILL_SECONDS = 120.0
"""Seconds without progress after which the test fails. There is no limit for all, because that depends on the machine."""
QUIET_SECONDS = 20.0
KEDA_SETTLE_SECONDS = 9.0
"""Seconds for KEDA's last status writes about ready objects, on a busy machine; each check counts for one and a half seconds."""


@pytest.mark.timeout(1800)
async def test_many_objects_at_once(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    await api.merge(namespaced("deployments", NAMESPACE, "weir-controller"), {"spec": {"replicas": 2}})
    await weir.until_ready(api)
    names = [f"app{number:04}" for number in range(OBJECTS)]
    await create_all(api, namespaced("deployments", namespace), [deployment(name) for name in names])
    await create_all(api, namespaced("services", namespace), [service(name) for name in names])

    cpu = controller_cpu(cluster)
    began = time.monotonic()
    objects = [http_scaled_object(name, f"{name}.{namespace}", pollingInterval=3600, scaledownPeriod=3600) for name in names]
    await create_all(api, namespaced("httpscaledobjects", namespace), objects)
    created = time.monotonic() - began

    await until_all(api, namespace, "RoutesPropagated")
    propagated = time.monotonic() - began
    await until_all(api, namespace, "Ready")
    ready = time.monotonic() - began
    print(  # noqa: T201 - what was measured
        f"\n{OBJECTS} objects: created in {created:.1f} s, all served after {propagated:.1f} s, all ready after {ready:.1f} s; "
        f"controllers used {controller_cpu(cluster) - cpu:.1f} s of CPU; {await writes(api)}"
    )

    assert (await weir.get(f"{names[-1]}.{namespace}")).status == 200

    async def quiet() -> bool:
        before = (await versions(api, namespace), await writes(api))
        await asyncio.sleep(QUIET_SECONDS)
        return (await versions(api, namespace), await writes(api)) == before

    await until(quiet, "nothing is written while nothing changes", patience=KEDA_SETTLE_SECONDS, pause=1)


async def create_all(api: Api, path: str, objects: list[Object]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def create(one: Object) -> None:
        async with places:
            await api.create(path, one)

    await asyncio.gather(*map(create, objects))


async def until_all(api: Api, namespace: str, condition: str) -> None:
    """Wait until the condition of every object is True; fails if there is no progress."""
    done = 0

    async def more() -> int:
        found = (await statuses(api, namespace, condition))["True"]
        return found if found > done else 0

    while done < OBJECTS:
        done = await until(more, f"more than {done} of {OBJECTS} are {condition}", patience=STILL_SECONDS, pause=1)


async def statuses(api: Api, namespace: str, condition: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in await api.list(namespaced("httpscaledobjects", namespace)):
        for told in one.get("status", {}).get("conditions", ()):
            if told["type"] == condition:
                found[told["status"]] += 1
    return found


async def versions(api: Api, namespace: str) -> dict[str, str]:
    objects = await api.list(namespaced("httpscaledobjects", namespace))
    table = await api.get(namespaced("configmaps", NAMESPACE, "weir-routing-table"))
    return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in [*objects, table]}


async def writes(api: Api) -> str:
    """The controllers' counters of writes, as text, to detect further writes."""
    told = []
    async with httpx.AsyncClient(trust_env=False) as client:
        for pod in await api.list(namespaced("pods", NAMESPACE), labelSelector="app.kubernetes.io/component=controller"):
            answer = await client.get(f"http://{pod['status']['podIP']}:9903/metrics")
            told += [line for line in answer.text.splitlines() if "_writes_total" in line and not line.startswith("#")]
    return ", ".join(told)


def controller_cpu(cluster: Cluster) -> float:
    """CPU seconds that all running controllers have used."""
    total = 0.0
    for event in cluster.events("started", namespace=NAMESPACE):
        if "controller" in event["pod"] and psutil.pid_exists(event["pid"]):
            times = psutil.Process(event["pid"]).cpu_times()
            total += times.user + times.system
    return total
