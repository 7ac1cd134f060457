"""Previews by calls: made, waited for, extended and deleted, and what is said of those that cannot be made."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from controller.admin.previews import following, previews
from controller.preview import maker
from controller.preview.life import KEEP_UNTIL, read_time, write_time
from fleet.discovery.kubernetes.client import ApiError
from tests.support.apply_api import ApplyApi
from tests.support.waiting import until
from tests.wire.admin import AdminRig, admin, new_api
from tests.wire.test_controller import HTTP, PORTS, SCALED, SERVICES, Interceptor
from tests.wire.test_controller_previews import DEPLOYMENTS, MADE, PREVIEWS, deploy

CALLS = "/v1/namespaces/shop/previews"
F1 = {"base": "web", "name": "f1", "image": "web:f1", "environment": {"A": "1"}, "ttl": "72h"}
ID = "web--f1"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"
HOOK = {"name": "database", "job": {"template": {"spec": {"containers": [{"name": "a", "image": "psql"}]}}}}


class PreviewApi(ApplyApi):
    """Previews are created now, so that their time is not over, and have a new generation with each new spec."""

    def _post(self, path: str, body: Any, kind: str) -> Any:
        if path == PREVIEWS:
            body = body | {"metadata": body["metadata"] | {"creationTimestamp": write_time(time.time())}}
        return super()._post(path, body, kind)

    def _replace(self, path: str, body: Any, kind: str) -> Any:
        before = self.objects.get(path, {}).get("metadata", {}).get("generation", 0)
        return super()._replace(path, body | {"metadata": body["metadata"] | {"generation": before + 1}}, kind)


class Rig:
    def __init__(self, held: AdminRig) -> None:
        self.api, self.client = held.api, held.client

    async def call(self, method: str, path: str = "", status: int = 200, **options: Any) -> Any:
        answer = await self.client.request(method, f"{CALLS}{path}", **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def events(self, method: str, path: str, body: Any = None) -> list[tuple[str, Any]]:
        answer = await self.client.request(method, f"{CALLS}{path}", json=body)
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
        blocks = [block.split("\n") for block in answer.text.split("\n\n") if block and not block.startswith(":")]
        return [(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in blocks]

    async def keda(self, name: str = ID) -> None:
        """KEDA takes the ScaledObject of a copy."""
        await until(lambda: f"{SCALED}/{name}" in self.api.objects)
        self.api.put(f"{SCALED}/{name}", status={"conditions": [{"type": "Ready", "status": "True", "message": "fine"}]})

    async def is_read(self, times: int) -> None:
        """Until the object has been read so often."""
        reads: list[str] = []
        self.api.refuse = lambda method, path: reads.append(method) if (method, path) == ("GET", f"{PREVIEWS}/{ID}") else None
        await until(lambda: len(reads) >= times)

    async def has(self, reason: str, name: str = ID) -> None:
        def reasons() -> list[str]:
            conditions = self.api.objects.get(f"{PREVIEWS}/{name}", {}).get("status", {}).get("conditions", ())
            return [one["reason"] for one in conditions if one["type"] == "Ready"]

        await until(lambda: reasons() == [reason])


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """`CONTROLLER_FLAGS` of the module are for the controller."""
    more: list[str] = getattr(request.module, "CONTROLLER_FLAGS", [])
    monkeypatch.setattr(following, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(following, "HINT_SECONDS", 0.05)
    table, api = tmp_path / "routes.json", PreviewApi()
    api.tokens = new_api().tokens
    target = {"name": "web", "service": "web", "port": 80}
    api.put(f"{HTTP}/web", spec={"hosts": ["web.example.com"], "pathPrefixes": ["/shop"], "scaleTargetRef": target})
    api.put(f"{SERVICES}/web", spec={**PORTS, "selector": {"app": "web"}})
    deploy(api)
    async with AsyncExitStack() as stack:
        interceptors = [await stack.enter_async_context(Interceptor(table)) for _ in range(2)]
        flags = ["--members", ",".join(one.address for one in interceptors), "--admin-rate", "1000", "--verify-timeout", "0.3"]
        yield Rig(
            await stack.enter_async_context(admin(api, table, *flags, "--previews", *more, "--admin-url", "https://{host}"))
        )


async def test_one_call_makes_it_and_waits_until_the_whole_fleet_serves_it(rig: Rig) -> None:
    asked = asyncio.create_task(rig.events("POST", "?wait=true", F1))
    await rig.keda()
    events = await asked
    assert events[0] == ("progress", {"step": "the Preview is written"})
    assert {data["step"] for name, data in events[1:-1]} == {"waiting until it is served"}
    name, last = events[-1]
    assert (name, last["outcome"], last["created"]) == ("done", "served", True)
    made = last["preview"]
    assert (made["id"], made["base"], made["name"], made["state"], made["ready"]) == (ID, "web", "f1", "asleep", "True")
    assert (made["url"], made["urls"]) == ("https://f1.web.example.com/shop", ["https://f1.web.example.com/shop"])
    assert made["document"] | F1 == made["document"]
    assert 71 * 3600 < made["seconds_left"] <= 72 * 3600
    containers = rig.api.objects[MADE[1]]["spec"]["template"]["spec"]["containers"]
    assert (containers[0]["image"], containers[0]["env"]) == ("web:f1", [{"name": "A", "value": "1"}])

    again = await rig.events("POST", "?wait=true", F1 | {"ttl": "4320m"})
    assert (again[-1][1]["outcome"], again[-1][1]["created"]) == ("served", False)
    assert (await rig.call("POST", json=F1))["uid"] == made["uid"]
    other = await rig.call("POST", status=409, json=F1 | {"image": "web:2"})
    assert other["type"] == "urn:weir:problem:exists"
    assert (await rig.call("GET", f"/{ID}"))["uid"] == made["uid"]
    gone = await rig.events("DELETE", f"/{ID}?wait=true")
    assert gone[-1] == ("done", {"outcome": "deleted"})
    assert not [path for path in (*MADE, f"{PREVIEWS}/{ID}") if path in rig.api.objects]
    assert f"{DEPLOYMENTS}/web" in rig.api.objects
    assert (await rig.call("DELETE", f"/{ID}", 404))["type"] == "urn:weir:problem:not-found"


async def test_a_new_image_replaces_it_where_nobody_else_has_changed_it(rig: Rig) -> None:
    first = await rig.client.put(f"{CALLS}/{ID}", json=F1)
    assert first.status_code == 201, first.text
    asked = asyncio.create_task(rig.events("PUT", f"/{ID}?wait=true", F1 | {"image": "web:f1-2", "environment": {}}))
    await rig.keda()
    name, last = (await asked)[-1]
    assert (name, last["outcome"], last["created"]) == ("done", "served", False)
    document = last["preview"]["document"]
    assert (document["image"], document["environment"], document["ttl"]) == ("web:f1-2", {}, "72h")
    assert rig.api.objects[f"{PREVIEWS}/{ID}"]["metadata"]["uid"] == first.json()["uid"]
    etag = first.headers["etag"]
    for method, body in (("PUT", F1), ("DELETE", None)):
        stale = await rig.client.request(method, f"{CALLS}/{ID}", json=body, headers={"If-Match": etag})
        assert stale.status_code == 412
    etag = (await rig.client.get(f"{CALLS}/{ID}")).headers["etag"]
    await rig.call("DELETE", f"/{ID}", 204, headers={"If-Match": etag})
    missing = await rig.client.put(f"{CALLS}/{ID}", json=F1, headers={"If-Match": etag})
    assert missing.status_code == 412


async def test_writes_between_reading_and_writing_are_no_failures(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller writes the status all the time."""
    monkeypatch.setattr(previews, "GONE_PAUSE_SECONDS", 0.01)
    await rig.call("POST", status=201, json=F1)
    left = {"PUT": 2, "PATCH": 2}

    def refuse(method: str, path: str) -> ApiError | None:
        if path != f"{PREVIEWS}/{ID}" or not left.get(method):
            return None
        left[method] -= 1
        return ApiError("the object has been modified", status=409)

    rig.api.refuse = refuse
    await rig.call("PUT", f"/{ID}", json=F1 | {"image": "web:2"})
    assert (await rig.call("POST", f"/{ID}/extend?seconds=864000"))["seconds_left"] > 9 * 86400
    assert left == {"PUT": 0, "PATCH": 0}


