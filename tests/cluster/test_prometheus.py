"""Scaling by published metrics: KEDA's own prometheus trigger, with a real Prometheus, gives what the external scaler gives."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import ROOT
from tests.cluster.controlplane import until
from tests.cluster.network import NODE_ADDRESS
from tests.cluster.objects import create_app, replicas
from tests.cluster.weir import NAMESPACE, Weir, interceptor_route, scaled_object, until_condition
from tests.support.gate import Gate

PORT = 19090
TARGET = 5
REQUESTS, REPLICAS = 12, 3
"""Requests at once, and how many replicas they need."""


def example(namespace: str, app: str) -> dict[str, object]:
    """The ScaledObject of the documentation, for another application and another address."""
    text = (ROOT / "deploy" / "examples" / "prometheus" / "scaledobject.yaml").read_text()
    found: dict[str, object] = yaml.safe_load(
        text.replace("default/shop", f"{namespace}/{app}").replace(
            "http://prometheus.monitoring.svc:9090", f"http://{NODE_ADDRESS}:{PORT}"
        )
    )
    made = scaled_object(app)
    made["spec"]["triggers"] = found["spec"]["triggers"]  # type: ignore[index]
    assert made["spec"]["triggers"][0]["metadata"]["threshold"] == str(TARGET)
    return made


@pytest.fixture
async def prometheus(weir: Weir, api: Api, tmp_path: Path) -> AsyncIterator[None]:
    """Scrapes the scalers every second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no prometheus: make peers")
    pods = await api.list(namespaced("pods", NAMESPACE), labelSelector="app.kubernetes.io/component=scaler")
    targets = [f"{pod['status']['podIP']}:9902" for pod in pods]
    scrape = {"job_name": "weir-scaler", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    process = await asyncio.create_subprocess_exec(
        program, f"--config.file={configuration}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={NODE_ADDRESS}:{PORT}", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
        assert process.returncode is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def test_both_ways_of_scaling_give_the_same_replicas(
    prometheus: None, weir: Weir, api: Api, namespace: str, gate: Gate
) -> None:
    for app in ("pushed", "scraped"):
        await create_app(api, namespace, app)
        route = interceptor_route(namespace, app, activityPeriod="1s", scalingMetric={"concurrency": {"targetValue": TARGET}})
        await api.create(namespaced("interceptorroutes", namespace), route)
    await api.create(namespaced("scaledobjects", namespace), scaled_object("pushed"))
    await api.create(namespaced("scaledobjects", namespace), example(namespace, "scraped"))
    for app in ("pushed", "scraped"):
        await until_condition(api, "interceptorroutes", namespace, app, "RoutesPropagated", "True")
    assert [await replicas(api, namespace, app) for app in ("pushed", "scraped")] == [0, 0]

    requests = [
        asyncio.create_task(weir.get(f"{app}.{namespace}", gate.path)) for app in ("pushed", "scraped") for _ in range(REQUESTS)
    ]

    async def both() -> bool:
        counts = [await replicas(api, namespace, app) for app in ("pushed", "scraped")]
        return counts == [REPLICAS, REPLICAS]

    await until(both, "both have three replicas", patience=240)
    gate.open()
    answers = await asyncio.gather(*requests)
    assert {answer.status for answer in answers} == {200}

    async def none() -> bool:
        return [await replicas(api, namespace, app) for app in ("pushed", "scraped")] == [0, 0]

    await until(none, "both sleep", patience=400)
