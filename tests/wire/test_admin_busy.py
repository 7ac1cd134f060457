"""The call by which a pod keeps its application awake: who may, for how long, and what is stored."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet.discovery.kubernetes.client import ApiError
from tests.support.waiting import until
from tests.wire.admin import AdminRig, admin, new_api

HTTP = "/apis/http.keda.sh/v1alpha1/namespaces/shop/httpscaledobjects"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
LEASES = "/api/v1/namespaces/weir-system/configmaps/weir-busy-leases"
PODS = ("web-1", "web-2", "stranger")


def _user(pod: str, namespace: str = "shop") -> dict[str, Any]:
    extra = {"authentication.kubernetes.io/pod-name": [pod], "authentication.kubernetes.io/pod-uid": [f"uid-of-{pod}"]}
    return {"username": f"system:serviceaccount:{namespace}:default", "uid": "uid", "groups": [], "extra": extra}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[AdminRig]:
    api = new_api()
    api.tokens |= {pod: _user(pod) for pod in PODS} | {"elsewhere": _user("web-1", "other")}
    for name, most in (("web", "10m"), ("strict", None)):
        spec = {"hosts": [name], "scaleTargetRef": {"name": name, "service": name, "port": 80}}
        api.put(f"{HTTP}/{name}", spec=spec | ({"maxBusy": most} if most else {}))
        endpoints = [
            {
                "addresses": [f"10.0.0.{number}"],
                "conditions": {"ready": False},
                "targetRef": {"kind": "Pod", "name": f"web-{number}"},
            }
            for number in (1, 2)
        ]
        labels = {"kubernetes.io/service-name": name}
        api.put(f"{SLICE}/{name}-1", metadata={"labels": labels}, addressType="IPv4", ports=[], endpoints=endpoints)
    async with admin(api, tmp_path / "routes.json", "--admin-rate", "1000") as held:
        yield held


async def say(rig: AdminRig, token: str, duration: Any = "5m", app: str = "web", namespace: str = "shop") -> httpx.Response:
    path = f"/v1/namespaces/{namespace}/apps/{app}/busy"
    return await rig.client.post(path, json={"duration": duration}, headers={"Authorization": f"Bearer {token}"})


def leases(rig: AdminRig) -> dict[str, dict[str, float]]:
    data = rig.api.objects[LEASES]["data"]["leases.json"] if LEASES in rig.api.objects else "{}"
    return dict(json.loads(data).get("leases", {}))


async def test_a_pod_keeps_its_app_awake_renews_and_frees(rig: AdminRig) -> None:
    before = time.time()
    answer = await say(rig, "web-1")
    assert (answer.status_code, answer.json()["app"], answer.json()["seconds"]) == (200, "shop/web", 300.0)
    until_then = leases(rig)["shop/web"]["uid-of-web-1"]
    assert before + 300 <= until_then <= time.time() + 300
    assert (await say(rig, "web-2", "1000h")).json()["seconds"] == 600.0, "the route's maximum"
    assert leases(rig)["shop/web"].keys() == {"uid-of-web-1", "uid-of-web-2"}
    reviewed = [spec for spec in rig.api.reviews if spec.get("token") == "web-1"]
    assert [spec["audiences"] for spec in reviewed] == [["weir-busy"]]
    for pod in ("web-1", "web-2"):
        assert (await say(rig, pod, "0")).json() == {"app": "shop/web", "seconds": 0.0, "until": None}
    assert leases(rig) == {}


@pytest.mark.parametrize(
    ("token", "arguments", "status", "kind"),
    [
        ("nonsense", {}, 401, "unauthenticated"),
        ("adam", {}, 403, "not-a-pod"),
        ("stranger", {}, 403, "not-a-backend"),
        ("elsewhere", {}, 403, "not-a-backend"),
        ("elsewhere", {"namespace": "other"}, 404, "not-found"),
        ("web-1", {"app": "strict"}, 403, "not-permitted"),
        ("web-1", {"app": "none"}, 404, "not-found"),
        ("web-1", {"duration": "soon"}, 422, "invalid-document"),
        ("web-1", {"duration": 5}, 422, "invalid-document"),
        ("web-1", {"duration": "-5s"}, 422, "invalid-document"),
        ("web-1", {"app": "UPPER"}, 422, "invalid-parameter"),
    ],
)
async def test_refused_and_nothing_stored(rig: AdminRig, token: str, arguments: dict[str, Any], status: int, kind: str) -> None:
    answer = await say(rig, token, **arguments)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:weir:problem:{kind}"), answer.text
    assert leases(rig) == {}


async def test_a_token_for_this_call_opens_no_other(rig: AdminRig) -> None:
    rig.api.returns_audiences = True
    rig.api.allowed = lambda attributes: False
    answer = await rig.client.get("/v1/namespaces/shop/apps", headers={"Authorization": "Bearer web-1"})
    assert answer.status_code == 403
    answer = await rig.client.get("/v1/namespaces/shop/apps/web/busy", headers={"Authorization": "Bearer web-1"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_many_at_once_are_few_writes(rig: AdminRig) -> None:
    answers = await asyncio.gather(*(say(rig, f"web-{number % 2 + 1}", f"{number + 1}s") for number in range(60)))
    assert {answer.status_code for answer in answers} == {200}
    writes = [path for _, path, _ in rig.api.writes if "weir-busy" in path or path.endswith("weir-system/configmaps")]
    assert 1 <= len(writes) < 60
    assert leases(rig)["shop/web"].keys() == {"uid-of-web-1", "uid-of-web-2"}


async def test_another_controller_writes_in_between(rig: AdminRig) -> None:
    assert (await say(rig, "web-1")).status_code == 200
    left = 2

    def refuse(method: str, path: str) -> ApiError | None:
        nonlocal left
        if method == "PATCH" and path == LEASES and left:
            left -= 1
            return ApiError("the object has been modified", status=409)
        return None

    rig.api.refuse = refuse
    assert (await say(rig, "web-2")).status_code == 200
    assert leases(rig)["shop/web"].keys() == {"uid-of-web-1", "uid-of-web-2"}


async def test_an_outage_is_said_and_the_next_call_works(rig: AdminRig) -> None:
    rig.api.refuse = lambda method, path: ApiError("down", status=503) if "configmaps" in path and method != "GET" else None
    answer = await say(rig, "web-1")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:weir:problem:cluster-unavailable")
    rig.api.refuse = lambda method, path: None
    assert (await say(rig, "web-1")).status_code == 200


async def test_the_status_says_so(rig: AdminRig) -> None:
    def busy() -> tuple[str, str] | None:
        conditions = rig.api.objects[f"{HTTP}/web"].get("status", {}).get("conditions", ())
        return next(((one["status"], one["reason"]) for one in conditions if one["type"] == "Busy"), None)

    await until(lambda: busy() == ("False", "NoLease"))
    await say(rig, "web-1")
    await until(lambda: busy() == ("True", "KeptAwake"))
    await say(rig, "web-1", "0")
    await until(lambda: busy() == ("False", "NoLease"))
    conditions = rig.api.objects[f"{HTTP}/strict"]["status"]["conditions"]
    assert "Busy" not in [one["type"] for one in conditions]