async def test_a_failing_hook_ends_the_wait_with_what_its_job_says(rig: Rig) -> None:
    asked = asyncio.create_task(rig.events("POST", "?wait=true", F1 | {"before": [HOOK]}))
    await rig.has("HookRunning")
    assert (await rig.call("GET", f"/{ID}"))["state"] == "making"
    await rig.is_read(2)
    failed = {"type": "Failed", "status": "True", "message": "no such database"}
    rig.api.put(f"{JOBS}/{ID}-database", status={"conditions": [failed]})
    events = await asked
    assert {"step": "waiting until it is served", "reason": "HookRunning", "message": "hook database has not ended yet"} in [
        data for _, data in events
    ]
    last = events[-1][1]
    assert (last["outcome"], last["reason"]) == ("not-served", "HookFailed")
    assert (last["message"], last["preview"]["state"]) == ("hook database: no such database", "failed")


async def until_hook(rig: Rig, name: str) -> str:
    """The path of the Job of a hook after, once it is made."""

    def found() -> list[str]:
        return [path for path in rig.api.objects if path.startswith(f"{JOBS}/{ID}-{name}-")]

    await until(found)
    return found()[0]


def ended(kind: str, message: str = "") -> Any:
    return {"conditions": [{"type": kind, "status": "True", "message": message}]}


