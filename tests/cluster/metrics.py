"""The metric that an HPA reads for an app, through KEDA's adapter; and frequent samples of it, to detect a short drop to zero."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx

from tests.cluster.api import Api, ApiError, namespaced

__all__ = ["external_metric", "sampled_metrics"]

PAUSE = 0.25
"""Seconds between two samples."""


async def external_metric(api: Api, namespace: str, name: str) -> float:
    """The value of the one metric of a ScaledObject."""
    status = (await api.get(namespaced("scaledobjects", namespace, name)))["status"]
    (metric,) = status["externalMetricNames"]
    path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}"
    (item,) = (await api.get(path, labelSelector=f"scaledobject.keda.sh/name={name}"))["items"]
    value = str(item["value"])
    return float(value.removesuffix("m")) / 1000 if value.endswith("m") else float(value)


@contextlib.asynccontextmanager
async def sampled_metrics(api: Api, namespace: str, names: list[str]) -> AsyncIterator[dict[str, list[float]]]:
    """Samples taken while the block runs. An error gives no sample, because KEDA does not change replicas then."""
    seen: dict[str, list[float]] = {name: [] for name in names}

    async def sample() -> None:
        while True:
            for name in names:
                with contextlib.suppress(ApiError, httpx.HTTPError):
                    seen[name].append(await external_metric(api, namespace, name))
            await asyncio.sleep(PAUSE)

    task = asyncio.create_task(sample(), name="samples of metrics")
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
