"""Previews whose copy is in another namespace, on a real control plane: with the rights of the components and no more."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.api import Api, ApiError, namespaced
from tests.cluster.cluster import ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, deployment, pods, replicas, service
from tests.cluster.test_previews import RBAC, ROLE, of, preview
from tests.cluster.weir import NAMESPACE, Weir, http_scaled_object, until_condition

PARTS = ("cluster", "elsewhere", "secrets")
KINDS = ("configmaps", "secrets", "services", "deployments", "httpscaledobjects", "scaledobjects", "pods")
PERMIT, COPY_TO = "weir.dev/previews-from", "weir.dev/copy-to"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's kustomization: the overlay, with the components."""
    overlay, *components = (
        os.path.relpath(ROOT / "deploy" / path, tmp_path)
        for path in ("overlays/default", *(f"components/previews/{part}" for part in PARTS))
    )
    whole = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": NAMESPACE}
    text = yaml.safe_dump({**whole, "resources": [overlay], "components": components})
    (tmp_path / "kustomization.yaml").write_text(text)
    return tmp_path


@pytest.fixture
async def making(own: Path, cluster: Cluster, weir: Weir, api: Api) -> AsyncIterator[None]:
    """The fleet with the components, which are removed afterwards."""
    try:
        await cluster.kubectl("apply", "--server-side", "-k", str(own))
        await weir.until_ready(api)
        yield
    finally:
        for name in (ROLE, f"{ROLE}-elsewhere", f"{ROLE}-secrets"):
            await api.delete(f"{RBAC}/clusterrolebindings/{name}")
            await api.delete(f"{RBAC}/clusterroles/{name}")
        await Weir.install(cluster)
        await weir.until_ready(api)


@pytest.fixture
async def other(api: Api, namespace: str) -> AsyncIterator[str]:
    """A second namespace, which permits nothing yet."""
    name = f"qa-{namespace[-8:]}"
    await api.create(namespaced("namespaces"), {"metadata": {"name": name}})
    yield name
    await api.delete(namespaced("namespaces", name=name))