async def test_a_deletion_tells_of_hooks_after_and_what_has_failed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "SOON_SECONDS", 0.05)
    hooks = [HOOK, HOOK | {"name": "queue"}]
    made = await rig.call("POST", status=201, json=F1 | {"after": hooks, "after_timeout": "5m"})
    assert (made["document"]["after"], made["document"]["after_timeout"]) == (hooks, "5m")
    await until(lambda: all(path in rig.api.objects for path in MADE))
    deleting = asyncio.create_task(rig.events("DELETE", f"/{ID}?wait=true"))
    database = await until_hook(rig, "database")
    await rig.has("AfterHookRunning")
    shown = await rig.call("GET", f"/{ID}")
    assert (shown["state"], shown["reason"]) == ("deleting", "AfterHookRunning")
    assert shown["message"] == "hook database has not ended yet"
    await rig.is_read(2)
    rig.api.put(database, status=ended("Failed", "no such host"))
    rig.api.put(await until_hook(rig, "queue"), status=ended("Complete"))
    events = await deleting
    told = {"step": "waiting until nothing is left", "reason": "AfterHookRunning", "message": "hook database has not ended yet"}
    assert told in [data for _, data in events]
    assert events[-1] == (
        "done",
        {"outcome": "deleted", "reason": "AfterHookFailed", "message": "hook database: no such host"},
    )
    assert not [path for path in rig.api.objects if JOBS in path]


async def test_a_deletion_that_takes_longer_than_the_wait_says_what_it_waits_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "GONE_SECONDS", 0.05)
    await rig.call("POST", status=201, json=F1 | {"after": [HOOK]})
    await until(lambda: all(path in rig.api.objects for path in MADE))
    await rig.call("DELETE", f"/{ID}", 202)
    await until_hook(rig, "database")
    await rig.has("AfterHookRunning")
    events = await rig.events("DELETE", f"/{ID}?wait=true&timeout=1")
    assert events[-1][1] == {"outcome": "deleting", "reason": "AfterHookRunning", "message": "hook database has not ended yet"}
    assert (await rig.call("PUT", f"/{ID}", 409, json=F1))["type"] == "urn:weir:problem:deleting"
    rig.api.put(f"{PREVIEWS}/{ID}", metadata={"finalizers": []})
    rig.api.drop(f"{PREVIEWS}/{ID}")


