"""The network policies of the manifests, enforced by the node: only necessary connections. Other tests show that they suffice."""

from collections.abc import Mapping

import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import Cluster
from tests.cluster.controlplane import until
from tests.cluster.node.spec import ready_condition
from tests.cluster.weir import NAMESPACE, Weir

PORTS = {"interceptor": (8080, 9090, 9901), "scaler": (9091, 9902), "controller": (9903,)}
PROXY = "interceptor:8080"
DIAGNOSTICS = {"interceptor:9901", "scaler:9902", "controller:9903"}


async def places(api: Api) -> dict[str, str]:
    """Addresses and ports of one pod of each component, by name."""
    found: dict[str, str] = {}
    for component, ports in PORTS.items():
        pods = await api.list(namespaced("pods", NAMESPACE), labelSelector=f"app.kubernetes.io/component={component}")
        address = next(pod["status"]["podIP"] for pod in pods if ready_condition(pod))
        found |= {f"{component}:{port}": f"{address}:{port}" for port in ports}
    return found


async def reached(cluster: Cluster, api: Api, namespace: str, name: str, labels: Mapping[str, str]) -> set[str]:
    """The places to which a pod in that namespace with those labels can connect."""
    tries = [
        f"timeout 2 bash -c 'exec 3<>/dev/tcp/{place.replace(':', '/')}' 2>/dev/null && echo reached {known}"
        for known, place in (await places(api)).items()
    ]
    container = {
        "name": "app",
        "image": "echo",
        "command": ["bash", "-c"],
        "args": ["\n".join([*tries, "echo done", "sleep 60"])],
        "readinessProbe": {"exec": {"command": ["false"]}},  # not ready, so that no Service sends requests here
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    context = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": context, "terminationGracePeriodSeconds": 1}
    await api.create(namespaced("pods", namespace), {"metadata": {"name": name, "labels": dict(labels)}, "spec": spec})

    async def done() -> bool:
        return cluster.log(namespace, name, "app").endswith("done\n")

    await until(done, f"{namespace}/{name} has tried everything")
    await api.delete(namespaced("pods", namespace, name))
    return {line.split()[1] for line in cluster.log(namespace, name, "app").splitlines() if line.startswith("reached")}


@pytest.fixture
async def account(api: Api, namespace: str) -> None:
    for owner in (namespace, "keda"):
        path = namespaced("serviceaccounts", owner, "default")
        await until(lambda path=path: api.find(path), "the namespace has its account")  # type: ignore[misc]


@pytest.mark.usefixtures("account")
async def test_tenants_reach_the_proxy_only(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    assert await reached(cluster, api, namespace, "tenant", {}) == {PROXY}
    disguised = {"app.kubernetes.io/name": "weir", "app.kubernetes.io/component": "scaler", "app": "keda-operator"}
    assert await reached(cluster, api, namespace, "disguised", disguised) == {PROXY}


@pytest.mark.usefixtures("account")
async def test_prometheus_reaches_the_diagnostics(cluster: Cluster, weir: Weir, api: Api, namespace: str) -> None:
    await api.merge(namespaced("namespaces", name=namespace), {"metadata": {"labels": {"metrics": "enabled"}}})
    assert await reached(cluster, api, namespace, "prometheus", {}) == {PROXY, *DIAGNOSTICS}


@pytest.mark.usefixtures("account")
async def test_keda_reaches_the_scaler(cluster: Cluster, weir: Weir, api: Api) -> None:
    assert await reached(cluster, api, "keda", "keda-operator", {"app": "keda-operator"}) == {PROXY, "scaler:9091"}
    assert await reached(cluster, api, "keda", "other", {"app": "other"}) == {PROXY}


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("component", "more"), [("scaler", {"interceptor:9090"}), ("controller", {"interceptor:9090"}), ("other", set())]
)
async def test_components_reach_what_they_ask(cluster: Cluster, weir: Weir, api: Api, component: str, more: set[str]) -> None:
    labels = {"app.kubernetes.io/name": "weir", "app.kubernetes.io/component": component}
    assert await reached(cluster, api, NAMESPACE, f"like-{component}", labels) == {PROXY, *more}
