"""Operations on releases: progress, routes, several at once, and controllers that end in the middle."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.admin.releases import operating
from tests.support.charts import chart
from tests.support.waiting import until
from tests.wire.admin import AdminRig, admin
from tests.wire.releases import CONFIG, RELEASES, call, config, document, left, new_api, permit, problem_of, releases

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}-http}
spec: {clusterIP: None, selector: {app: {{ .Release.Name }}}, ports: [{name: http, port: 80}, {name: other, port: 81}]}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}-app, generation: 1}
spec:
  replicas: 1
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}, more: "1"}}
    spec: {containers: [{name: app, image: example.com/app}]}
"""
HTTP = "/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects/web-http"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[AdminRig]:
    async with releases(new_api(), tmp_path) as held:
        yield held


def app_chart() -> bytes:
    """A chart with a Service and a Deployment, for which helm does not wait: it is paused."""
    paused = DEPLOYMENT.replace("spec:\n  replicas", "spec:\n  paused: true\n  replicas")
    return chart({"service.yaml": SERVICE, "deployment.yaml": paused})


async def events(rig: AdminRig, method: str, path: str, content: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    async with rig.client.stream(method, f"{RELEASES}{path}", json=content) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), await answer.aread()
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((kind, json.loads(line.removeprefix("data: "))))
    return found


async def test_progress_is_streamed(rig: AdminRig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "controller.admin.audit")
    told = await events(rig, "POST", "?wait=true", document(chart({"config.yaml": CONFIG})))
    steps = [data["step"] for kind, data in told if kind == "progress"]
    assert steps == [
        "unpacking the chart",
        "rendering the chart",
        "checking permissions for 1 objects",
        "installing",
        "created configmaps web-config",
    ]
    caplog.clear()
    told = await events(rig, "PUT", "/web?wait=true", document(chart({"config.yaml": '{{ fail "no" }}'})))
    assert (told[-1][0], told[-1][1]["problem"]["status"]) == ("failed", 422)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("upgrade release shop/web by 'adam': 422 ")
    told = await events(rig, "DELETE", "/web?wait=true", None)
    assert [kind for kind, _ in told][-1] == "done"
    assert left(rig) == []


async def test_services_get_routes_which_belong_to_the_release(rig: AdminRig) -> None:
    data = app_chart()
    odd = "/{{.Values}}{{`x`}}{{{"
    expose = [{"service": "web-http", "hosts": ["a.example.com"], "paths": [odd], "replicas": {"max": 3}, "target": {"rate": 5}}]
    planned = await call(rig, "PUT", "/web?dryRun=All", document(data, expose=expose))
    assert planned.status_code == 200, planned.text
    assert [one["kind"] for one in planned.json()["objects"]] == ["Service", "Deployment", "HTTPScaledObject"]
    assert left(rig) == []
    made = await call(rig, "PUT", "/web", document(data, expose=expose))
    assert made.status_code == 201, made.text
    spec = rig.api.objects[HTTP]["spec"]
    assert (spec["hosts"], spec["pathPrefixes"]) == (["a.example.com"], [odd])
    assert spec["scaleTargetRef"] == {
        "name": "web-app", "kind": "Deployment", "apiVersion": "apps/v1", "service": "web-http", "port": 80,
    }  # fmt: skip
    assert (spec["replicas"], spec["scalingMetric"]) == ({"min": 0, "max": 3}, {"requestRate": {"targetValue": 5}})
    changed = await call(rig, "PUT", "/web", document(data, expose=[{"service": "web-http", "port": 81}]))
    assert changed.status_code == 200, changed.text
    assert (rig.api.objects[HTTP]["spec"]["hosts"], rig.api.objects[HTTP]["spec"]["scaleTargetRef"]["port"]) == (
        ["web-http.shop"],
        81,
    )
    assert (await call(rig, "POST", "/web/rollback", {"revision": 1})).status_code == 200
    assert rig.api.objects[HTTP]["spec"]["hosts"] == ["a.example.com"]
    assert (await call(rig, "PUT", "/web", document(data))).status_code == 200
    assert HTTP not in rig.api.objects
    assert (await call(rig, "PUT", "/web", document(data, expose=expose))).status_code == 200
    assert (await call(rig, "DELETE", "/web")).status_code == 204
    assert left(rig) == []