async def test_a_deletion_without_a_watch_is_one_all_the_same(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SEEN_SECONDS", 0.05)
    await rig.call("POST", status=201, json=F1)
    rig.api.refuse = lambda method, path: ApiError("no", status=403) if (method, path) == ("GET", PREVIEWS) else None
    assert (await rig.events("DELETE", f"/{ID}?wait=true"))[-1] == ("done", {"outcome": "deleted"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"container": "no"}, "CannotBeCopied"), ({"base": "nothing"}, "NoBase"), ({"name": "taken"}, "NameTaken")],
)
async def test_what_cannot_be_made_ends_the_wait(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr(following, "NO_BASE_SECONDS", 0.2)
    rig.api.put(f"{SERVICES}/web--taken", spec=PORTS)
    began = time.monotonic()
    last = (await rig.events("POST", "?wait=true&timeout=600", F1 | change))[-1][1]
    assert (last["outcome"], last["reason"], last["preview"]["state"]) == ("not-served", reason, "failed")
    assert time.monotonic() - began < 60


async def test_a_replica_is_started_to_see_that_it_becomes_ready(rig: Rig) -> None:
    asked = asyncio.create_task(rig.events("POST", "?wait=true&wake=true", F1))
    await until(lambda: MADE[1] in rig.api.objects)
    rig.api.put(f"{MADE[1]}/scale", spec={"replicas": 1}, status={"selector": "none=such"})
    await rig.keda()
    await until(lambda: "weir.dev/awake-until" in rig.api.objects[MADE[2]]["metadata"].get("annotations", {}))
    rig.api.put(MADE[1], spec=rig.api.objects[MADE[1]]["spec"] | {"replicas": 1})
    await until(lambda: rig.api.objects[MADE[1]]["spec"]["replicas"] == 1)
    assert (await rig.call("GET", f"/{ID}"))["state"] == "waking"
    rig.api.put(MADE[1], status={"observedGeneration": 0, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1})
    await until(lambda: rig.api.objects[MADE[1]]["status"])
    assert (await rig.call("GET", f"/{ID}"))["state"] == "awake"
    read = rig.api.reads.count(DEPLOYMENTS)
    await until(lambda: rig.api.reads.count(DEPLOYMENTS) >= read + 3)
    assert not asked.done(), "the replica may be one of another image"
    rig.api.put(MADE[1], status={"observedGeneration": 99, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1})
    last = (await asked)[-1][1]
    assert (last["outcome"], last["preview"]["state"]) == ("awake", "awake")
    kept = read_time(rig.api.objects[MADE[2]]["metadata"]["annotations"]["weir.dev/awake-until"])
    assert kept is not None
    assert kept < time.time() + 90, "as long as somebody looks at it"


@pytest.mark.parametrize(
    ("waiting", "reason", "word"),
    [
        ({"reason": "ErrImagePull", "message": "web:f1: not found"}, "ImageNotPulled", "cannot be pulled"),
        ({"reason": "CreateContainerConfigError", "message": 'secret "db" not found'}, "ContainerNotStarted", '"db" not found'),
    ],
)
async def test_an_image_or_a_secret_that_is_missing_ends_the_wait(
    rig: Rig, waiting: dict[str, str], reason: str, word: str
) -> None:
    asked = asyncio.create_task(rig.events("POST", "?wait=true&wake=true&timeout=600", F1))
    await until(lambda: MADE[1] in rig.api.objects)
    labels = rig.api.objects[MADE[1]]["spec"]["template"]["metadata"]["labels"]
    state = {"containerStatuses": [{"name": "web", "image": "web:f1", "ready": False, "state": {"waiting": waiting}}]}
    spec = {"containers": [{"name": "web", "image": "web:f1"}]}
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    rig.api.put(f"{MADE[1]}/scale", spec={"replicas": 1}, status={"selector": selector})
    rig.api.put("/api/v1/namespaces/shop/pods/web--f1-x", metadata={"labels": labels}, spec=spec, status=state)
    await rig.keda()
    last = (await asked)[-1][1]
    assert (last["outcome"], last["reason"]) == ("not-awake", reason), last
    assert word in last["message"]
    annotations = rig.api.objects[MADE[2]]["metadata"].get("annotations", {})
    assert "weir.dev/awake-until" not in annotations, "what does not work is not kept"


async def test_the_list_tells_of_each_how_it_is(rig: Rig) -> None:
    for name in ("f1", "f2", "f3"):
        await rig.call("POST", status=201, json=F1 | {"name": name} | ({} if name == "f2" else {"ttl": "1h"}))
    rig.api.put(f"{PREVIEWS}/own", spec={"base": "web"}, metadata={"creationTimestamp": write_time(time.time())})
    for name in ("f1", "f2", "f3", "own"):
        await until(lambda name=name: f"{HTTP}/web--{name}" in rig.api.objects)  # type: ignore[misc]
        await rig.keda(f"web--{name}")
    used = write_time(time.time() - 60)
    rig.api.put(f"{SCALED}/web--f2", status=rig.api.objects[f"{SCALED}/web--f2"]["status"] | {"lastActiveTime": used})
    rig.api.put(f"{DEPLOYMENTS}/web--f2", status={"readyReplicas": 2})
    rig.api.put(f"{DEPLOYMENTS}/web--f2", spec=rig.api.objects[f"{DEPLOYMENTS}/web--f2"]["spec"] | {"replicas": 2})
    await until(lambda: rig.api.objects[f"{DEPLOYMENTS}/web--f2"]["spec"]["replicas"] == 2)
    page = await rig.call("GET", "?limit=3")
    rest = await rig.call("GET", f"?limit=3&continue={page['next']}")
    found = {one["id"]: one for one in (*page["items"], *rest["items"])}
    assert (len(page["items"]), rest["next"], sorted(found)) == (3, None, ["own", "web--f1", "web--f2", "web--f3"])
    states = {name: (one["state"], one["last_used"], one["seconds_left"] is None) for name, one in found.items()}
    assert states == {
        "own": ("asleep", None, True),
        "web--f1": ("asleep", None, False),
        "web--f2": ("awake", used, False),
        "web--f3": ("asleep", None, False),
    }
    assert {one["url"] for one in found.values()} >= {"https://own.web.example.com/shop", "https://f2.web.example.com/shop"}
    rig.api.refuse = lambda method, path: ApiError("no", status=403) if path.endswith("/deployments") else None
    assert {one["state"] for one in (await rig.call("GET"))["items"]} == {"unknown"}


async def test_it_is_kept_for_longer(rig: Rig) -> None:
    await rig.call("POST", status=201, json=F1 | {"ttl": "1h", "expires": "AfterCreation", "pinned": True})
    await rig.call("POST", status=201, json={"base": "web", "name": "f2"})
    assert (await rig.call("POST", f"/{ID}/extend"))["seconds_left"] <= 3600
    generation = rig.api.objects[f"{PREVIEWS}/{ID}"]["metadata"]["generation"]
    extended = await rig.call("POST", f"/{ID}/extend?seconds=86400")
    assert 86_390 <= extended["seconds_left"] <= 86_400
    less = await rig.call("POST", f"/{ID}/extend?seconds=60")
    assert less["expires_at"] == extended["expires_at"], "nothing is made less"
    metadata = rig.api.objects[f"{PREVIEWS}/{ID}"]["metadata"]
    assert metadata["annotations"][KEEP_UNTIL] == extended["expires_at"]
    assert metadata["generation"] == generation, "its copy is not made anew"
    assert (await rig.call("POST", "/web--f2/extend"))["expires_at"] is None
    await rig.call("POST", "/web--f3/extend", 404)
    await rig.call("POST", f"/{ID}/extend?seconds=0", 422)


async def test_one_that_is_being_deleted_is_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "GONE_PAUSE_SECONDS", 0.01)
    await rig.call("POST", status=201, json=F1)
    rig.api.put(f"{PREVIEWS}/{ID}", metadata={"deletionTimestamp": write_time(time.time())})
    asked = asyncio.create_task(rig.call("POST", status=201, json=F1))
    for path in (f"/{ID}/extend",):
        assert (await rig.call("POST", path, 409))["type"] == "urn:weir:problem:deleting"
    assert (await rig.call("GET", f"/{ID}"))["state"] == "deleting"
    assert not asked.done()
    rig.api.drop(f"{PREVIEWS}/{ID}")
    await asked
    monkeypatch.setattr(previews, "GONE_SECONDS", 0.05)
    rig.api.put(f"{PREVIEWS}/{ID}", metadata={"deletionTimestamp": write_time(time.time())})
    await rig.call("POST", status=409, json=F1)
    await rig.call("PUT", f"/{ID}", 409, json=F1)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"name": "f1"}, "/base: is missing"),
        ({"base": "web"}, "/name: is missing"),
        ({"base": "web", "name": "a--b"}, "/name: "),
        ({"base": "web", "name": "xn"}, "/name: "),
        ({"base": "web", "name": "f" * 62}, "/name: "),
        ({"base": "web", "name": "f1", "ttl": "soon"}, "/ttl: "),
        ({"base": "web", "name": "f1", "ttl": "99999999h"}, "/ttl: is longer than"),
        ({"base": "web", "name": "f1", "replicas": {"min": 3, "max": 2}}, "/replicas: min is 3"),
        ({"base": "web", "name": "f1", "environment": {"A": 1}}, "/environment/A"),
        ({"base": "web", "name": "f1", "image": "a b"}, "/image"),
        ({"base": "web", "name": "f1", "before": [HOOK, HOOK]}, "the document: two hooks have the same name"),
        ({"base": "web", "name": "f1", "after": [HOOK, HOOK]}, "the document: two hooks have the same name"),
        ({"base": "web", "name": "f1", "after_timeout": "25h"}, "/after_timeout: is not from 1 second to 1 day"),
        ({"base": "web", "name": "f1", "other": 1}, "/other: is not a field"),
    ],
)
async def test_what_is_wrong_with_a_document(rig: Rig, body: dict[str, Any], detail: str) -> None:
    for asked in ("", "?wait=true", "?dryRun=All"):
        problem = await rig.call("POST", asked, 422, json=body)
        assert problem["detail"].startswith(detail), problem
    assert not rig.api.written(PREVIEWS)


