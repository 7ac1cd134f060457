"""What ten thousand Services cost: memory and CPU, measured in a process of its own; and only what is wanted is paid for."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from fleet.discovery.kubernetes.backends import KubernetesBackends
from fleet.discovery.kubernetes.client import Api, ApiError, Query, Stream
from fleet.discovery.kubernetes.listwatch import Timing

SERVICES = 10_000
PAGE = 500
MAX_MEMORY_MB = 45.0
"""For all of them, parsed and kept, with what the allocator keeps of the pages; measured: 19."""
MAX_MEMORY_FEW_MB = 12.0
"""For a hundred of them; measured: 3."""
MAX_CPU_SECONDS = 2.0
"""For both lists of everything; measured: 0.3."""


def service(number: int) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {"metadata": meta(f"app-{number}"), "spec": {"ports": ports, "clusterIP": "10.96.0.1", "selector": {"app": "x"}}}


def endpoint_slice(number: int) -> dict[str, Any]:
    endpoints = [
        {
            "addresses": [f"10.{pod}.{number // 250}.{number % 250}"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "node-1",
            "targetRef": {
                "kind": "Pod",
                "name": f"app-{number}-5d9c7b-{pod}xyz",
                "namespace": "shop",
                "uid": "c7d1bb6c-0a52-4c63",
            },
        }
        for pod in range(2)
    ]
    metadata = meta(f"app-{number}-abcde") | {"labels": {"kubernetes.io/service-name": f"app-{number}", "app": "x"}}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    return {"metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": endpoints}


def meta(name: str) -> dict[str, Any]:
    # Half of what an object weighs is who changed which of its fields.
    fields: dict[str, Any] = {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {"f:ports": {}, "f:selector": {"f:app": {}}},
    }
    managed = [{"manager": "kube-controller-manager", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}] * 2
    return {"name": name, "namespace": "shop", "uid": "c7d1bb6c", "resourceVersion": "7", "managedFields": managed}


class Pages(Api):
    """Answers lists page by page, so that no more than one is in memory; there is nothing to watch."""

    def __init__(self) -> None:
        self.bytes = 0

    async def get(self, path: str, query: Query = ()) -> bytes:
        make = service if path.endswith("/services") else endpoint_slice
        start = int(dict(query).get("continue", 0))
        end = start + PAGE
        metadata = {"resourceVersion": "9"} | ({"continue": str(end)} if end < SERVICES else {})
        page = json.dumps({"metadata": metadata, "items": [make(number) for number in range(start, end)]}).encode()
        self.bytes += len(page)
        return page

    @asynccontextmanager
    async def stream(self, path: str, query: Query, *, silence: float) -> AsyncIterator[Stream]:
        raise ApiError("nothing to watch")
        yield

    async def close(self) -> None:
        pass


async def measured(wanted: Iterable[int]) -> dict[str, float]:
    """MB and seconds that these targets cost, without what making up the pages costs."""
    pages = Pages()
    making = time.process_time()
    for path in ("/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"):
        for start in range(0, SERVICES, PAGE):
            await pages.get(path, [("continue", str(start))])
    making = time.process_time() - making
    before, began = psutil.Process().memory_info().rss, time.process_time()
    backends = KubernetesBackends(pages, timing=Timing(resync=3600, first_pause=3600, longest_pause=3600))
    await backends.start()
    keys = [f"shop/app-{number}:80" for number in wanted]
    backends.want(keys)
    while not backends.synced:  # noqa: ASYNC110  # it is told by nobody
        await asyncio.sleep(0.01)
    assert all(len(backends.get(key)) == 2 for key in keys)
    seconds = time.process_time() - began - making
    memory = (psutil.Process().memory_info().rss - before) / 1e6
    await backends.close()
    return {"seconds": seconds, "memory": memory, "megabytes_read": pages.bytes / 2e6}


@pytest.mark.parametrize(("count", "most"), [(SERVICES, MAX_MEMORY_MB), (100, MAX_MEMORY_FEW_MB)])
def test_memory_and_cpu(count: int, most: float) -> None:
    code = f"import asyncio, json; from {__name__} import measured; print(json.dumps(asyncio.run(measured(range({count})))))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    print(f"{count} of {SERVICES} Services: {result}")  # noqa: T201
    assert result["memory"] < most
    assert result["seconds"] < MAX_CPU_SECONDS
