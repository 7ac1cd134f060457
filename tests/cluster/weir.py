"""Weir as installed by its own manifests, and clients."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import ROOT, Cluster
from tests.cluster.controlplane import PATIENCE, until
from tests.cluster.objects import until_deployed

__all__ = [
    "COMPONENTS",
    "NAMESPACE",
    "SCALER_ADDRESS",
    "TABLE",
    "Answer",
    "Weir",
    "condition",
    "http_scaled_object",
    "interceptor_route",
    "scaled_object",
    "until_condition",
]

NAMESPACE = "weir-system"
TABLE = "weir-routing-table"
SCALER_ADDRESS = f"weir-scaler.{NAMESPACE}.svc:9091"
COMPONENTS = ("weir-controller", "weir-interceptor", "weir-scaler")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str
    sent: float
    """Seconds since the epoch, just before the request was sent."""
    seconds: float


class Weir:
    """The fleet, reached by its Service."""

    def __init__(self, cluster: Cluster, client: httpx.AsyncClient) -> None:
        self._cluster, self._client = cluster, client
        self.address = ""

    @staticmethod
    async def install(cluster: Cluster, overlay: str = "default") -> None:
        await cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy" / "overlays" / overlay))

    async def find(self, api: Api) -> None:
        self.address = (await api.get(namespaced("services", NAMESPACE, "weir-interceptor")))["spec"]["clusterIP"]

    @staticmethod
    async def until_ready(api: Api, components: Sequence[str] = COMPONENTS) -> None:
        for component in components:
            await until_deployed(api, NAMESPACE, component)

    async def interceptors(self, api: Api) -> dict[str, str]:
        """Addresses of running interceptors, by name."""
        selector = "app.kubernetes.io/component=interceptor"
        pods = await api.list(namespaced("pods", NAMESPACE), labelSelector=selector)
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods if pod.get("status", {}).get("podIP")}

    async def get(self, host: str, path: str = "/", *, address: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request to the fleet's Service, or to the interceptor with that address."""
        sent, began = time.time(), time.perf_counter()
        answer = await self._client.get(f"http://{address or self.address}:8080{path}", headers={**(headers or {}), "Host": host})
        return Answer(answer.status_code, answer.text, sent, time.perf_counter() - began)


def http_scaled_object(namespace: str, app: str, **spec: Any) -> Object:
    """Routes host APP.NAMESPACE to the Service of that name, with a short cooldown."""
    fields = {
        "hosts": [f"{app}.{namespace}"],
        "scaleTargetRef": {"name": app, "kind": "Deployment", "apiVersion": "apps/v1", "service": app, "port": 80},
        "replicas": {"min": 0, "max": 5},
        "scaledownPeriod": 3,
        "pollingInterval": 2,
        "scalingMetric": {"concurrency": {"targetValue": 5}},
    }
    return {"apiVersion": "http.keda.sh/v1alpha1", "kind": "HTTPScaledObject", "metadata": {"name": app}, "spec": fields | spec}


def interceptor_route(namespace: str, app: str, **spec: Any) -> Object:
    """The same route without scaling."""
    fields = {
        "rules": [{"hosts": [f"{app}.{namespace}"]}],
        "target": {"service": app, "port": 80},
        "scalingMetric": {"concurrency": {"targetValue": 5}},
    }
    return {"apiVersion": "http.keda.sh/v1beta1", "kind": "InterceptorRoute", "metadata": {"name": app}, "spec": fields | spec}


def scaled_object(app: str, **fields: Any) -> Object:
    """A ScaledObject as a user writes it, with a short cooldown."""
    trigger = {"type": "external-push", "metadata": {"scalerAddress": SCALER_ADDRESS, "interceptorRoute": app}}
    spec = {
        "scaleTargetRef": {"name": app},
        "minReplicaCount": 0,
        "maxReplicaCount": 5,
        "pollingInterval": 2,
        "cooldownPeriod": 3,
        "triggers": [trigger],
        **fields,
    }
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": app}, "spec": spec}


def condition(item: Object, kind: str) -> Object:
    """The condition of that type; {} if there is none."""
    found = [entry for entry in item.get("status", {}).get("conditions", ()) if entry["type"] == kind]
    return dict(found[0]) if found else {}


async def until_condition(  # noqa: PLR0917 - an object is named by three words, and a condition by two
    api: Api, resource: str, namespace: str, name: str, kind: str, status: str, *, patience: float = PATIENCE
) -> Object:
    """Wait until the condition has that status for the object's current generation; returns it."""
    found: Object = {}

    async def holds() -> bool:
        item = await api.get(namespaced(resource, namespace, name))
        found.clear()
        found.update(condition(item, kind))
        current = found.get("observedGeneration", item["metadata"]["generation"]) == item["metadata"]["generation"]
        return current and found.get("status") == status

    try:
        await until(holds, f"{kind} is {status}", patience=patience)
    except AssertionError as error:
        raise AssertionError(f"{resource} {namespace}/{name}: {error}: {found}") from None
    return found
