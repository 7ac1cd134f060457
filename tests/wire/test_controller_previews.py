"""Objects that are previews of others, in a whole term of the controller."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from controller.preview import maker, releasing
from controller.preview.elsewhere import FINALIZER as ELSEWHERE
from controller.preview.life import KEEP_UNTIL, write_time
from controller.preview.resource import FINALIZER
from fleet.discovery.kubernetes.client import ApiError, Query
from fleet.routing.codec import decode_json
from fleet.routing.table import RoutingTable
from tests.support.memory_api import MemoryApi
from tests.wire.test_controller import EVENTS, HTTP, PORTS, SCALED, SERVICES, Rig, rig

COPY = {"previewOf": {"base": "web", "name": "f1"}, "scaleTargetRef": {"name": "web--f1", "service": "web--f1", "port": 80}}

PREVIEWS = "/apis/weir.dev/v1alpha1/namespaces/shop/previews"
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"
HOOK = {"name": "make", "job": {"template": {"spec": {"containers": [{"name": "a"}]}}}}
MADE = (f"{SERVICES}/web--f1", f"{DEPLOYMENTS}/web--f1", f"{HTTP}/web--f1")


def table_of(held: Rig) -> RoutingTable:
    return decode_json(held.table.read_bytes())


async def test_a_preview_gets_a_scaled_object_and_a_status_of_its_own(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("web")
        api.put(f"{SERVICES}/web--f1", spec=PORTS)
        api.put(f"{HTTP}/web--f1", spec=COPY)
        await held.until(lambda: f"{SCALED}/web--f1" in api.objects)
        held.keda_is_ready("web--f1")
        await held.until_is(f"{HTTP}/web--f1", "Ready", "True")
        table = table_of(held)
        assert [route.app for route in table.routes] == ["shop/web"]
        assert table.match(b"f1.web.example.com", b"/", ()) is table.apps["shop/web"]
        second = {"previewOf": {"base": "web", "name": "f1"}, "scaleTargetRef": {"name": "x", "service": "x", "port": 80}}
        api.put(f"{HTTP}/x", spec=second, metadata={"creationTimestamp": "2026-02-01T00:00:00Z"})

        def said() -> str:
            return str(held.conditions(f"{HTTP}/x").get("Ready", {}).get("message", ""))

        await held.until(lambda: "f1 is already HTTPScaledObject shop/web--f1" in said())
        api.drop(f"{HTTP}/web--f1")
        await held.until_is(f"{HTTP}/x", "RoutesPropagated", "True")
        assert list(table_of(held).apps) == ["shop/web", "shop/x"]
        api.drop(f"{HTTP}/web")
        await held.until(lambda: "nothing of the name web is served" in said())


def deploy(api: MemoryApi, image: str = "web:1") -> None:
    """The Deployment of the base."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    api.put(f"{DEPLOYMENTS}/web", apiVersion="apps/v1", kind="Deployment", spec=spec)


def based(held: Rig) -> None:
    held.app("web", service=False)
    held.api.put(f"{SERVICES}/web", spec={**PORTS, "selector": {"app": "web"}})
    deploy(held.api)


def image_of(api: MemoryApi, name: str = "web--f1") -> str:
    containers = api.objects[f"{DEPLOYMENTS}/{name}"]["spec"]["template"]["spec"]["containers"]
    return str(containers[0]["image"])


def condition(held: Rig, name: str, kind: str = "Ready") -> dict[str, Any]:
    return dict(held.conditions(f"{PREVIEWS}/{name}").get(kind, {}))


