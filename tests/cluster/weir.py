"""Weir as its own manifests install it, and clients in front of it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from fleet.routing.codec import encode_json
from fleet.routing.route import Route, Rule, Scaling, Target
from fleet.routing.table import RoutingTable
from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import until_deployed

__all__ = ["NAMESPACE", "SCALER_ADDRESS", "TABLE", "Answer", "Weir", "route", "scaled_object", "until_scaled_object_ready"]

NAMESPACE = "weir-system"
TABLE = "weir-routing-table"
SCALER_ADDRESS = f"weir-scaler.{NAMESPACE}.svc:9091"
COMPONENTS = ("weir-controller", "weir-interceptor", "weir-scaler")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str
    sent: float
    """Seconds since the epoch, just before the request was."""
    seconds: float


class Weir:
    """The fleet, found by its Service."""

    def __init__(self, cluster: Cluster, client: httpx.AsyncClient) -> None:
        self._cluster, self._client = cluster, client
        self.address = ""

    @staticmethod
    async def install(cluster: Cluster, overlay: str = "default") -> None:
        await cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "deploy" / "overlays" / overlay))

    async def find(self, api: Api) -> None:
        self.address = (await api.get(namespaced("services", NAMESPACE, "weir-interceptor")))["spec"]["clusterIP"]

    async def until_ready(self, api: Api, components: Sequence[str] = COMPONENTS) -> None:
        for component in components:
            await until_deployed(api, NAMESPACE, component)

    async def get(self, host: str, path: str = "/", *, address: str = "") -> Answer:
        """One request, to the fleet's Service or to the one interceptor of that address."""
        sent, began = time.time(), time.perf_counter()
        answer = await self._client.get(f"http://{address or self.address}:8080{path}", headers={"Host": host})
        return Answer(answer.status_code, answer.text, sent, time.perf_counter() - began)

    async def write_table(self, api: Api, routes: Sequence[Route]) -> None:
        """A routing table by hand, as the controller would write it."""
        data = {"table.json": encode_json(RoutingTable(routes)).decode()}
        body: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": TABLE}, "data": data}
        path = namespaced("configmaps", NAMESPACE, TABLE)
        await api.call("PATCH", path, body, kind="application/apply-patch+yaml", fieldManager="test", force="true")


def route(namespace: str, app: str, **scaling: Any) -> Route:
    """Host APP.NAMESPACE to the Service of that name."""
    scaling = {"concurrency": 5.0, "activity_period": 1.0, **scaling}
    rules = (Rule(hosts=(f"{app}.{namespace}",)),)
    return Route(app=f"{namespace}/{app}", target=Target(f"{namespace}/{app}", 80), rules=rules, scaling=Scaling(**scaling))


def scaled_object(app: str, **fields: Any) -> Object:
    """A ScaledObject as a user writes it, quick to let go."""
    trigger = {"type": "external-push", "metadata": {"scalerAddress": SCALER_ADDRESS, "app": app}}
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


async def until_scaled_object_ready(api: Api, namespace: str, name: str) -> None:
    """Until KEDA has made its HPA and listens to the scaler."""

    async def ready() -> bool:
        status = (await api.get(namespaced("scaledobjects", namespace, name))).get("status", {})
        conditions = {condition["type"]: condition["status"] for condition in status.get("conditions", ())}
        return conditions.get("Ready") == "True" and bool(status.get("externalMetricNames"))

    await until(ready, f"ScaledObject {name} is ready")