async def test_services_get_ports_which_belong_to_the_release(rig: AdminRig) -> None:
    listen = [{"port": 6379, "service_port": 81}, {"lease": "dns", "protocol": "UDP"}]
    made = await call(rig, "PUT", "/web", document(app_chart(), expose=[{"service": "web-http", "listen": listen}]))
    assert made.status_code == 201, made.text
    spec = rig.api.objects[HTTP]["spec"]
    assert spec["ports"] == [{"protocol": "TCP", "port": 6379, "servicePort": 81}, {"protocol": "UDP", "lease": "dns"}]
    assert "hosts" not in spec, "it gets connections only"
    both = {"service": "web-http", "listen": listen, "hosts": ["a.example.com"]}
    assert (await call(rig, "PUT", "/web", document(app_chart(), expose=[both]))).status_code == 200
    assert rig.api.objects[HTTP]["spec"]["hosts"] == ["a.example.com"]


@pytest.mark.parametrize(
    ("exposure", "pointer"),
    [
        ({"service": "none"}, "/expose/0/service"),
        ({"service": "web-http", "listen": [{"port": 9901}]}, "/expose/0/listen"),
        ({"service": "web-http", "listen": [{"port": 53}, {"port": 53}]}, "/expose/0/listen"),
        ({"service": "web-http", "listen": [{"port": 53, "lease": "dns"}]}, "/expose/0/listen/0"),
        ({"service": "web-http", "port": 82}, "/expose/0/port"),
        ({"service": "web-http", "workload": "none"}, "/expose/0/workload"),
        ({"service": "web-http", "hosts": ["a..b"]}, "/expose/0/hosts"),
    ],
)
async def test_routes_that_cannot_be(rig: AdminRig, exposure: dict[str, Any], pointer: str) -> None:
    answer = await call(rig, "PUT", "/web", document(app_chart(), expose=[exposure]))
    problem = problem_of(answer, 422, "invalid-document")
    assert problem.errors[0].pointer == pointer, problem
    assert left(rig) == []


async def test_a_route_that_the_chart_makes_itself(rig: AdminRig) -> None:
    own = """\
apiVersion: http.keda.sh/v1alpha1
kind: HTTPScaledObject
metadata: {name: {{ .Release.Name }}-http}
spec: {hosts: [own.example.com], scaleTargetRef: {name: web-app, kind: Deployment, service: web-http, port: 80}}
"""
    paused = DEPLOYMENT.replace("spec:\n  replicas", "spec:\n  paused: true\n  replicas")
    data = chart({"service.yaml": SERVICE, "deployment.yaml": paused, "own.yaml": own})
    answer = await call(rig, "PUT", "/web?dryRun=All", document(data, expose=[{"service": "web-http"}]))
    problem = problem_of(answer, 422, "invalid-document")
    assert (problem.errors[0].pointer, problem.errors[0].detail) == (
        "/expose/0/service",
        "the chart makes an HTTPScaledObject web-http itself: leave this out",
    )
    assert (await call(rig, "PUT", "/web?dryRun=All", document(data))).status_code == 200


async def test_a_route_needs_its_permission(rig: AdminRig) -> None:
    permit(rig, lambda asked: asked["resource"] != "httpscaledobjects")
    answer = await call(rig, "PUT", "/web", document(app_chart(), expose=[{"service": "web-http"}]))
    assert "create httpscaledobjects.http.keda.sh" in problem_of(answer, 403, "forbidden").detail
    assert left(rig) == []


async def test_one_at_a_time(rig: AdminRig) -> None:
    """Ten at once on one release: each is complete before the next one begins, or is told to come again."""
    data = chart({"config.yaml": CONFIG})
    calls = [call(rig, "PUT", "/web", document(data, values={"greeting": str(number)})) for number in range(10)]
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    assert [answer.status_code for answer in answers].count(201) == 1
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 409)
    history = (await call(rig, "GET", "/web/history")).json()["items"]
    assert [one["status"] for one in history] == ["superseded"] * (len(history) - 1) + ["deployed"]
    assert len(history) == sum(answer.status_code in (200, 201) for answer in answers)


