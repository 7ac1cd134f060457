"""Previews by calls whose copy is in another namespace."""

from __future__ import annotations

import asyncio

from controller.preview.elsewhere import PERMIT
from controller.preview.life import write_time
from tests.support.elsewhere import at
from tests.support.waiting import until
from tests.wire import test_admin_previews
from tests.wire.test_admin_previews import F1, ID, Rig

rig = test_admin_previews.rig
CONTROLLER_FLAGS = ["--preview-namespaces"]
ELSEWHERE = F1 | {"copy_namespace": "qa"}
SCALED = "/apis/keda.sh/v1alpha1/namespaces/qa/scaledobjects"


def permit(rig: Rig, source: str) -> None:
    rig.api._store("/api/v1/namespaces/qa", {"metadata": {"name": "qa", "uid": "u", "labels": {PERMIT: source}}})


async def test_without_consent_the_wait_ends_with_the_reason(rig: Rig) -> None:
    permit(rig, "another")
    last = (await rig.events("POST", "?wait=true&timeout=600", ELSEWHERE))[-1][1]
    assert (last["outcome"], last["reason"], last["final"]) == ("not-served", "NotPermitted", True)
    assert last["message"] == "namespace qa does not have the label weir.dev/previews-from: shop"
    assert last["preview"]["state"] == "failed"
    rig.api.put(f"{SCALED}/{ID}", status={"lastActiveTime": write_time(1.8e9)})
    (listed,) = (await rig.call("GET"))["items"]
    assert listed["last_used"] is None, "what is called so there is another tenant's"
    assert (await rig.call("GET", f"/{ID}"))["last_used"] is None
    assert not [path for path in rig.api.reads if path.startswith(SCALED)]


async def test_it_is_made_woken_and_listed_where_it_is(rig: Rig) -> None:
    permit(rig, "shop")
    copy, scaled = at("qa", "deployments", ID), f"{SCALED}/{ID}"
    asked = asyncio.create_task(rig.events("POST", "?wait=true&wake=true", ELSEWHERE))
    await until(lambda: scaled in rig.api.objects)
    rig.api.put(f"{copy}/scale", spec={"replicas": 1}, status={"selector": "none=such"})
    ready = [{"type": "Ready", "status": "True", "message": "fine"}]
    rig.api.put(scaled, status={"conditions": ready, "lastActiveTime": write_time(1.8e9)})
    http = at("qa", "httpscaledobjects", ID)
    await until(lambda: "weir.dev/awake-until" in rig.api.objects[http]["metadata"].get("annotations", {}))
    rig.api.put(copy, spec=rig.api.objects[copy]["spec"] | {"replicas": 1})
    rig.api.put(copy, status={"observedGeneration": 99, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1})
    last = (await asked)[-1][1]
    assert (last["outcome"], last["preview"]["copy_namespace"]) == ("awake", "qa")
    (listed,) = (await rig.call("GET"))["items"]
    assert (listed["namespace"], listed["state"], listed["last_used"]) == ("shop", "awake", write_time(1.8e9))
    assert listed["document"] | ELSEWHERE == listed["document"]
    assert (await rig.call("POST", json=ELSEWHERE))["uid"] == listed["uid"]
    for other in (F1, F1 | {"copy_namespace": "prod"}):
        refused = await rig.call("PUT", f"/{ID}", 422, json=other | {"image": "web:2"})
        assert refused["errors"][0]["pointer"] == "/copy_namespace"
    await rig.call("POST", "", 422, json=F1 | {"copy_namespace": "../etc"})
