"""The overlay for one namespace: scaling works in it, and its components have no permissions anywhere else."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, until_deployed, until_ready
from tests.cluster.test_access import allowed
from tests.cluster.weir import COMPONENTS, NAMESPACE, Weir, http_scaled_object, until_condition

WRITTEN = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [{overlay}]
"""


def write_kustomization(directory: Path, namespace: str) -> None:
    """A user's kustomization: the overlay, with another namespace."""
    overlay = os.path.relpath(ROOT / "deploy" / "overlays" / "single-namespace", directory)
    (directory / "kustomization.yaml").write_text(WRITTEN.format(namespace=namespace, overlay=overlay))


@pytest.fixture
async def alone(cluster: Cluster, weir: Weir, api: Api, namespace: str, tmp_path: Path) -> AsyncIterator[str]:
    """Weir in this namespace only; yields the interceptors' address. The Weir for all namespaces is scaled to zero meanwhile."""
    deployments = {name: namespaced("deployments", NAMESPACE, name) for name in COMPONENTS}
    replicas = {name: (await api.get(path))["spec"]["replicas"] for name, path in deployments.items()}
    try:
        for path in deployments.values():
            await api.merge(path, {"spec": {"replicas": 0}})
        await until(lambda: _nobody(api), "nobody of the other one is left")
        write_kustomization(tmp_path, namespace)
        await cluster.kubectl("apply", "--server-side", "-k", str(tmp_path))
        for name in COMPONENTS:
            await until_deployed(api, namespace, name)
        yield (await api.get(namespaced("services", namespace, "weir-interceptor")))["spec"]["clusterIP"]
    finally:
        for name, path in deployments.items():
            await api.merge(path, {"spec": {"replicas": replicas[name]}})
        await weir.until_ready(api)


async def test_the_loop_closes_in_one_namespace(alone: str, weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web"))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    assert (await weir.get(f"web.{namespace}", address=alone)).status == 200
    await until_ready(api, namespace, "web", 0)

    words = ("list", "http.keda.sh", "httpscaledobjects")
    assert await allowed(api, "weir-controller", (*words, namespace), home=namespace)
    assert not await allowed(api, "weir-controller", (*words, "default"), home=namespace)
    assert not await allowed(api, "weir-controller", (*words, ""), home=namespace)
    slices = ("list", "discovery.k8s.io", "endpointslices")
    assert await allowed(api, "weir-interceptor", (*slices, namespace), home=namespace)
    for account in COMPONENTS:
        assert not await allowed(api, account, (*slices, "default"), home=namespace)


async def _nobody(api: Api) -> bool:
    return not await api.list(namespaced("pods", NAMESPACE))