async def test_another_program_at_the_release(rig: AdminRig) -> None:
    data = chart({"config.yaml": CONFIG})
    await call(rig, "POST", content=document(data))
    path = "/api/v1/namespaces/shop/secrets/sh.helm.release.v1.web.v1"
    held = rig.api.objects[path]
    release = json.loads(_unpacked(held["data"]["release"]))
    release["info"]["status"] = "pending-upgrade"
    labels = held["metadata"]["labels"] | {"status": "pending-upgrade"}
    rig.api.put(path, data={"release": _packed(json.dumps(release).encode())}, metadata={"labels": labels})
    answer = await call(rig, "PUT", "/web", document(data, values={"greeting": "x"}))
    assert "another program" in problem_of(answer, 409, "under-way").detail
    assert not [at for at in rig.api.objects if "weir-release" in at]


# -- controllers that end in the middle -------------------------------------------------------------------------------


async def waiting(rig: AdminRig, status: str) -> None:
    """Until helm waits for a Deployment that never becomes ready."""
    await until(
        lambda: (
            any(
                found["metadata"].get("labels", {}).get("status") == status
                for path, found in rig.api.objects.items()
                if "sh.helm.release" in path
            )
            and "/apis/apps/v1/namespaces/shop/deployments/web-app" in rig.api.objects
        ),
        seconds=60,
    )


async def test_an_installation_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    api = new_api()
    stuck = chart({"service.yaml": SERVICE, "deployment.yaml": DEPLOYMENT})
    async with releases(api, tmp_path) as rig:
        asking = asyncio.create_task(call(rig, "POST", content=document(stuck, timeout=60)))
        await waiting(rig, "pending-install")
        assert [path for path in left(rig) if "weir-release" in path]
    assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], httpx.HTTPError | httpx.Response)
    assert [path for path in left(rig) if "deployments" in path]
    async with releases(api, tmp_path) as rig:
        await until(lambda: not left(rig), seconds=60)


async def test_an_upgrade_that_is_cut_off_leaves_what_there_was(tmp_path: Path) -> None:
    api = new_api()
    good, stuck = chart({"config.yaml": CONFIG}), chart({"config.yaml": CONFIG, "deployment.yaml": DEPLOYMENT})
    async with releases(api, tmp_path) as rig:
        assert (await call(rig, "POST", content=document(good))).status_code == 201
        asking = asyncio.create_task(call(rig, "PUT", "/web", document(stuck, values={"greeting": "new"}, timeout=60)))
        await waiting(rig, "pending-upgrade")
        assert config(rig) == "new"
    assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], httpx.HTTPError | httpx.Response)
    async with releases(api, tmp_path) as rig:
        await until(lambda: not [path for path in left(rig) if "weir-release" in path], seconds=60)
        assert config(rig) == "hello"
        assert not [path for path in left(rig) if "deployments" in path]
        found = (await call(rig, "GET", "/web")).json()
        assert (found["revision"]["status"], found["values"]) == ("deployed", {})
        assert (await call(rig, "PUT", "/web", document(good, values={"greeting": "x"}))).status_code == 200


