"""The older cases, with HTTPScaledObjects: requests are sent by curl in a pod, or by a load."""

from collections.abc import Mapping
from typing import Any

from tests.cluster.addon.case import Case, Run
from tests.cluster.addon.objects import PORT, PROXY, SCALER_ADDRESS, SKIP, scaled_object
from tests.cluster.api import namespaced
from tests.cluster.cluster import ROOT
from tests.cluster.controlplane import until
from tests.cluster.weir import NAMESPACE, until_condition
from tests.support.manifests import read

__all__ = ["CASES"]

RATE = {"requestRate": {"granularity": "1s", "targetValue": 2, "window": "10s"}}
FLEET = ROOT / "deploy" / "examples" / "kubernetes" / "interceptor-autoscaling-by-requests.yaml"


async def internal_service(case: Case) -> None:
    await case.app("app", port_name="http")
    await case.http_scaled("app", hosts=[case.host()], targetPendingRequests=100)
    await case.until_replicas("app", 0)
    assert await case.curl("request", "-f", "-H", f"Host: {case.host()}", PROXY)
    await case.until_replicas("app", 1)
    await case.until_replicas("app", 0)


async def internal_service_port_name(case: Case) -> None:
    await case.app("app", port_name="http")
    target = {"name": "app", "service": "app", "portName": "http"}
    await case.http_scaled("app", hosts=[case.host()], targetPendingRequests=100, scaleTargetRef=target)
    assert await case.curl("request", "-f", "-H", f"Host: {case.host()}", PROXY)
    await case.until_replicas("app", 1)
    await case.until_replicas("app", 0)


async def multiple_hosts(case: Case) -> None:
    await case.app("app", port_name="http")
    metric = {"concurrency": {"targetValue": 20}}
    await case.http_scaled("app", hosts=[case.host("host1"), case.host("host2")], scalingMetric=metric)
    for below in ("host1", "host2"):
        await case.until_replicas("app", 0)
        await case.reaches("app", case.host(below))
        await case.until_replicas("app", 1)


async def path_prefix(case: Case) -> None:
    """A prefix ends at a segment: /123/4567 is not below /123/456."""
    for app in ("one", "two"):
        await case.app(app, port_name="http")
    await case.http_scaled("one", hosts=[case.host()], pathPrefixes=["/123/456", "/qwe/rty"], targetPendingRequests=100)
    metric = {"concurrency": {"targetValue": 20}}
    await case.http_scaled("two", hosts=[case.host()], pathPrefixes=["/qwe/oty"], scalingMetric=metric)
    await case.rejected(case.host(), "/123/4567")
    await case.rejected(case.host(), "/qwe/rt")
    await case.reaches("one", case.host(), "/123/456")
    assert await case.replicas("two") == 0
    await case.until_replicas("one", 0)
    await case.reaches("one", case.host(), "/qwe/rty")
    await case.reaches("two", case.host(), "/qwe/oty")
    await case.until_replicas("two", 1)


async def headers(case: Case) -> None:
    """One host and one path, two values of a header: each starts its own app."""
    for app, value in (("one", "foo"), ("two", "bar")):
        await case.app(app, port_name="http")
        wanted = [{"name": "X-Custom-Header", "value": value}]
        await case.http_scaled(app, hosts=[case.host()], pathPrefixes=["/v1/api"], headers=wanted, targetPendingRequests=100)
    await case.reaches("one", case.host(), "/v1/api", X_Custom_Header="foo")
    await case.until_replicas("one", 1)
    assert not case.cluster.events("started", namespace=case.namespace, app="two")
    await case.until_replicas("one", 0)
    await case.reaches("two", case.host(), "/v1/api", X_Custom_Header="bar")
    await case.until_replicas("two", 1)
    assert len(case.cluster.events("started", namespace=case.namespace, app="one")) == 1


