"""Releases of charts on a real control plane, by the real helm: installed, upgraded, rolled back, deleted; and controllers that
are killed in the middle."""

import asyncio
import base64
import os
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.api import Api, namespaced
from tests.cluster.cluster import APP_IMAGE, ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.weir import NAMESPACE, Weir
from tests.support.certificates import Authority
from tests.support.charts import chart

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = ("weir-controller-admin", "weir-controller-reviews", "weir-controller-releases")
METACHARACTERS = "$(touch /tmp/evil); `id` && \"'\\ | > < * {{ .Values }} {a,b} \n\t é\u2028😀 --set a=b"
KINDS = ("configmaps", "secrets", "services", "serviceaccounts", "deployments", "httpscaledobjects", "scaledobjects")
WEB = """\
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}-http}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      automountServiceAccountToken: false
      containers: [{name: app, image: "{{ .Values.image }}", ports: [{containerPort: 8080}],
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}]
"""
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-config}
data: {greeting: {{ .Values.greeting | toJson }}}
"""
JOB = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-hook
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
data: {revision: "{{ .Release.Revision }}"}
"""
ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: default, namespace: {{ .Release.Namespace }}}]
"""


class Caller:
    """A ServiceAccount of a namespace, which calls the API about releases of this namespace."""

    def __init__(self, client: httpx.AsyncClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    async def __call__(self, method: str, path: str = "", content: Any = None) -> httpx.Response:
        return await self._client.request(method, f"/v1/namespaces/{self._namespace}/releases{path}", json=content)


def document(data: bytes, **fields: Any) -> dict[str, Any]:
    return {"name": "web", "chart": {"archive": base64.b64encode(data).decode()}, "timeout": 60, **fields}


def write_kustomization(directory: Path) -> None:
    """A user's kustomization: the overlay, with the components, and helm where it is on this machine."""
    overlay, admin, releases = (
        os.path.relpath(ROOT / "deploy" / path, directory)
        for path in ("overlays/default", "components/admin/cluster", "components/admin/releases/cluster")
    )
    helm = subprocess.run([ROOT / "tools" / "helm"], check=True, capture_output=True, text=True).stdout.strip()
    (directory / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"namespace: {NAMESPACE}\nresources: [{overlay}]\ncomponents: [{admin}, {releases}]\n"
        "patches:\n- target: {kind: Deployment, name: weir-controller}\n  patch: |\n"
        "    - {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: WEIR_ADMIN_HELM, value: " + helm + "}}\n"
    )


@pytest.fixture
async def admin(cluster: Cluster, weir: Weir, api: Api, tmp_path: Path) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """The fleet with the components, which are removed afterwards; yields the Service's address, and whom to trust."""
    authority = Authority()
    chain, key = authority.issue("weir-admin", f"weir-admin.{NAMESPACE}.svc")
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    secret = {"metadata": {"name": "weir-admin-tls"}, "type": "kubernetes.io/tls", "data": data}
    await api.create(namespaced("secrets", NAMESPACE), secret)
    write_kustomization(tmp_path)
    trust = ssl.create_default_context(cadata=authority.pem.decode())
    trust.check_hostname = False  # it is called by the Service's address
    try:
        await cluster.kubectl("apply", "--server-side", "-k", str(tmp_path))
        await weir.until_ready(api)
        yield (await api.get(namespaced("services", NAMESPACE, "weir-admin")))["spec"]["clusterIP"], trust
    finally:
        for name in ROLES:
            await api.delete(f"{RBAC}/clusterrolebindings/{name}")
            if name != "weir-controller-releases":
                await api.delete(f"{RBAC}/clusterroles/{name}")
        await api.delete(namespaced("services", NAMESPACE, "weir-admin"))
        await Weir.install(cluster)
        await api.delete(namespaced("secrets", NAMESPACE, "weir-admin-tls"))
        await weir.until_ready(api)