async def test_a_preview_is_made_followed_and_ready(tmp_path: Path) -> None:
    api, asked = MemoryApi(), list[str]()
    api.refuse = lambda method, path: asked.append(path) if method == "GET" else None
    async with rig(api, tmp_path / "routes.json", 2, "--previews") as held:
        based(held)
        api.put(f"{PREVIEWS}/f1", spec={"base": "web", "overrides": {"env": {"A": "1"}}})
        await held.until(lambda: all(path in api.objects for path in MADE) and f"{SCALED}/web--f1" in api.objects)
        held.keda_is_ready("web--f1")
        await held.until(lambda: condition(held, "f1").get("status") == "True")
        status = api.objects[f"{PREVIEWS}/f1"]["status"]
        assert (status["hosts"], status["copy"], status["name"]) == ("f1.web.example.com", "web--f1", "f1")
        assert table_of(held).match(b"f1.web.example.com", b"/", ()) is not None
        copy = api.objects[f"{DEPLOYMENTS}/web--f1"]
        assert copy["spec"]["replicas"] == 0
        assert {"uid": api.objects[f"{PREVIEWS}/f1"]["metadata"]["uid"], "controller": True}.items() <= copy["metadata"][
            "ownerReferences"
        ][0].items()
        # It begins at zero, and then nobody but KEDA says how many there are.
        bodies = [body for method, path, body in api.writes if path == f"{DEPLOYMENTS}/web--f1"]
        assert ["replicas" in body["spec"] for body in bodies] == [True, True, False]
        deploy(api, "web:2")
        await held.until(lambda: image_of(api) == "web:2")
        await held.quiet()
        before = len(api.written("web--f1"))
        api.put(f"{DEPLOYMENTS}/web", spec={**api.objects[f"{DEPLOYMENTS}/web"]["spec"], "replicas": 3})
        read = asked.count(f"{DEPLOYMENTS}/web")
        api.put(f"{HTTP}/web", status={"targetWorkload": "x"})
        await held.quiet()
        assert len(api.written("web--f1")) == before
        assert asked.count(f"{DEPLOYMENTS}/web") == read, "neither the scale nor the status of the base concerns its copies"
        service = {**api.objects[f"{SERVICES}/web"]["spec"], "ports": [{"name": "http", "port": 81, "protocol": "TCP"}]}
        api.put(f"{SERVICES}/web", spec=service)
        await held.until(lambda: api.objects[f"{SERVICES}/web--f1"]["spec"]["ports"][0]["port"] == 81)