async def interceptor_timeouts(case: Case) -> None:
    """A timeout of an HTTPScaledObject applies, then a changed one."""
    await case.app("app", port_name="http")
    fields: dict[str, Any] = {"hosts": [case.host()], "targetPendingRequests": 100}
    words = ("-f", "-H", f"Host: {case.host()}")
    await case.http_scaled("app", **fields, timeouts={"responseHeader": "1s"})
    assert await case.curl("short-passes", *words, f"{PROXY}/?wait=0s")
    await case.until_replicas("app", 1)
    assert not await case.curl("short-fails", *words, f"{PROXY}/?wait=7s")
    await case.until_replicas("app", 0)
    await case.api.delete(namespaced("httpscaledobjects", case.namespace, "app"))

    async def gone() -> bool:
        return (await case.send(case.host())).status_code == 404

    await until(gone, "the HTTPScaledObject is served no more")
    await case.http_scaled("app", **fields, timeouts={"responseHeader": "5s"})
    assert await case.curl("custom-passes", *words, f"{PROXY}/?wait=2s")
    assert not await case.curl("custom-fails", *words, f"{PROXY}/?wait=20s")


async def scaling_phase_deployment(case: Case, kind: str = "Deployment") -> None:
    """Two requests a second for each replica."""
    await case.app("app", port_name="http", kind=kind)
    target = {"name": "app", "kind": kind, "service": "app", "port": PORT}
    await case.http_scaled(
        "app", hosts=[case.host()], scalingMetric=RATE, scaledownPeriod=0, replicas={"min": 0, "max": 4}, scaleTargetRef=target
    )
    async with case.load(case.host()):
        await case.until_replicas("app", 4, kind=kind)
    await case.until_replicas("app", 0, kind=kind)


async def scaling_phase_statefulset(case: Case) -> None:
    await scaling_phase_deployment(case, "StatefulSet")


async def skipped_scaled_object(case: Case) -> None:
    """With the user's own ScaledObject, which names the HTTPScaledObject: four replicas, or zero when idle."""
    await case.app("app", port_name="http")
    await case.http_scaled("app", annotations=SKIP, hosts=[case.host()], scalingMetric=RATE, replicas={"min": 0, "max": 4})
    assert await case.api.find(namespaced("scaledobjects", case.namespace, "app")) is None
    own = scaled_object("app", "app", metadata={"httpScaledObject": "app"}, minReplicaCount=4, maxReplicaCount=4)
    await case.api.create(namespaced("scaledobjects", case.namespace), own)
    async with case.load(case.host()):
        await case.until_replicas("app", 4)
    await case.until_replicas("app", 0)


async def interceptor_scaled_object(case: Case) -> None:
    """A ScaledObject for the fleet uses the add-on's address; its replicas are the current number, so nothing changes."""
    (example,) = read(FLEET)
    (trigger,) = example["spec"]["triggers"]
    trigger["metadata"]["scalerAddress"] = SCALER_ADDRESS
    example["spec"] |= {"maxReplicaCount": example["spec"]["minReplicaCount"]}
    example["metadata"]["name"] = "keda-add-ons-http-interceptor"
    path = namespaced("scaledobjects", NAMESPACE)
    await case.api.create(path, example)
    try:
        await until_condition(case.api, "scaledobjects", NAMESPACE, example["metadata"]["name"], "Ready", "True")
    finally:
        await case.api.delete(f"{path}/{example['metadata']['name']}")


async def ingress_in_app_namespace(case: Case) -> None:
    """The backend of the add-on's Ingress and HTTPRoute in the application's namespace: an alias of the proxy's alias."""
    alias = {"type": "ExternalName", "externalName": "keda-add-ons-http-interceptor-proxy.keda.svc.cluster.local"}
    await case.api.create(namespaced("services", case.namespace), {"metadata": {"name": "proxy"}, "spec": alias})
    await case.app("app", port_name="http")
    await case.http_scaled("app", hosts=[case.host()], targetPendingRequests=100)
    await case.reaches("app", case.host(), proxy=f"proxy.{case.namespace}:8080")
    await case.until_replicas("app", 1)


CASES: Mapping[str, Run] = {
    "scaling_phase_deployment": scaling_phase_deployment,
    "scaling_phase_statefulset": scaling_phase_statefulset,
    "scaling_phase_deployment_with_skip_so_creation_httpso": skipped_scaled_object,
    "interceptor_timeouts_httpso": interceptor_timeouts,
    "path_prefix": path_prefix,
    "headers": headers,
    "multiple_hosts": multiple_hosts,
    "internal_service_httpso": internal_service,
    "internal_service_port_name": internal_service_port_name,
    "interceptor_scaledobject_httpso": interceptor_scaled_object,
    "ingress_in_app_namespace": ingress_in_app_namespace,
}
