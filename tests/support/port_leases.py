"""Controllers' views of leases of ports, over one API server in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from controller.portleases.choice import PortLimits
from controller.portleases.source import PortSource
from controller.portleases.store import PortStore, Wanted
from controller.resources import Key
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.routing.port import TCP
from fleet.routing.port_index import PortKey
from tests.support.apply_api import ApplyApi

__all__ = ["ENTRY", "LEASES", "SERVICE", "entry", "leased", "limits", "stores", "wanted"]

NAMESPACE = "weir-system"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/weir-interceptor"
ENTRY = f"{NAMESPACE}/weir-interceptor"
HTTP_PORT = {"name": "http", "port": 8080, "protocol": "TCP", "targetPort": "http"}


def entry(api: ApplyApi, name: str = "weir-interceptor", *, ports: Any = (HTTP_PORT,), ip: str = "", **labels: str) -> str:
    """A Service before the interceptors; gives its path."""
    path = f"{SERVICE.rpartition('/')[0]}/{name}"
    status = {"loadBalancer": {"ingress": [{"ip": ip}]}} if ip else {}
    metadata = {"labels": {"weir.dev/entry": name, **labels}}
    api.put(path, apiVersion="v1", kind="Service", spec={"ports": list(ports)}, status=status, metadata=metadata)
    return path


def limits(first: int = 20_000, last: int = 20_049, **others: int) -> PortLimits:
    return PortLimits(first, last, others.get("most", 1000), others.get("most_of_namespace", 1000), 60.0)


def wanted(name: str, namespace: str = "shop", protocol: str = TCP, **others: Any) -> Wanted:
    return Wanted(namespace=namespace, name=name, protocol=protocol, **others)


def leased(api: ApplyApi) -> dict[str, str]:
    """The names of leases by their object."""
    found = {path.rpartition("/")[2]: held for path, held in api.objects.items() if path.startswith(f"{LEASES}/weir-port-")}
    return {name: held["metadata"]["annotations"]["weir.dev/port-name"] for name, held in found.items()}


@asynccontextmanager
async def stores(
    api: ApplyApi, limits: PortLimits, count: int = 1, *, fixed: Mapping[PortKey, Key] | None = None, wall: float = 1e9
) -> AsyncIterator[list[PortStore]]:
    """Stores of several controllers, each with watches of its own."""
    made: list[PortStore] = []
    async with AsyncExitStack() as stack:
        for _ in range(count):
            source = PortSource(api, NAMESPACE, "weir.dev/entry", timing=Timing())
            source.start()
            stack.push_async_callback(source.close)
            await source.known()
            made.append(PortStore(api, NAMESPACE, source, limits, fixed=lambda: fixed or {}, wall=lambda: wall))
        yield made
