"""The Admin API on a real control plane: an app from one call, woken by its first request, gone with another call; and
controllers that are killed in the middle of changes."""

import asyncio
import base64
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import APP_IMAGE, ROOT, Cluster
from tests.cluster.controlplane import until
from tests.cluster.weir import NAMESPACE, Weir, condition
from tests.support.certificates import Authority

KINDS = (
    "pods", "services", "endpointslices", "configmaps", "secrets", "deployments", "httpscaledobjects", "scaledobjects",
    "horizontalpodautoscalers", "interceptorroutes",
)  # fmt: skip
ROLES = ("weir-controller-admin", "weir-controller-reviews")
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Caller:
    """A ServiceAccount of a namespace, which calls the API about this namespace."""

    def __init__(self, client: httpx.AsyncClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    async def __call__(self, method: str, path: str = "", content: Any = None, **headers: str) -> httpx.Response:
        url = f"/v1/namespaces/{self._namespace}/apps{path}"
        return await self._client.request(method, url, json=content, headers=headers)


def write_kustomization(directory: Path) -> None:
    """A user's kustomization: the overlay, with the component."""
    overlay, component = (
        os.path.relpath(ROOT / "deploy" / path, directory) for path in ("overlays/default", "components/admin/cluster")
    )
    (directory / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"namespace: {NAMESPACE}\nresources: [{overlay}]\ncomponents: [{component}]\n"
    )


@pytest.fixture
async def admin(cluster: Cluster, weir: Weir, api: Api, tmp_path: Path) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """The fleet with the component, which is removed afterwards; yields the Service's address, and whom to trust."""
    authority = Authority()
    chain, key = authority.issue("weir-admin", f"weir-admin.{NAMESPACE}.svc")
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    data["ca.crt"] = base64.b64encode(authority.pem).decode()
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
            await api.delete(f"{RBAC}/clusterroles/{name}")
        await api.delete(namespaced("services", NAMESPACE, "weir-admin"))
        await Weir.install(cluster)
        await api.delete(namespaced("secrets", NAMESPACE, "weir-admin-tls"))
        await weir.until_ready(api)


@pytest.fixture
async def deployer(admin: tuple[str, ssl.SSLContext], api: Api, namespace: str) -> AsyncIterator[Caller]:
    """May do what an application needs, in the namespace of the test, and nothing else."""
    await api.create(namespaced("serviceaccounts", namespace), {"metadata": {"name": "deployer"}})
    verbs = ["get", "list", "create", "patch", "delete"]
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        for group, resource in (
            ("apps", "deployments"),
            ("", "services"),
            ("http.keda.sh", "httpscaledobjects"),
            ("", "pods"),
            ("", "pods/log"),
        )
    ]
    await api.create(f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "deployer"}, "rules": rules})
    binding = {
        "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
    }
    await api.create(f"{RBAC}/namespaces/{namespace}/rolebindings", binding)
    async with _client(admin, await _token(api, namespace, "deployer")) as client:
        yield Caller(client, namespace)


