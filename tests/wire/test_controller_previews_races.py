"""What comes in between while a Preview is made, changed or deleted: others' objects, others' writes, and fields that stay."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from controller.preview import maker
from controller.preview.life import write_time
from controller.preview.maker import Maker
from controller.preview.resource import parse_preview
from controller.resources import Key
from controller.world import World
from fleet.discovery.kubernetes.client import ApiError
from fleet.discovery.kubernetes.listwatch import Timing
from tests.support.memory_api import MemoryApi
from tests.support.waiting import until
from tests.wire.test_controller import HTTP, SERVICES, rig
from tests.wire.test_controller_previews import DEPLOYMENTS, MADE, PREVIEWS, based, condition

STATEFUL_SETS = "/apis/apps/v1/namespaces/shop/statefulsets"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"


class StrictApi(MemoryApi):
    """Like a real one, it does not let the selector of a workload change, and applies it as a whole."""

    def _patch(self, path: str, body: Any, content_type: str) -> Any:
        before, wanted = self.objects.get(path), body.get("spec", {}).get("selector", {}).get("matchLabels")
        if before is not None and wanted and "/apps/" in path and before["spec"]["selector"]["matchLabels"] != wanted:
            raise ApiError(f"PATCH {path}: 422 spec.selector: Invalid value: field is immutable", status=422)
        return super()._patch(path, body, content_type)


@pytest.mark.parametrize("at", [MADE[0], MADE[1], MADE[2], f"{JOBS}/web--f1-make"])
async def test_one_that_waits_for_its_name_has_it_soon_after_it_is_free(tmp_path: Path, at: str) -> None:
    """As a Preview that is made anew, whose former objects the cluster has not deleted yet. A full look is far away."""
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        api.put(at, spec={"selector": {"matchLabels": {"a": "b"}}} if "/apps/" in at else {"selector": {"a": "b"}})
        job = {"template": {"spec": {"containers": [{"name": "a"}]}}}
        hooks = [{"name": "make", "job": job}] if JOBS in at else []
        api.put(f"{PREVIEWS}/f1", spec={"base": "web", "before": hooks})
        await held.until(lambda: condition(held, "f1").get("reason") == "NameTaken")
        await held.quiet()
        api.drop(at)
        await held.until(lambda: at in api.objects)
        if hooks:
            api.put(at, status={"conditions": [{"type": "Complete", "status": "True"}]})
        await held.until(lambda: all(path in api.objects for path in MADE))


async def test_of_two_of_the_same_name_the_other_has_it_when_it_is_free(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        api.put(f"{PREVIEWS}/f1", spec={"base": "web"})
        await held.until(lambda: all(path in api.objects for path in MADE))
        api.put(f"{PREVIEWS}/second", spec={"base": "web", "name": "f1"})
        await held.until(lambda: condition(held, "second").get("reason") == "NameTaken")
        await held.quiet()
        api.drop(f"{PREVIEWS}/f1")
        for path in MADE:
            api.drop(path)
        await held.until(lambda: all(path in api.objects for path in MADE))
        assert MADE[1] in api.objects
        assert api.objects[MADE[1]]["metadata"]["ownerReferences"][0]["name"] == "second"


async def test_a_hook_that_runs_is_looked_at_less_and_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "SOON_SECONDS", 0.05)
    api, looks = MemoryApi(), list[float]()

    def note(method: str, path: str) -> None:
        if method == "GET" and path.startswith(JOBS):
            looks.append(time.monotonic())

    api.refuse = note
    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        job = {"template": {"spec": {"containers": [{"name": "a"}]}}}
        api.put(f"{PREVIEWS}/f1", spec={"base": "web", "before": [{"name": "make", "job": job}]})
        await held.until(lambda: len(looks) > 3 and looks[-1] - looks[-2] > 0.4)
        api.put(f"{JOBS}/web--f1-make", status={"conditions": [{"type": "Complete", "status": "True"}]})
        await held.until(lambda: all(path in api.objects for path in MADE))


async def test_a_copy_that_cannot_be_changed_is_made_anew(tmp_path: Path) -> None:
    api = StrictApi()
    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        api.put(f"{PREVIEWS}/f1", spec={"base": "web"})
        await held.until(lambda: MADE[2] in api.objects)
        before = api.objects[MADE[1]]
        labels = {"app": "web", "version": "2"}
        template = {**before["spec"]["template"], "metadata": {"labels": labels}}
        api.put(f"{DEPLOYMENTS}/web", spec={"selector": {"matchLabels": labels}, "template": template})

        def matched() -> Any:
            return api.objects.get(MADE[1], before)["spec"]["selector"]["matchLabels"].get("version")

        await held.until(lambda: matched() == "2--f1")
        after = api.objects[MADE[1]]
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert after["spec"]["replicas"] == 0
        ((_, path, body),) = [write for write in api.writes if write[0] == "DELETE"]
        assert (path, body["preconditions"]["uid"]) == (MADE[1], before["metadata"]["uid"])
        assert body["preconditions"]["resourceVersion"]
        await held.until(lambda: condition(held, "f1").get("reason") not in ("Replacing", None))


async def test_what_is_wrong_with_new_fields_deletes_nothing(tmp_path: Path) -> None:
    api = MemoryApi()
    invalid = ApiError("422 spec.template.spec.containers[0].image: Required value", status=422)
    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        api.put(f"{PREVIEWS}/f1", spec={"base": "web"})
        await held.until(lambda: MADE[2] in api.objects)
        api.refuse = lambda method, path: invalid if (method, path) == ("PATCH", MADE[1]) else None
        api.put(f"{PREVIEWS}/f1", spec={"base": "web", "overrides": {"image": "y"}})
        await held.until(lambda: condition(held, "f1").get("reason") == "Refused")
        assert not [write for write in api.writes if write[0] == "DELETE"]


async def test_of_a_base_whose_workload_is_of_another_kind_the_former_copy_goes(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        for name, more in (("f1", {}), ("f2", {"pinned": True})):
            api.put(f"{PREVIEWS}/{name}", spec={"base": "web", **more})
        await held.until(lambda: MADE[2] in api.objects and f"{HTTP}/web--f2" in api.objects)
        await held.until(lambda: api.objects[f"{PREVIEWS}/f2"].get("status", {}).get("observedGeneration"))
        spec = {**api.objects[f"{DEPLOYMENTS}/web"]["spec"], "serviceName": "web"}
        api.put(f"{STATEFUL_SETS}/web", apiVersion="apps/v1", kind="StatefulSet", spec=spec)
        held.app("web", service=False, scaleTargetRef={"name": "web", "kind": "StatefulSet", "service": "web", "port": 80})
        await held.until(lambda: f"{STATEFUL_SETS}/web--f1" in api.objects)
        assert MADE[1] not in api.objects
        await held.until(lambda: api.objects[MADE[2]]["spec"]["scaleTargetRef"].get("kind") == "StatefulSet")
        await held.quiet()
        assert f"{DEPLOYMENTS}/web--f2" in api.objects, "what is pinned stays as it was made"
        assert f"{STATEFUL_SETS}/web--f2" not in api.objects


async def test_only_what_was_looked_at_is_changed(tmp_path: Path) -> None:
    """Another leader, or somebody else, may have written since: that is looked at first, and told to nobody."""
    api, others, reasons = MemoryApi(), [2], set[str]()

    def meddle(method: str, path: str) -> None:
        if (method, path) == ("PATCH", MADE[0]) and path in api.objects and others[0]:
            others[0] -= 1
            api.put(path, metadata={"labels": {"of": "others"}})

    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        api.put(f"{PREVIEWS}/f1", spec={"base": "web"})
        await held.until(lambda: MADE[2] in api.objects)
        api.refuse = meddle
        service = {**api.objects[f"{SERVICES}/web"]["spec"], "ports": [{"name": "http", "port": 81, "protocol": "TCP"}]}
        api.put(f"{SERVICES}/web", spec=service)

        def port() -> int:
            reasons.add(condition(held, "f1").get("reason", ""))
            return int(api.objects[MADE[0]]["spec"]["ports"][0]["port"])

        await held.until(lambda: port() == 81)
        assert others == [0]
        assert "Refused" not in reasons
        assert all(body["metadata"].get("resourceVersion") for _, path, body in api.writes[-3:] if path == MADE[0])


async def test_a_service_that_finds_pods_by_another_label_does_not_find_those_of_copies(tmp_path: Path) -> None:
    api = MemoryApi()
    async with rig(api, tmp_path / "routes.json", 1, "--previews") as held:
        based(held)
        template = api.objects[f"{DEPLOYMENTS}/web"]["spec"]["template"]
        template = {**template, "metadata": {"labels": {"app": "web", "tier": "front"}}}
        api.put(f"{DEPLOYMENTS}/web", spec={**api.objects[f"{DEPLOYMENTS}/web"]["spec"], "template": template})
        api.put(f"{PREVIEWS}/f1", spec={"base": "web"})
        await held.until(lambda: MADE[2] in api.objects)

        def tier() -> str:
            return str(api.objects[MADE[1]]["spec"]["template"]["metadata"]["labels"]["tier"])

        assert tier() == "front"
        await held.quiet()
        api.put(f"{SERVICES}/fronts", spec={"ports": [], "selector": {"tier": "front"}})
        await held.until(lambda: tier() == "front--f1")


@pytest.mark.parametrize("when", ["before it is read", "after it was read", "not at all", "made anew"])
async def test_one_whose_time_was_extended_is_not_ended_by_a_leader_that_has_not_seen_it(when: str) -> None:
    api, path = MemoryApi(), f"{PREVIEWS}/f1"
    seen, ended = list[tuple[Key, float]](), list[str]()

    class Recorder:
        def tell(self, *_: object) -> None:
            ended.append("told")

    world = World(api, (), timing=Timing(), on_object=lambda key: None, on_routes=lambda: None)
    world.start()
    try:
        await until(world.services.synced.is_set)
        old = {"creationTimestamp": write_time(time.time() - 7200)}
        api.put(path, spec={"base": "web", "ttl": "1h"}, metadata=dict(old))
        held = parse_preview(await api.request("GET", path))

        def extend(method: str = "DELETE", at: str = path) -> None:
            if (method, at) == ("DELETE", path) and api.objects[path]["spec"]["ttl"] == "1h":
                api.put(path, spec={"base": "web", "ttl": "3h"})

        if when == "before it is read":
            extend()
        elif when == "after it was read":
            api.refuse = extend
        elif when == "made anew":
            api.drop(path)
            api.put(path, spec={"base": "web", "ttl": "1h"}, metadata=dict(old))
        making = Maker(api, world, Recorder(), later=lambda key, after: seen.append((key, after)))  # type: ignore[arg-type]
        await making.reconcile(held)
        assert (path in api.objects) is (when != "not at all")
        assert ended == (["told"] if when == "not at all" else [])
        if "read" in when:
            assert seen[-1] == (held.key, maker.SOON_SECONDS), "it is looked at again"
            await making.reconcile(held)
            assert path in api.objects
        deposed = Maker(api, world, Recorder(), later=lambda key, after: None, leads=lambda: False)  # type: ignore[arg-type]
        before = len(api.writes)
        await deposed.reconcile(held)
        assert len(api.writes) == before
    finally:
        await world.close()
