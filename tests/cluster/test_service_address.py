"""Requests are sent to pods directly or to the address of their Service, depending on a field."""

import asyncio
import ipaddress
from pathlib import Path

import pytest

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, until_ready
from tests.cluster.weir import NAMESPACE, Weir, http_scaled_object, interceptor_route, scaled_object, until_condition
from tests.support.gate import Gate

ESTABLISHED = "01"


def connected(pid: int) -> set[str]:
    """ADDRESS:PORT of the remote ends of all IPv4 connections in a process's network namespace."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {_address(row[2]) for row in rows if row[3] == ESTABLISHED}


def _address(text: str) -> str:
    """Parse an address of /proc: its bytes are written as one number in the machine's byte order."""
    address, port = text.split(":")
    return f"{ipaddress.IPv4Address(bytes.fromhex(address)[::-1])}:{int(port, 16)}"


@pytest.mark.parametrize("kind", ["httpscaledobjects", "interceptorroutes"])
@pytest.mark.parametrize("direct", [False, True], ids=["service", "pods"])
async def test_reached_at(cluster: Cluster, weir: Weir, api: Api, namespace: str, gate: Gate, *, kind: str, direct: bool) -> None:
    await create_app(api, namespace, "web")
    if kind == "httpscaledobjects":
        await api.create(namespaced(kind, namespace), http_scaled_object(namespace, "web", directPodRouting=direct))
    else:
        await api.create(namespaced(kind, namespace), interceptor_route(namespace, "web", directPodRouting=direct))
        await api.create(namespaced("scaledobjects", namespace), scaled_object("web"))
    await until_condition(api, kind, namespace, "web", "Ready", "True")
    assert (await weir.get(f"web.{namespace}")).status == 200
    (pod,) = await until_ready(api, namespace, "web")
    service: Object = await api.get(namespaced("services", namespace, "web"))
    ends = {False: f"{service['spec']['clusterIP']}:80", True: f"{pod['status']['podIP']}:8080"}

    request = asyncio.create_task(weir.get(f"web.{namespace}", gate.path), name="a request that lasts")
    processes = cluster.processes(NAMESPACE, "interceptor").values()

    async def under_way() -> set[str]:
        return set.union(*map(connected, processes)) & set(ends.values())

    assert await until(under_way, "an interceptor has a connection to the app") == {ends[direct]}
    gate.open()
    assert (await request).status == 200
