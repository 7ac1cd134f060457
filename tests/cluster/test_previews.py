"""Previews on a real control plane: copies that sleep at zero, wake alone, follow their base, and go without a trace."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import APP_IMAGE, ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, pods, replicas, until_ready
from tests.cluster.weir import NAMESPACE, Answer, Weir, http_scaled_object, until_condition

ROLE = "weir-controller-previews"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS = ("pods", "services", "endpointslices", "deployments", "httpscaledobjects", "scaledobjects", "horizontalpodautoscalers")


def write_kustomization(directory: Path) -> None:
    """A user's kustomization: the overlay, with the component."""
    overlay, component = (
        os.path.relpath(ROOT / "deploy" / path, directory) for path in ("overlays/default", "components/previews/cluster")
    )
    (directory / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"namespace: {NAMESPACE}\nresources: [{overlay}]\ncomponents: [{component}]\n"
    )


HOOK = {"name": "make", "image": APP_IMAGE, "command": ["/bin/sh", "-c", 'test "$WEIR_PREVIEW" = f1']}


@pytest.fixture
async def making(cluster: Cluster, weir: Weir, api: Api, tmp_path: Path) -> AsyncIterator[None]:
    """The fleet with the component, which is removed afterwards."""
    write_kustomization(tmp_path)
    try:
        await cluster.kubectl("apply", "--server-side", "-k", str(tmp_path))
        await weir.until_ready(api)
        yield
    finally:
        await api.delete(f"{RBAC}/clusterrolebindings/{ROLE}")
        await api.delete(f"{RBAC}/clusterroles/{ROLE}")
        await Weir.install(cluster)
        await weir.until_ready(api)


def of(answer: Answer) -> str:
    """The Deployment whose pod has answered."""
    assert answer.status == 200, answer.text
    return answer.text.split()[0].rsplit("-", 2)[0]


def preview(name: str, **spec: object) -> dict[str, object]:
    whole = {"base": "web", "overrides": {"env": {"OWN": name}}, **spec}
    return {"apiVersion": "weir.dev/v1alpha1", "kind": "Preview", "metadata": {"name": name}, "spec": whole}


async def test_copies_wake_alone_follow_their_base_and_go_without_a_trace(
    making: None, weir: Weir, api: Api, namespace: str
) -> None:
    host = f"web.{namespace}"

    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", previews={}))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    before = await _objects(api, namespace)
    hook = {"name": "make", "job": {"template": {"spec": {"containers": [HOOK]}}}}
    for name, more in (("f1", {"before": [hook]}), ("f2", {})):
        await api.create(namespaced("previews", namespace), preview(name, **more))
        await until_condition(api, "previews", namespace, name, "Ready", "True")
    assert (await api.get(namespaced("previews", namespace, "f1")))["status"]["hooksDone"] == ["make"]
    assert not [one for one in await api.list(namespaced("pods", namespace)) if one["status"]["phase"] != "Succeeded"]

    assert of(await weir.get(f"f1.{host}")) == "web--f1"
    assert await replicas(api, namespace, "web") == await replicas(api, namespace, "web--f2") == 0
    assert of(await weir.get(host)) == "web"
    assert len(await pods(api, namespace, "web")) == 1
    assert len(await pods(api, namespace, "web--f1")) == 1, "its label has another value"
    assert await _addresses(api, namespace, "web") == {pod["status"]["podIP"] for pod in await pods(api, namespace, "web")}

    await api.merge(namespaced("deployments", namespace, "web"), {"spec": {"revisionHistoryLimit": 3}})
    await until(lambda: _has_history(api, namespace, 3), "the copies follow")
    copy = await api.get(namespaced("deployments", namespace, "web--f1"))
    assert {"name": "OWN", "value": "f1"} in copy["spec"]["template"]["spec"]["containers"][0]["env"]
    for name in ("web", "web--f1"):
        await until_ready(api, namespace, name, 0)

    await api.delete(namespaced("previews", namespace, "f1"))
    await api.merge(namespaced("previews", namespace, "f2"), {"spec": {"ttl": "1s", "expires": "AfterCreation"}})
    await until(lambda: _is_as(api, namespace, before), "everything that was made is gone")
    assert of(await weir.get(f"f1.{host}")) == "web"


async def _objects(api: Api, namespace: str) -> set[tuple[str, str]]:
    found = {
        (kind, one["metadata"]["name"]) for kind in (*KINDS, "previews") for one in await api.list(namespaced(kind, namespace))
    }
    return {(kind, name) for kind, name in found if kind not in ("pods", "endpointslices") or "--" in name}


async def _is_as(api: Api, namespace: str, before: set[tuple[str, str]]) -> bool:
    return await _objects(api, namespace) == before


async def _addresses(api: Api, namespace: str, service: str) -> set[str]:
    """Of the endpoints of a Service."""
    slices = await api.list(namespaced("endpointslices", namespace), labelSelector=f"kubernetes.io/service-name={service}")
    return {address for each in slices for endpoint in each.get("endpoints") or () for address in endpoint["addresses"]}


async def _has_history(api: Api, namespace: str, limit: int) -> bool:
    found = [await api.get(namespaced("deployments", namespace, f"web--{name}")) for name in ("f1", "f2")]
    return all(one["spec"]["revisionHistoryLimit"] == limit for one in found)
