"""The end-to-end cases of the KEDA HTTP add-on, with its Service names: the aliases in keda, Weir in a namespace of its own.

All but one run at the same time, in separate namespaces, before the first result is reported. Not included are cases about
OpenTelemetry, which Weir does not have, and about Ingress controllers, Gateways and Argo Rollouts.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster.addon import encrypted, http, routing, scaling
from tests.cluster.addon.case import Run, run_cases
from tests.cluster.cluster import ROOT, Cluster
from tests.cluster.objects import until_deployed
from tests.cluster.weir import COMPONENTS, NAMESPACE, Weir

TOGETHER: Mapping[str, Run] = {**scaling.CASES, **http.CASES, **routing.CASES, **encrypted.CASES}
ALONE: Mapping[str, Run] = {"TestGracefulShutdown": scaling.graceful_shutdown}
"""Cases that run alone: they replace the interceptors, which would disturb others."""
CERTIFICATE = "weir-proxy-tls"
WRITTEN = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{deploy}/overlays/default]
components: [{deploy}/components/http-add-on-aliases-in-keda, {deploy}/components/proxy-tls]
patches:
  - patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: weir-interceptor, namespace: weir-system}}
      spec:
        template:
          spec:
            containers:
              - name: interceptor
                env:
                  - {{name: WEIR_PROXY_TLS_CERT, $patch: delete}}
                  - {{name: WEIR_PROXY_TLS_KEY, $patch: delete}}
                  - {{name: KEDA_HTTP_PROXY_TLS_ENABLED, value: "true"}}
                  - {{name: KEDA_HTTP_PROXY_TLS_CERT_PATH, value: /etc/certs/tls.crt}}
                  - {{name: KEDA_HTTP_PROXY_TLS_KEY_PATH, value: /etc/certs/tls.key}}
                  - {{name: KEDA_HTTP_PROXY_TLS_SKIP_VERIFY, value: "true"}}
                volumeMounts:
                  - {{mountPath: /certs, $patch: delete}}
                  - {{mountPath: /etc/certs, name: proxy-tls, readOnly: true}}
"""
"""As in docs/migration.md, with TLS on the proxy by the add-on's variables. Nodes of these tests mount nothing at /certs."""


@pytest.fixture(scope="module")
def aliased(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The fleet with the add-on's Service names and TLS, which are removed afterwards."""
    directory = tmp_path_factory.mktemp("aliases")
    deploy = os.path.relpath(ROOT / "deploy", directory)
    (directory / "kustomization.yaml").write_text(WRITTEN.format(deploy=deploy))
    asyncio.run(_with_aliases(installed, directory))
    yield installed
    asyncio.run(_without_aliases(installed))


async def _with_aliases(cluster: Cluster, directory: Path) -> None:
    cert, key = encrypted.AUTHORITY.write(directory, "proxy", f"*.{encrypted.DOMAIN}")
    await cluster.kubectl("-n", NAMESPACE, "create", "secret", "tls", CERTIFICATE, f"--cert={cert}", f"--key={key}")
    await cluster.kubectl("apply", "--server-side", "-k", str(directory))
    await _until_deployed(cluster)


async def _without_aliases(cluster: Cluster) -> None:
    await Weir.install(cluster)
    await cluster.kubectl("delete", "services", "--all-namespaces", "--selector", "weir/alias")
    await cluster.kubectl("-n", NAMESPACE, "delete", "secret", CERTIFICATE)
    await _until_deployed(cluster)


async def _until_deployed(cluster: Cluster) -> None:
    async with cluster.api() as api:
        for component in COMPONENTS:
            await until_deployed(api, NAMESPACE, component)


@pytest.fixture(scope="module")
def outcomes(aliased: Cluster, request: pytest.FixtureRequest) -> Mapping[str, Exception | None]:
    """The results of the selected cases."""
    named = {
        item.callspec.params.get("name")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    together, alone = ({name: run for name, run in cases.items() if name in named} for cases in (TOGETHER, ALONE))
    return asyncio.run(run_cases(aliased, together)) | asyncio.run(run_cases(aliased, alone))


@pytest.mark.parametrize("name", [*TOGETHER, *ALONE])
def test_case(outcomes: Mapping[str, Exception | None], name: str) -> None:
    error = outcomes[name]
    if error is not None:
        raise error