async def test_from_an_image_to_an_answer_and_to_nothing(
    admin: tuple[str, ssl.SSLContext], deployer: Caller, weir: Weir, api: Api, namespace: str
) -> None:
    before = await _objects(api, namespace)
    events = _events(await deployer("POST", "?wait=true", {"name": "web", "image": APP_IMAGE, "cooldown": 3}))
    assert [data["step"] for name, data in events if name == "progress"][:3] == [
        "creating HTTPScaledObject", "creating Service", "creating Deployment"
    ]  # fmt: skip
    assert (events[-1][0], events[-1][1]["outcome"]) == ("done", "served"), events[-1]
    made = await deployer("POST", content={"name": "web", "image": APP_IMAGE, "cooldown": 3})
    assert made.status_code == 200, made.text
    assert (made.json()["state"], made.json()["url"]) == ("asleep", f"http://web.{namespace}/")
    assert made.json()["uid"] == events[-1][1]["app"]["uid"]
    assert (made.json()["demand"], made.json()["last_wake"]) == (0, None), made.text
    assert await _is_ready(deployer), "what the stream has said is so"
    assert (await deployer("GET", "/web")).json()["replicas"] == {"wanted": 0, "ready": 0}

    answer = await weir.get(f"web.{namespace}")
    assert answer.status == 200, answer.text
    found = (await deployer("GET", "/web")).json()
    assert (found["state"], found["replicas"]) == ("awake", {"wanted": 1, "ready": 1})
    assert found["last_wake"] is not None
    assert found["demand"] is not None
    written = await deployer("GET", "/web/logs")
    assert written.status_code == 200, written.text
    # The nodes of these tests have no logs: the API server has passed the question on to one, which is as far as it goes.
    assert written.text.startswith("[web-"), written.text
    assert "forbidden" not in written.text, written.text
    await until(lambda: _is_active(deployer), "KEDA tells of its demand")

    # An update of an app that is awake keeps its replicas, and what others have added.
    await api.merge(namespaced("deployments", namespace, "web"), {"metadata": {"annotations": {"team": "a"}}})
    changed = await deployer("PUT", "/web", {"name": "web", "image": APP_IMAGE, "environment": {"A": "1"}, "cooldown": 4})
    assert changed.status_code == 200, changed.text
    deployment = await api.get(namespaced("deployments", namespace, "web"))
    assert (deployment["spec"]["replicas"], deployment["metadata"]["annotations"]["team"]) == (1, "a")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]
    old = await deployer("DELETE", "/web", **{"If-Match": made.headers["etag"]})
    assert old.status_code == 412
    await until(lambda: _is_asleep(deployer), "the app sleeps")
    kept = (await api.get(namespaced("httpscaledobjects", namespace, "web")))["status"]["lastWakeTime"]
    assert kept == found["last_wake"]
    # And one of an app that is asleep does not wake it.
    assert (await deployer("PUT", "/web", {"name": "web", "image": APP_IMAGE, "cooldown": 5})).status_code == 200
    assert (await api.get(namespaced("deployments", namespace, "web")))["spec"]["replicas"] == 0

    # Awake by hand, without a request, and asleep again long before its time.
    events = _events(await deployer("POST", "/web/wake?seconds=3600&wait=true"))
    assert events[-1][1]["outcome"] == "awake", events
    assert events[-1][1]["app"]["awake_until"] is not None
    events = _events(await deployer("POST", "/web/sleep?wait=true"))
    assert events[-1][1]["outcome"] == "asleep", events
    # And asleep by itself when its time is over.
    assert _events(await deployer("POST", "/web/wake?seconds=10&wait=true"))[-1][1]["outcome"] == "awake"
    await until(lambda: _is_asleep(deployer), "the app sleeps when its time is over")

    planned = await deployer("PUT", "/web?dryRun=All", {"name": "web", "image": "other"})
    assert planned.status_code == 200, planned.text
    assert (await deployer("GET", "/web")).json()["app"]["image"] == APP_IMAGE

    async with _client(admin, await _token(api, namespace, "default")) as stranger:
        refused = await Caller(stranger, namespace)("DELETE", "/web")
        assert refused.status_code == 403, refused.text
    async with _client(admin, "nonsense") as nobody:
        refused = await Caller(nobody, namespace)("GET")
        assert refused.status_code == 401, refused.text

    assert _events(await deployer("DELETE", "/web?wait=true"))[-1][1]["outcome"] == "deleted"

    async def nothing_left() -> bool:
        return await _objects(api, namespace) == before and not await _journal(api)

    await until(nothing_left, "nothing is left")


async def test_controllers_that_are_killed_leave_all_or_nothing(
    deployer: Caller, cluster: Cluster, api: Api, namespace: str
) -> None:
    documents = [
        {
            "name": "web",
            "image": f"{APP_IMAGE}:{number}",
            "hosts": [f"{number}.web.{namespace}"],
            "ports": [{"port": 8000 + number}],
        }
        for number in range(5)
    ]
    assert (await deployer("POST", content=documents[0])).status_code == 201
    for number, document in enumerate(documents[1:], 1):
        call = asyncio.create_task(deployer("PUT", "/web", document))
        await asyncio.sleep(0.03 * number)
        for pid in cluster.processes(NAMESPACE, "controller").values():
            os.kill(pid, signal.SIGKILL)
        with suppress(httpx.HTTPError):
            await call
        await until(lambda: _no_journal(api), "the journal is empty", patience=120)
        found = await _said(api, namespace)
        assert found in ([_wanted(documents[number - 1]), _wanted(document)]), found
        assert "weir.dev/change" not in await _annotations(api, namespace)
        answer = await _until_answered(deployer, document)
        assert answer.status_code == 200, answer.text
        assert await _said(api, namespace) == _wanted(document)
    assert (await deployer("DELETE", "/web")).status_code in (202, 204)