async def test_it_is_made_there_while_both_sides_permit_it_and_goes_without_a_trace(
    making: None, weir: Weir, api: Api, namespace: str, other: str
) -> None:
    host = f"web.{namespace}"
    await _create_base(api, namespace)
    before = await _objects(api, other)
    mine = namespaced("previews", namespace, "f1")
    await api.create(namespaced("previews", namespace), preview("f1", namespace=other))
    await _until_reason(api, mine, "NotPermitted", f"namespace {other} does not have the label")
    await _permit(api, other, namespace)
    await _until_reason(api, mine, "NotPermitted", "does not have the annotation")
    for kind, name in (("configmaps", "settings"), ("secrets", "login")):
        await api.merge(namespaced(kind, namespace, name), {"metadata": {"annotations": {COPY_TO: "qa-*"}}})
    await api.merge(mine, {"metadata": {"annotations": {"look": "again"}}})
    await until_condition(api, "previews", namespace, "f1", "Ready", "True")
    assert of(await weir.get(f"f1.{host}")) == "web--f1"
    assert len(await pods(api, other, "web--f1")) == 1, "with what it reads"
    assert await replicas(api, namespace, "web") == 0
    assert not await pods(api, namespace, "web--f1")

    with pytest.raises(ApiError, match="namespace cannot be changed"):
        await api.merge(mine, {"spec": {"namespace": namespace}})
    with pytest.raises(ApiError, match="namespace cannot be changed"):
        await api.merge(mine, {"spec": {"namespace": None}})
    for change in ({"base": "api"}, {"name": "f2"}):
        with pytest.raises(ApiError, match="base and name cannot be changed"):
            await api.merge(mine, {"spec": change})
    uid = (await api.get(mine))["metadata"]["uid"]
    evil = http_scaled_object(other, "evil")
    evil["spec"] = {"scaleTargetRef": evil["spec"]["scaleTargetRef"]}
    evil["spec"]["previewOf"] = {"base": "web", "name": "f9", "namespace": namespace, "uid": uid}
    await api.create(namespaced("httpscaledobjects", other), evil)
    await until_condition(api, "httpscaledobjects", other, "evil", "Ready", "False")
    assert of(await weir.get(f"f9.{host}")) == "web", "nobody becomes a preview by saying so"
    await api.delete(namespaced("httpscaledobjects", other, "evil"))

    await _permit(api, other, None)
    await until(lambda: _is_as(api, other, before), "what was made is gone")
    await _until_reason(api, mine, "NotPermitted", "does not have the label")
    assert of(await weir.get(f"f1.{host}")) == "web"
    await _permit(api, other, namespace)
    await until_condition(api, "previews", namespace, "f1", "Ready", "True")
    assert of(await weir.get(f"f1.{host}")) == "web--f1"
    await api.delete(mine)
    await until(lambda: _is_gone(api, mine), "the Preview is gone")
    assert await _is_as(api, other, before), "nothing is left when it is gone"

    await api.create(namespaced("previews", namespace), preview("f1", namespace=other, dependencies=True))
    for name in ("f1", "api--f1"):
        await until_condition(api, "previews", namespace, name, "Ready", "True")
    needed = await api.get(namespaced("httpscaledobjects", other, "api--f1"))
    assert needed["spec"]["previewOf"]["base"] == "api"
    await api.delete(mine)
    await until(lambda: _is_gone(api, namespaced("previews", namespace, "api--f1")), "what it needs goes with it")
    assert await _is_as(api, other, before)

    await api.create(namespaced("previews", namespace), preview("f1", namespace=other))
    await until_condition(api, "previews", namespace, "f1", "Ready", "True")
    await api.delete(namespaced("namespaces", name=other))
    await _until_reason(api, mine, "NoNamespace", other)
    await api.delete(mine)
    await until(lambda: _is_gone(api, mine), "it does not wait for what is gone with its namespace")
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")


async def _create_base(api: Api, namespace: str) -> None:
    await api.create(namespaced("configmaps", namespace), {"metadata": {"name": "settings"}, "data": {"DELAY": "0"}})
    await api.create(namespaced("secrets", namespace), {"metadata": {"name": "login"}, "stringData": {"PASSWORD": "p"}})
    web = deployment("web")
    container = web["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}}]
    await api.create(namespaced("deployments", namespace), web)
    await api.create(namespaced("services", namespace), service("web"))
    await create_app(api, namespace, "api")
    for each in (http_scaled_object(namespace, "web", previews={}, dependsOn=["api"]), http_scaled_object(namespace, "api")):
        await api.create(namespaced("httpscaledobjects", namespace), each)
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")


async def _permit(api: Api, namespace: str, source: str | None) -> None:
    await api.merge(namespaced("namespaces", name=namespace), {"metadata": {"labels": {PERMIT: source}}})


async def _until_reason(api: Api, path: str, reason: str, message: str) -> None:
    async def holds() -> bool:
        conditions = (await api.get(path)).get("status", {}).get("conditions", ())
        return any(one["reason"] == reason and message in one["message"] for one in conditions if one["type"] == "Ready")

    await until(holds, f"{path} is {reason}")


async def _objects(api: Api, namespace: str) -> set[tuple[str, str]]:
    return {(kind, one["metadata"]["name"]) for kind in KINDS for one in await api.list(namespaced(kind, namespace))}


async def _is_as(api: Api, namespace: str, before: set[tuple[str, str]]) -> bool:
    found = await _objects(api, namespace)
    return {one for one in found if one[0] != "configmaps" or one[1] != "kube-root-ca.crt"} == {
        one for one in before if one[1] != "kube-root-ca.crt"
    }


async def _is_gone(api: Api, path: str) -> bool:
    try:
        await api.get(path)
    except ApiError as error:
        return error.status == 404
    return False
