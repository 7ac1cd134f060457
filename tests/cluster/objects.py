"""Minimal Kubernetes objects for tests, and queries about them."""

from collections.abc import Mapping, Sequence

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import APP_IMAGE
from tests.cluster.controlplane import PATIENCE, until
from tests.cluster.node.spec import ready_condition

__all__ = ["create_app", "deployment", "pods", "replicas", "service", "until_deployed", "until_ready"]

PROBE = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}


def deployment(name: str, *, replicas: int = 0, env: Mapping[str, str] | None = None, grace: int = 10) -> Object:
    container = {
        "name": "app",
        "image": APP_IMAGE,
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "readinessProbe": PROBE,
    }
    labels = {"app": name}
    pod = {"containers": [container], "terminationGracePeriodSeconds": grace, "automountServiceAccountToken": False}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def service(name: str) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


async def create_app(api: Api, namespace: str, name: str, *, replicas: int = 0, env: Mapping[str, str] | None = None) -> None:
    """Create a Deployment and its Service."""
    await api.create(namespaced("deployments", namespace), deployment(name, replicas=replicas, env=env))
    await api.create(namespaced("services", namespace), service(name))


async def pods(api: Api, namespace: str, app: str) -> Sequence[Object]:
    return await api.list(namespaced("pods", namespace), labelSelector=f"app={app}")


async def replicas(api: Api, namespace: str, app: str) -> int:
    """The replicas in the Deployment's spec."""
    return int((await api.get(namespaced("deployments", namespace, app)))["spec"]["replicas"])


async def until_ready(api: Api, namespace: str, app: str, count: int = 1, *, patience: float = PATIENCE) -> list[Object]:
    """Wait until there are exactly `count` pods and all are ready; returns them."""

    async def ready() -> list[Object] | None:
        found = await pods(api, namespace, app)
        return list(found) if len(found) == count and all(ready_condition(pod) for pod in found) else None

    if count == 0:
        await until(lambda: _none(api, namespace, app), f"{app} has no pods", patience=patience)
        return []
    return await until(ready, f"{app} has {count} ready pods", patience=patience) or []


async def until_deployed(api: Api, namespace: str, name: str, *, patience: float = PATIENCE) -> None:
    """Wait until every pod is from the current template and ready, and no older one is left."""

    async def deployed() -> bool:
        found = await api.get(namespaced("deployments", namespace, name))
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        counts = [status.get(count, 0) for count in ("replicas", "updatedReplicas", "readyReplicas")]
        return current and counts == [wanted] * 3

    await until(deployed, f"{name} is deployed", patience=patience)


async def _none(api: Api, namespace: str, app: str) -> bool:
    return not await pods(api, namespace, app)