async def test_fifty_creates_at_once_are_one_app(deployer: Caller, api: Api, namespace: str) -> None:
    """By both controllers, as the Service chooses."""
    document = {"name": "many", "image": APP_IMAGE}
    answers = await asyncio.gather(*(deployer("POST", content=document) for _ in range(50)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) == 1, statuses
    # 409 with under-way, and 429, are what a caller repeats.
    assert set(statuses) <= {200, 201, 409, 429}, statuses
    assert len({answer.json()["uid"] for answer in answers if answer.status_code < 300}) == 1
    assert [found["metadata"]["name"] for found in await api.list(namespaced("httpscaledobjects", namespace))] == ["many"]
    await until(lambda: _no_journal(api), "the journal is empty")
    assert (await deployer("DELETE", "/many")).status_code in (202, 204)


async def test_controllers_that_are_killed_while_they_create_and_delete(
    deployer: Caller, cluster: Cluster, api: Api, namespace: str
) -> None:
    document = {"name": "web", "image": APP_IMAGE}
    before = await _objects(api, namespace)

    async def all_or_nothing() -> bool:
        found = {(kind, name) for kind, name in await _objects(api, namespace) - before if kind in KINDS and name == "web"}
        own = {kind for kind, _ in found} & {"httpscaledobjects", "services", "deployments"}
        return own in (set(), {"httpscaledobjects", "services", "deployments"})

    for number in range(4):
        for method, path, content in (("POST", "", document), ("DELETE", "/web", None)):
            call = asyncio.create_task(deployer(method, path, content))
            await asyncio.sleep(0.03 * (number + 1))
            for pid in cluster.processes(NAMESPACE, "controller").values():
                os.kill(pid, signal.SIGKILL)
            with suppress(httpx.HTTPError):
                await call
            await until(lambda: _no_journal(api), "the journal is empty", patience=120)
            await until(all_or_nothing, "all of it or nothing", patience=60)
            if method == "POST":
                answer = await _until_answered(deployer, document)
                assert answer.status_code in (200, 201), answer.text
                assert "weir.dev/change" not in await _annotations(api, namespace)


def _events(answer: httpx.Response) -> list[tuple[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    return [(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in blocks]


def _client(admin: tuple[str, ssl.SSLContext], token: str) -> httpx.AsyncClient:
    address, trust = admin
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=f"https://{address}:9092", headers=headers, verify=trust, trust_env=False, timeout=150)


async def _token(api: Api, namespace: str, account: str) -> str:
    path = f"{namespaced('serviceaccounts', namespace)}/{account}/token"
    made = await api.create(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    return str(made["status"]["token"])


async def _objects(api: Api, namespace: str) -> set[tuple[str, str]]:
    """Kind and name of everything in a namespace."""
    found = {(kind, each["metadata"]["name"]) for kind in KINDS for each in await api.list(namespaced(kind, namespace))}
    replica_sets = await api.list(f"/apis/apps/v1/namespaces/{namespace}/replicasets")
    return found | {("replicasets", each["metadata"]["name"]) for each in replica_sets}


async def _journal(api: Api) -> list[Object]:
    return list(await api.list(namespaced("configmaps", NAMESPACE), labelSelector="weir.dev/admin-change=true"))


async def _no_journal(api: Api) -> bool:
    return not await _journal(api)


async def _is_ready(deployer: Caller) -> bool:
    conditions = (await deployer("GET", "/web")).json()["conditions"]
    return condition({"status": {"conditions": conditions}}, "Ready").get("status") == "True"


async def _is_active(deployer: Caller) -> bool:
    found = (await deployer("GET", "/web")).json()
    return found["active"] is True and found["last_active"] is not None


async def _is_asleep(deployer: Caller) -> bool:
    return bool((await deployer("GET", "/web")).json()["state"] == "asleep")


async def _said(api: Api, namespace: str) -> tuple[str, list[str], int]:
    """What the three objects say."""
    owner = await api.get(namespaced("httpscaledobjects", namespace, "web"))
    deployment = await api.get(namespaced("deployments", namespace, "web"))
    service = await api.get(namespaced("services", namespace, "web"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = service["spec"]["ports"]
    return container["image"], owner["spec"]["hosts"], port["port"]


def _wanted(document: dict[str, Any]) -> tuple[str, list[str], int]:
    return document["image"], document["hosts"], document["ports"][0]["port"]


async def _annotations(api: Api, namespace: str) -> dict[str, str]:
    owner = await api.get(namespaced("httpscaledobjects", namespace, "web"))
    return owner["metadata"].get("annotations") or {}


async def _until_answered(deployer: Caller, document: dict[str, Any]) -> httpx.Response:
    """The answer of a controller that is there again."""
    answers: list[httpx.Response] = []

    async def answered() -> bool:
        with suppress(httpx.HTTPError):
            answers.append(await deployer("PUT", "/web", document))
        return bool(answers) and answers[-1].status_code != 503

    await until(answered, "a controller answers", patience=120)
    return answers[-1]