async def test_what_its_beginner_may_not_any_more_is_undone_by_the_next_controller(tmp_path: Path) -> None:
    api = new_api()
    good, stuck = chart({"config.yaml": CONFIG}), chart({"config.yaml": CONFIG, "deployment.yaml": DEPLOYMENT})
    async with releases(api, tmp_path) as rig:
        assert (await call(rig, "POST", content=document(good))).status_code == 201
        asking = asyncio.create_task(call(rig, "PUT", "/web", document(stuck, values={"greeting": "new"}, timeout=60)))
        await waiting(rig, "pending-upgrade")
    await asyncio.gather(asking, return_exceptions=True)
    eve = {"Authorization": "Bearer eve"}
    wanted = document(good, values={"greeting": "by eve"})
    api.allowed = lambda spec: spec["user"] == "eve" and spec["resourceAttributes"]["resource"] != "deployments"
    async with releases(api, tmp_path) as rig:
        problem = problem_of(await call(rig, "PUT", "/web", wanted, headers=eve), 403, "forbidden")
        assert "eve may not: get deployments.apps web-app in namespace shop" in problem.detail
        assert [path for path in left(rig) if "deployments" in path]
        api.allowed = lambda spec: spec["user"] == "eve"
        # The call that undoes it was decided about the release as it was before.
        problem_of(await call(rig, "PUT", "/web", wanted, headers=eve), 409, "changed")
        assert config(rig) == "hello"
        answer = await call(rig, "PUT", "/web", wanted, headers=eve)
        assert (answer.status_code, config(rig)) == (200, "by eve"), answer.text
        assert not [path for path in left(rig) if "weir-release" in path or "deployments" in path]


async def test_what_does_not_become_ready_is_undone(rig: AdminRig) -> None:
    stuck = chart({"deployment.yaml": DEPLOYMENT})
    failed = problem_of(await call(rig, "POST", content=document(stuck, timeout=2)), 422, "helm-failed")
    assert (failed.step, failed.rolled_back) == ("install", True)
    assert left(rig) == []


async def test_an_entry_that_another_controller_takes_ends_helm(rig: AdminRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "RENEW_SECONDS", 0.2)
    stuck = chart({"deployment.yaml": DEPLOYMENT})
    asking = asyncio.create_task(call(rig, "POST", content=document(stuck, timeout=60)))
    await waiting(rig, "pending-install")
    (entry,) = [path for path in rig.api.objects if "weir-release" in path]
    rig.api.drop(entry)
    answer = await asyncio.wait_for(asking, 60)
    problem = problem_of(answer, 503, "cluster-unavailable")
    assert ("journal" in problem.detail, problem.rolled_back) == (True, False)
    # It is not this controller's to bring back.
    assert "/apis/apps/v1/namespaces/shop/deployments/web-app" in rig.api.objects


# -- without ----------------------------------------------------------------------------------------------------------


async def test_without_helm(tmp_path: Path) -> None:
    for program in ("", "no-such-program"):
        async with admin(new_api(), tmp_path / "routes.json", "--admin-helm", program) as rig:
            problem = problem_of(await call(rig, "GET"), 501, "no-helm")
            assert "WEIR_ADMIN_HELM" in problem.detail
            problem_of(await call(rig, "POST", content=document(b"")), 501, "no-helm")
            problem_of(await call(rig, "DELETE", "/web"), 501, "no-helm")


async def test_namespaces_that_the_controller_does_not_serve(tmp_path: Path) -> None:
    async with releases(new_api(), tmp_path, "--namespaces", "other") as rig:
        problem_of(await call(rig, "GET"), 403, "not-served")
        answer = await rig.client.get("/v1/namespaces/other/releases")
        assert answer.json() == {"items": [], "next": None}
        elsewhere = document(chart({"config.yaml": CONFIG.replace("name: {{", "namespace: shop\n  name: {{")}))
        answer = await rig.client.post("/v1/namespaces/other/releases", json=elsewhere)
        assert "does not serve namespace shop" in problem_of(answer, 403, "forbidden").detail
        assert left(rig) == []


async def test_no_file_is_left(rig: AdminRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "files"))
    problem_of(await call(rig, "GET"), 503, "no-space")
    (tmp_path / "files").mkdir()
    await call(rig, "POST", content=document(chart({"config.yaml": CONFIG}), values={"greeting": "secret"}))
    await call(rig, "POST", content=document(b"nothing", "other"))
    assert not list((tmp_path / "files").iterdir())


def _unpacked(data: str) -> bytes:
    return gzip.decompress(base64.b64decode(base64.b64decode(data)))


def _packed(data: bytes) -> str:
    return base64.b64encode(base64.b64encode(gzip.compress(data))).decode()