async def test_a_dry_run_writes_nothing(rig: Rig) -> None:
    (planned,) = (await rig.call("POST", "?dryRun=All", json=F1))["objects"]
    assert (planned["kind"], planned["metadata"]["name"], planned["spec"]["ttl"]) == ("Preview", ID, "72h")
    await rig.call("PUT", f"/{ID}?dryRun=All", json=F1)
    assert not rig.api.written(PREVIEWS)
    await rig.call("POST", status=201, json=F1)
    await rig.call("POST", "?dryRun=All", 409, json=F1 | {"image": "other"})
    await rig.call("PUT", f"/{ID}?dryRun=All", json=F1 | {"image": "other"})
    await rig.call("DELETE", f"/{ID}?dryRun=All", 204)
    assert (await rig.call("GET", f"/{ID}"))["document"]["image"] == "web:f1"
    assert (await rig.call("PUT", "/web--f2", 422, json=F1))["detail"].startswith("/name: is another than in the path")
    assert (await rig.call("POST", "?wake=true", 422, json=F1))["errors"][0]["parameter"] == "wake"


async def test_callers_may_what_kubectl_would_let_them(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.call("POST", status=201, json=F1)
    allowed: set[str] = set()
    rig.api.allowed = lambda spec: (
        f"{spec['resourceAttributes']['verb']} {spec['resourceAttributes']['resource']}" in allowed
        and spec["resourceAttributes"]["namespace"] == "shop"
    )
    calls = (
        ("GET", "", None, {"list previews"}),
        ("GET", f"/{ID}", None, {"get previews"}),
        ("POST", "", F1, {"create previews"}),
        ("PUT", f"/{ID}", F1, {"create previews", "update previews"}),
        ("POST", "?dryRun=All", {"base": "web", "name": "hooked", "before": [HOOK]}, {"create previews", "create jobs"}),
        ("POST", "?dryRun=All", {"base": "web", "name": "hooked", "after": [HOOK]}, {"create previews", "create jobs"}),
        ("POST", "?wait=true&wake=true&timeout=1", F1, {"create previews", "patch httpscaledobjects"}),
        ("POST", f"/{ID}/extend", None, {"patch previews"}),
        ("DELETE", f"/{ID}", None, {"delete previews"}),
    )
    for method, path, body, needs in calls:
        for missing in needs:
            allowed.clear()
            allowed.update(needs - {missing})
            answer = await rig.client.request(method, f"{CALLS}{path}", json=body)
            assert (answer.status_code, missing in answer.json()["detail"]) == (403, True), answer.text
        unknown = await rig.client.request(method, f"{CALLS}{path}", json=body, headers={"Authorization": "Bearer nobody"})
        assert unknown.status_code == 401
    with caplog.at_level(logging.INFO, "controller.admin.audit"):
        for method, path, body, needs in calls:
            allowed.update(needs)
            answer = await rig.client.request(method, f"{CALLS}{path}", json=body)
            assert answer.status_code < 300, answer.text
    lines = [record.getMessage() for record in caplog.records if record.name == "controller.admin.audit"]
    assert lines[0] == f"create preview of app shop/{ID} by 'adam': was there"
    assert len(lines) == 7
    assert lines[-1] == f"delete preview of app shop/{ID} by 'adam': deleted"


async def test_it_is_off_unless_switched_on(tmp_path: Path) -> None:
    async with admin(new_api(), tmp_path / "routes.json") as held:
        answer = await held.client.post(CALLS, json=F1)
        assert (answer.status_code, answer.json()["type"]) == (501, "urn:weir:problem:no-previews")
        assert not held.api.written(PREVIEWS)