async def test_a_pinned_preview_stays_as_it_was_made(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json", 2, "--previews") as held:
        based(held)
        api.put(f"{PREVIEWS}/f1", spec={"base": "web", "pinned": True})
        await held.until(lambda: f"{HTTP}/web--f1" in api.objects and condition(held, "f1").get("reason") != "NoBase")
        await held.quiet()
        deploy(api, "web:2")
        api.put(f"{PREVIEWS}/f2", spec={"base": "web"})
        await held.until(lambda: f"{DEPLOYMENTS}/web--f2" in api.objects)
        await held.quiet()
        assert (image_of(api), image_of(api, "web--f2")) == ("web:1", "web:2")


async def test_what_is_wrong_with_one_is_told_by_its_status_and_others_are_made(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json", 2, "--previews") as held:
        based(held)
        api.put(f"{DEPLOYMENTS}/web--taken", spec={"mine": True})
        for name, spec in {
            "bad": {"base": "web", "ttl": "soon"},
            "lonely": {"base": "nothing"},
            "taken": {"base": "web"},
            "other": {"base": "web", "overrides": {"container": "no", "image": "x"}},
            "good": {"base": "web"},
        }.items():
            api.put(f"{PREVIEWS}/{name}", spec=spec)
        await held.until(lambda: f"{HTTP}/web--good" in api.objects)
        reasons = {"bad": "Invalid", "lonely": "NoBase", "taken": "NameTaken", "other": "CannotBeCopied"}
        await held.until(lambda: {name: condition(held, name).get("reason") for name in reasons} == reasons)
        assert api.objects[f"{DEPLOYMENTS}/web--taken"]["spec"] == {"mine": True}
        assert {path.rpartition("/")[2] for path in api.objects if "--" in path} >= {"web--taken", "web--good"}
        assert not [path for path in api.objects if path.endswith(("web--other", "web--bad")) or path == f"{HTTP}/web--taken"]


async def test_a_refused_write_is_told_and_tried_again_until_all_is_there(tmp_path: Path) -> None:
    """Also what a controller that is killed at any step leaves: the next run does what is missing."""
    api = MemoryApi()
    left = dict.fromkeys(MADE, 1)

    def refuse(method: str, path: str) -> ApiError | None:
        if method != "PATCH" or not left.get(path):
            return None
        left[path] -= 1
        return ApiError(f"{path} is forbidden", status=403)

    api.refuse = refuse
    async with rig(api, tmp_path / "routes.json", 2, "--previews") as held:
        based(held)
        api.put(f"{PREVIEWS}/f1", spec={"base": "web"})
        await held.until(lambda: condition(held, "f1").get("reason") == "Refused")
        assert "is forbidden" in condition(held, "f1")["message"]
        await held.until(lambda: all(path in api.objects for path in MADE))
        assert api.objects[f"{DEPLOYMENTS}/web--f1"]["spec"]["replicas"] == 0


async def test_its_time_ends_unless_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "LOOK_SECONDS", 0.2)
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json", 2, "--previews") as held:
        based(held)
        old = {"creationTimestamp": write_time(time.time() - 7200)}
        api.put(f"{SCALED}/web--used", status={"lastActiveTime": write_time(time.time() - 60)})
        api.put(f"{PREVIEWS}/used", spec={"base": "web", "ttl": "1h"}, metadata=dict(old))
        api.put(f"{PREVIEWS}/idle", spec={"base": "web", "ttl": "1h"}, metadata=dict(old))
        api.put(f"{PREVIEWS}/fixed", spec={"base": "web", "ttl": "1h", "expires": "AfterCreation"}, metadata=dict(old))
        await held.until(lambda: f"{PREVIEWS}/idle" not in api.objects and f"{PREVIEWS}/fixed" not in api.objects)
        await held.until(lambda: api.objects[f"{PREVIEWS}/used"].get("status", {}).get("expiresAt"))
        deleted = [(path, body) for method, path, body in api.writes if method == "DELETE"]
        assert {path.rpartition("/")[2] for path, _ in deleted} == {"idle", "fixed"}
        assert all(body["preconditions"]["uid"] and body["propagationPolicy"] == "Background" for _, body in deleted)
        assert f"{DEPLOYMENTS}/web" in api.objects


async def test_hooks_run_once_one_after_the_other_before_the_copy_is_made(tmp_path: Path) -> None:
    api, jobs = MemoryApi(), "/apis/batch/v1/namespaces/shop/jobs"

    def ends(name: str, kind: str, **more: str) -> None:
        api.put(f"{jobs}/web--f1-{name}", status={"conditions": [{"type": kind, "status": "True", **more}]})

    async with rig(api, tmp_path / "routes.json", 2, "--previews") as held:
        based(held)
        job = {"template": {"spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": "1"}]}]}}, "backoffLimit": 0}
        hooks = [{"name": name, "job": job} for name in ("database", "queue")]
        api.put(f"{PREVIEWS}/f1", spec={"base": "web", "before": hooks})
        api.put(f"{PREVIEWS}/f2", spec={"base": "web"})
        await held.until(lambda: condition(held, "f1").get("reason") == "HookRunning")
        assert [path for path in api.objects if jobs in path] == [f"{jobs}/web--f1-database"]
        made = api.objects[f"{jobs}/web--f1-database"]
        assert made["metadata"]["ownerReferences"][0]["uid"] == api.objects[f"{PREVIEWS}/f1"]["metadata"]["uid"]
        pod = made["spec"]["template"]["spec"]
        assert (made["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
        assert {"name": "WEIR_PREVIEW", "value": "f1"} in pod["containers"][0]["env"]
        ends("database", "Complete")
        await held.until(lambda: f"{jobs}/web--f1-queue" in api.objects)
        await held.until(lambda: f"{HTTP}/web--f2" in api.objects)
        assert not [path for path in MADE if path in api.objects], "nothing is made before all have succeeded"
        ends("queue", "Failed", message="no broker")
        await held.until(lambda: condition(held, "f1").get("reason") == "HookFailed")
        assert condition(held, "f1")["message"] == "hook queue: no broker"
        api.drop(f"{jobs}/web--f1-database")
        api.drop(f"{jobs}/web--f1-queue")
        api.put(f"{PREVIEWS}/f1", metadata={"annotations": {"again": "1"}})
        await held.until(lambda: f"{jobs}/web--f1-queue" in api.objects)
        ends("queue", "Complete")
        await held.until(lambda: all(path in api.objects for path in MADE))
        assert f"{jobs}/web--f1-database" not in api.objects, "what has succeeded does not run again"


async def test_without_the_setting_nothing_is_made_and_no_hook_runs(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json") as held:
        based(held)
        api.put(f"{PREVIEWS}/f1", spec={"base": "web", "before": [HOOK]})
        await held.quiet()
        assert not [path for path in api.reads if path.endswith("/deployments")]
        assert MADE[1] not in api.objects
        assert not [path for path in api.objects if JOBS in path]


@pytest.mark.parametrize("absent", [False, True])
async def test_without_the_setting_what_waits_for_hooks_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: bool
) -> None:
    monkeypatch.setattr(releasing, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(releasing, "PAGE_OBJECTS", "2")
    api = PagedApi()
    if absent:
        api.absent.add("previews")
    async with rig(api, tmp_path / "routes.json") as held:
        for name in ("f1", "f2", "f3", "f4"):
            finalizers = ["example.com/other", FINALIZER] if name == "f3" else [FINALIZER]
            api.put(f"{PREVIEWS}/{name}", spec={"base": "web", "after": [HOOK]}, metadata={"finalizers": finalizers})
        for name in ("f1", "f3", "f4"):
            await api.request("DELETE", f"{PREVIEWS}/{name}")
        if absent:
            await held.until(lambda: len([path for path in api.reads if path.endswith("/previews")]) > 2)
            api.absent.clear()
        await held.until(lambda: f"{PREVIEWS}/f1" not in api.objects and f"{PREVIEWS}/f4" not in api.objects)
        await held.until(lambda: api.objects[f"{PREVIEWS}/f3"]["metadata"]["finalizers"] == ["example.com/other"])
        assert api.objects[f"{PREVIEWS}/f2"]["metadata"]["finalizers"] == [FINALIZER], "it is not deleted"
        await held.until(lambda: len(api.written(EVENTS)) >= 3)
        events = [body for _, _, body in api.written(EVENTS)]
        assert {(body["reason"], body["type"]) for body in events} == {("AfterHooksNotRun", "Warning")}
        assert not [path for path in api.objects if JOBS in path]


async def test_without_the_setting_one_that_cannot_be_let_go_holds_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its author changes it all the time, or something forbids it. And what has a copy in another namespace is kept, and told."""
    monkeypatch.setattr(releasing, "ROUND_SECONDS", 0.05)
    api = MemoryApi()
    kept = f"{PREVIEWS}/a2"
    api.refuse = lambda method, path: (
        ApiError("the object has been modified", status=409) if (method, path) == ("PATCH", f"{PREVIEWS}/a1") else None
    )
    for name in ("a1", "a2", "f1"):
        spec = {"base": "web", "after": [HOOK]} | ({"namespace": "qa"} if name == "a2" else {})
        api.put(f"{PREVIEWS}/{name}", spec=spec, metadata={"finalizers": [FINALIZER, *([ELSEWHERE] if name == "a2" else [])]})
        await api.request("DELETE", f"{PREVIEWS}/{name}")
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until(lambda: f"{PREVIEWS}/f1" not in api.objects)
        assert f"{PREVIEWS}/a1" in api.objects
        await held.until(lambda: api.objects[kept]["metadata"]["finalizers"] == [ELSEWHERE])

        def told() -> list[str]:
            return [body["message"] for _, _, body in api.written(EVENTS) if body["reason"] == "CopyNotDeleted"]

        await held.until(lambda: len(told()) == 1)
        assert "its copy in namespace qa is not deleted" in told()[0]
        rounds = len([path for path in api.reads if path.endswith("/previews")])
        await held.until(lambda: len([path for path in api.reads if path.endswith("/previews")]) > rounds + 3)
        assert len(told()) == 1
        assert kept in api.objects


class PagedApi(MemoryApi):
    """Lists of Previews come in pages."""

    async def get(self, path: str, query: Query = ()) -> bytes:
        answer = await super().get(path, query)
        asked = dict(query)
        if not path.endswith("/previews") or "limit" not in asked:
            return answer
        whole, begin = json.loads(answer), int(asked.get("continue", "0"))
        end = begin + int(asked["limit"])
        more = {"continue": str(end)} if end < len(whole["items"]) else {}
        return json.dumps({"items": whole["items"][begin:end], "metadata": more}).encode()


async def test_hooks_after_run_when_its_time_is_over_and_one_that_fails_is_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(maker, "SOON_SECONDS", 0.05)
    api = MemoryApi()

    def jobs() -> list[str]:
        return [path for path in api.objects if JOBS in path]

    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        spec = {"base": "web", "ttl": "1h", "expires": "AfterCreation", "after": [HOOK]}
        api.put(f"{PREVIEWS}/f1", spec=spec, metadata={"creationTimestamp": write_time(time.time())})
        await held.until(lambda: all(path in api.objects for path in MADE))
        api.put(f"{PREVIEWS}/f1", metadata={"creationTimestamp": write_time(time.time() - 7200)})
        await held.until(lambda: len(jobs()) == 1)
        assert not [path for path in MADE[1:] if path in api.objects]
        await held.until(lambda: condition(held, "f1").get("reason") == "AfterHookRunning")
        api.put(jobs()[0], status={"conditions": [{"type": "Failed", "status": "True", "message": "no host"}]})
        await held.until(lambda: f"{PREVIEWS}/f1" not in api.objects)
        assert jobs() == []
        await held.until(lambda: [b["reason"] for _, _, b in api.written(EVENTS)][-2:] == ["Expired", "AfterHookFailed"])
        body = api.written(EVENTS)[-1][2]
        assert (body["type"], body["message"]) == ("Warning", "hook make: no host")


async def test_one_that_is_kept_for_longer_at_the_last_moment_lives(tmp_path: Path) -> None:
    """The controller may have read it before."""
    api, versions = MemoryApi(), list[str]()

    def keep(method: str, path: str) -> None:
        if method == "DELETE" and not versions:
            versions.append(api.objects[path]["metadata"]["resourceVersion"])
            api.put(path, metadata={"annotations": {KEEP_UNTIL: write_time(time.time() + 3600)}})

    api.refuse = keep
    async with rig(api, tmp_path / "routes.json", 2, "--previews") as held:
        based(held)
        old = {"creationTimestamp": write_time(time.time() - 7200)}
        api.put(f"{PREVIEWS}/f1", spec={"base": "web", "ttl": "1h", "expires": "AfterCreation"}, metadata=old)
        await held.until(lambda: all(path in api.objects for path in MADE))
        (body,) = [body for method, path, body in api.writes if method == "DELETE"]
        assert body["preconditions"]["resourceVersion"] in versions
        assert f"{PREVIEWS}/f1" in api.objects


async def test_what_an_earlier_preview_has_left_is_waited_for(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json", 2, "--previews") as held:
        based(held)
        owner = {"apiVersion": "weir.dev/v1alpha1", "kind": "Preview", "name": "f1", "uid": "gone"}
        api.put(f"{SERVICES}/web--f1", spec=PORTS, metadata={"ownerReferences": [owner]})
        api.put(f"{PREVIEWS}/f1", spec={"base": "web"})
        await held.until(lambda: condition(held, "f1").get("reason") == "Replacing")
        assert not [path for path in MADE[1:] if path in api.objects]
        api.drop(f"{SERVICES}/web--f1")
        await held.until(lambda: all(path in api.objects for path in MADE))