@pytest.fixture
async def deployer(admin: tuple[str, ssl.SSLContext], api: Api, namespace: str) -> AsyncIterator[Caller]:
    """May make what most charts make, in the namespace of the test, and bind no role."""
    await api.create(namespaced("serviceaccounts", namespace), {"metadata": {"name": "deployer"}})
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    kinds = {"": ["configmaps", "secrets", "services", "pods"], "apps": ["deployments", "replicasets"]}
    kinds |= {"http.keda.sh": ["httpscaledobjects"], "rbac.authorization.k8s.io": ["rolebindings"]}
    rules = [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources in kinds.items()]
    await api.create(f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "deployer"}, "rules": rules})
    binding = {
        "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
    }
    await api.create(f"{RBAC}/namespaces/{namespace}/rolebindings", binding)
    path = f"{namespaced('serviceaccounts', namespace)}/deployer/token"
    made = await api.create(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    address, trust = admin
    async with httpx.AsyncClient(
        base_url=f"https://{address}:9092",
        headers={"Authorization": f"Bearer {made['status']['token']}"},
        verify=trust,
        trust_env=False,
        timeout=180,
    ) as client:
        yield Caller(client, namespace)


async def test_from_a_chart_to_an_answer_and_to_nothing(deployer: Caller, weir: Weir, api: Api, namespace: str) -> None:
    before = await _objects(api, namespace)
    data = chart({"web.yaml": WEB, "config.yaml": CONFIG, "hook.yaml": JOB})
    values = {"image": APP_IMAGE, "greeting": METACHARACTERS}
    expose = [{"service": "web-http", "hosts": [f"web.{namespace}"], "cooldown": 3}]
    planned = await deployer("PUT", "/web?dryRun=All", document(data, values=values, expose=expose))
    assert planned.status_code == 200, planned.text
    assert await _objects(api, namespace) == before

    made = await deployer("POST", "", document(data, values=values, expose=expose))
    assert made.status_code == 201, made.text
    assert made.json()["revision"]["status"] == "deployed"
    assert (await api.get(namespaced("configmaps", namespace, "web-config")))["data"] == {"greeting": METACHARACTERS}
    again = await deployer("POST", "", document(data, values=values, expose=expose))
    assert (again.status_code, again.json()["revision"]["revision"]) == (200, 1)

    async def is_served() -> bool:
        return (await weir.get(f"web.{namespace}")).status == 200

    async def is_asleep() -> bool:
        return bool((await api.get(namespaced("deployments", namespace, "web")))["spec"]["replicas"] == 0)

    await until(is_asleep, "the Deployment sleeps")
    await until(is_served, "the first request wakes it")

    # From here on it stays awake: what has no replicas is ready, whatever its chart says.
    expose = [expose[0] | {"cooldown": 600}]
    changed = await deployer("PUT", "/web", document(data, values=values | {"greeting": "2"}, expose=expose))
    assert (changed.status_code, changed.json()["revision"]["revision"]) == (200, 2), changed.text
    assert (await api.get(namespaced("configmaps", namespace, "web-config")))["data"] == {"greeting": "2"}

    # A chart that becomes never ready, and one that the API server refuses, leave what there was, with a reason.
    for broken in (WEB.replace("port: 8080}, period", "port: 9}, period"), WEB.replace("{name: app, image", "{name: APP, image")):
        await until(is_served, "it is awake")
        wrong = chart({"web.yaml": broken, "config.yaml": CONFIG})
        failed = await deployer("PUT", "/web", document(wrong, values=values | {"greeting": "3"}, expose=expose, timeout=8))
        assert failed.status_code == 422, failed.text
        assert (failed.json()["step"], failed.json()["rolled_back"]) == ("upgrade", True), failed.text
        assert (await api.get(namespaced("configmaps", namespace, "web-config")))["data"] == {"greeting": "2"}
        assert (await deployer("GET", "/web")).json()["revision"]["status"] == "deployed"

    back = await deployer("POST", "/web/rollback", {"revision": 1})
    assert back.status_code == 200, back.text
    assert (await api.get(namespaced("configmaps", namespace, "web-config")))["data"] == {"greeting": METACHARACTERS}
    assert (await deployer("GET", "")).json()["items"][0]["name"] == "web"

    gone = await deployer("DELETE", "/web")
    assert gone.status_code == 204, gone.text
    await api.delete(namespaced("configmaps", namespace, "web-hook"))  # helm leaves hooks, as their chart has it

    async def nothing_left() -> bool:
        return await _objects(api, namespace) == before and not await _journal(api)

    await until(nothing_left, "nothing is left")


async def test_no_more_than_the_caller_may(deployer: Caller, api: Api, namespace: str) -> None:
    """The controller has the role admin, and may bind it; the caller may neither."""
    before = await _objects(api, namespace)
    refused = await deployer("POST", "", document(chart({"role.yaml": ROLE})))
    assert (refused.status_code, refused.json()["rolled_back"]) == (403, True), refused.text
    assert "bind" in refused.json()["detail"]
    account = chart({"a.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: evil}\n"})
    refused = await deployer("POST", "", document(account))
    assert (refused.status_code, "create serviceaccounts" in refused.json()["detail"]) == (403, True), refused.text
    thief = CONFIG.replace(".Values.greeting", f'(lookup "v1" "Secret" "{NAMESPACE}" "weir-admin-tls")')
    refused = await deployer("POST", "", document(chart({"config.yaml": thief})))
    assert (refused.status_code, NAMESPACE in refused.json()["detail"]) == (403, True), refused.text
    assert await _objects(api, namespace) == before


async def test_controllers_that_are_killed_leave_all_or_nothing(
    deployer: Caller, cluster: Cluster, api: Api, namespace: str
) -> None:
    before = await _objects(api, namespace)
    good = document(chart({"config.yaml": CONFIG}), values={"greeting": "1"})
    never = WEB.replace("port: 8080}, period", "port: 9}, period")
    stuck = document(chart({"config.yaml": CONFIG, "web.yaml": never}), values={"greeting": "2", "image": APP_IMAGE}, timeout=100)
    await _killed(deployer, cluster, api, namespace, stuck)
    assert await _objects(api, namespace) == before

    async def installed() -> bool:
        with suppress(httpx.HTTPError):
            return bool((await deployer("PUT", "/web", good)).status_code in (200, 201))
        return False

    await until(installed, "the release is installed", patience=120)
    await _killed(deployer, cluster, api, namespace, stuck)
    assert (await api.get(namespaced("configmaps", namespace, "web-config")))["data"] == {"greeting": "1"}

    async def is_good() -> bool:
        with suppress(httpx.HTTPError):
            found = (await deployer("GET", "/web")).json()
            return bool(found.get("revision", {}).get("status") == "deployed" and found["values"] == {"greeting": "1"})
        return False

    await until(is_good, "the release is what it was", patience=60)
    assert (await deployer("DELETE", "/web")).status_code == 204
    assert await _objects(api, namespace) == before


async def _killed(deployer: Caller, cluster: Cluster, api: Api, namespace: str, asked: dict[str, Any]) -> None:
    """Kill the controllers while helm waits, and wait until one of them has ended that."""
    call = asyncio.create_task(deployer("PUT", "/web", asked))

    async def is_waiting() -> bool:
        deployments = await api.list(namespaced("deployments", namespace))
        return bool(deployments) and bool(await _journal(api))

    await until(is_waiting, "helm waits for the Deployment")
    for pid in cluster.processes(NAMESPACE, "controller").values():
        os.kill(pid, signal.SIGKILL)
    with suppress(httpx.HTTPError):
        await call

    async def is_ended() -> bool:
        return not await _journal(api)

    await until(is_ended, "the journal is empty", patience=240)


async def _objects(api: Api, namespace: str) -> set[tuple[str, str]]:
    """Kind and name of everything in a namespace that a release may make, without what the cluster makes soon after it."""
    found = {(kind, each["metadata"]["name"]) for kind in KINDS for each in await api.list(namespaced(kind, namespace))}
    return found - {("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")}


async def _journal(api: Api) -> list[Any]:
    return list(await api.list(namespaced("configmaps", NAMESPACE), labelSelector="weir.dev/admin-release=true"))
