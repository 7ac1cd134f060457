"""A whole term of the controller: what it says and does about who scales a workload, and how much it writes for that."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controller.answers import MAINTENANCE
from controller.by_hand import AWAKE_UNTIL, NO_COOLDOWN_UNTIL
from controller.reconciler import Reconciler
from controller.write_backoff import FREE_WRITES
from fleet.discovery.kubernetes.client import ApiError
from fleet.routing.codec import decode_json
from tests.support.memory_api import MemoryApi
from tests.wire.test_controller import EVENTS, HTTP, PORTS, ROUTES, SCALED, SERVICES, Rig, objects_written, rig

HPAS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
YOUNGER = {"creationTimestamp": "2026-01-02T00:00:00Z"}
OLDER = {"creationTimestamp": "2025-01-01T00:00:00Z"}
PAUSED = "autoscaling.keda.sh/paused-replicas"


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


def route(api: MemoryApi, name: str = "web") -> str:
    """An InterceptorRoute, and its Service; gives its path."""
    api.put(f"{SERVICES}/{name}", spec=PORTS)
    rules = [{"hosts": [f"{name}.example.com"]}]
    spec = {"target": {"service": name, "port": 80}, "rules": rules, "scalingMetric": {"concurrency": {}}}
    api.put(f"{ROUTES}/{name}", spec=spec)
    return f"{ROUTES}/{name}"


def scaled(
    api: MemoryApi, name: str = "web", *, workload: str = "web", ready: str = "True", metadata: Any = None, **trigger: str
) -> None:
    """A ScaledObject that a user has written."""
    fields = {"scalerAddress": "scaler:9091", **trigger}
    spec = {"scaleTargetRef": {"name": workload}, "triggers": [{"type": "external-push", "metadata": fields}]}
    conditions = [{"type": "Ready", "status": ready, "message": "no metric specs returned"}]
    api.put(f"{SCALED}/{name}", spec=spec, status={"conditions": conditions}, metadata=metadata or {})


def hpa(api: MemoryApi, name: str = "mine", *, workload: str = "web", metadata: Any = None) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload}
    api.put(f"{HPAS}/{name}", spec={"scaleTargetRef": target, "maxReplicas": 3}, metadata=metadata or {})


def events(api: MemoryApi, kind: str) -> list[tuple[str, str]]:
    told = [body for _, _, body in api.written(EVENTS) if body["involvedObject"]["kind"] == kind]
    return [(body["reason"], body["message"]) for body in told]


async def until_reason(held: Rig, path: str, kind: str, reason: str) -> dict[str, Any]:
    await held.until(lambda: held.conditions(path).get(kind, {}).get("reason") == reason)
    return held.conditions(path)


async def test_a_scaled_object_that_names_a_missing_route_is_reported(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        scaled(api, interceptorRoute="nowhere", ready="False")
        await held.until(lambda: events(api, "ScaledObject"))
        (_, _, body), *_ = api.written(EVENTS)
        assert (body["reason"], body["message"], body["type"]) == ("NoSuchRoute", "no InterceptorRoute shop/nowhere", "Warning")
        involved = body["involvedObject"]
        assert (involved["apiVersion"], involved["name"]) == ("keda.sh/v1alpha1", "web")
        assert involved["uid"] == api.objects[f"{SCALED}/web"]["metadata"]["uid"]
        path = route(api)
        told = await until_reason(held, path, "Ready", "NotScaled")
        assert told["Ready"]["message"] == (
            "requests are routed; nothing scales it: no ScaledObject in namespace shop names this application"
        )
        scaled(api, interceptorRoute="web")
        await until_reason(held, path, "Ready", "Serving")
        assert len(events(api, "ScaledObject")) == 1


async def test_a_scaled_object_that_comes_before_its_route_is_no_trouble(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        scaled(api, interceptorRoute="web")
        path = route(api)
        await until_reason(held, path, "Ready", "Serving")
        await held.quiet()
        assert events(api, "ScaledObject") == []


async def test_another_scalers_address_is_told_on_both_objects(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = route(api)
        theirs = "keda-add-ons-http-external-scaler.keda:9090"
        scaled(api, interceptorRoute="web", scalerAddress=theirs)
        why = f"its scaler is {theirs}, which is not this one (scaler:9091)"
        await held.until(lambda: ("OtherScaler", why) in events(api, "ScaledObject"))
        told = await until_reason(held, path, "ScaledObjectReady", "OtherScaler")
        assert told["Ready"]["message"] == (
            f"requests are routed; nothing scales it: ScaledObject web names this application, but {why}"
        )
        scaled(api, "right", interceptorRoute="web")
        await until_reason(held, path, "Ready", "Serving")


async def test_one_of_several_scaled_objects_that_scales_is_enough(api: MemoryApi, tmp_path: Path) -> None:
    """The first by name scales a helper that is not there; that is told on itself, by KEDA."""
    async with rig(api, tmp_path / "routes.json") as held:
        path = route(api)
        scaled(api, "a-helper", workload="helper", ready="False", interceptorRoute="web")
        await until_reason(held, path, "Ready", "NotScaled")
        scaled(api, "web", interceptorRoute="web")
        await until_reason(held, path, "Ready", "Serving")


async def test_a_scaled_object_that_is_changed_back_each_time_is_not_rewritten_for_ever(api: MemoryApi, tmp_path: Path) -> None:
    """A policy, a tool or a second controller would be answered as fast as the API server goes."""
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready()
        path = f"{SCALED}/web"

        def is_ours() -> bool:
            return "pollingInterval" in api.objects[path]["spec"] and api.objects[path]["spec"]["pollingInterval"] != 77

        for _ in range(FREE_WRITES):
            api.put(path, spec={**api.objects[path]["spec"], "pollingInterval": 77})
            await held.until(is_ours)
            await held.quiet()
        assert "ScaledObjectContested" not in dict(events(api, "HTTPScaledObject"))
        api.put(path, spec={**api.objects[path]["spec"], "pollingInterval": 77})
        await held.until(is_ours)
        await held.until(lambda: "ScaledObjectContested" in dict(events(api, "HTTPScaledObject")))


async def test_another_writer_of_a_status_is_not_fought_for_ever(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready()
        await held.quiet()
        theirs = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Reconciled"}]}}
        for _ in range(FREE_WRITES):
            assert "StatusContested" not in dict(events(api, "HTTPScaledObject"))
            await api.request("PATCH", f"{path}/status", body=theirs)
            await until_reason(held, path, "Ready", "Serving")
            await held.quiet()
        await held.until(lambda: "StatusContested" in dict(events(api, "HTTPScaledObject")))
        await api.request("PATCH", f"{path}/status", body=theirs)
        await asyncio.sleep(0.2)  # less than the pause that the controller makes now, which is of real time
        assert held.conditions(path)["Ready"]["reason"] == "Reconciled", "the next one waits"
        await until_reason(held, path, "Ready", "Serving")


async def test_without_keda_it_is_said_that_nothing_scales(api: MemoryApi, tmp_path: Path) -> None:
    api.absent.add("scaledobjects")
    async with rig(api, tmp_path / "routes.json") as held:
        path = route(api)
        told = await until_reason(held, path, "ScaledObjectReady", "KedaMissing")
        told = await until_reason(held, path, "Ready", "NotScaled")
        assert "nothing scales it: the API server knows no ScaledObjects: KEDA is not installed" in told["Ready"]["message"]
        told = await until_reason(held, held.app("other"), "Ready", "KedaMissing")
        assert told["Ready"]["status"] == "False"


async def test_a_pause_and_maintenance_are_reasons_of_their_own(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready(metadata={"annotations": {PAUSED: "0"}})
        told = await until_reason(held, path, "Ready", "Paused")
        assert f"ScaledObject web is paused by its annotation {PAUSED}=0: KEDA does not scale" in told["Ready"]["message"]
        api.put(path, metadata={"annotations": {MAINTENANCE: "true"}})
        told = await until_reason(held, path, "Ready", "Maintenance")
        api.put(path, metadata={"annotations": {}})
        await until_reason(held, path, "Ready", "Serving")


async def test_of_two_for_one_workload_the_older_is_scaled_and_the_other_is_reported(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("web")
        second = held.app("second", scaleTargetRef={"name": "web", "service": "second", "port": 80}, metadata=YOUNGER)
        told = await until_reason(held, second, "Ready", "WorkloadTaken")
        assert told["Conflict"]["message"] == (
            "HTTPScaledObject shop/web is older and scales Deployment shop/web: this one has no ScaledObject, and wakes nothing"
        )
        assert told["ScaledObjectReady"]["reason"] == "Withheld"
        assert held.conditions(f"{HTTP}/web")["Ready"]["status"] == "True"
        await held.quiet()
        assert [body["metadata"]["name"] for method, path, body in api.written(SCALED) if method == "POST"] == ["web"]
        api.drop(f"{HTTP}/web")
        api.drop(f"{SCALED}/web")
        await held.until(lambda: f"{SCALED}/second" in api.objects)
        await until_reason(held, second, "Conflict", "NoConflict")


async def test_the_younger_loses_the_scaled_object_that_it_had(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("web")
        second = await held.until_ready("second", metadata=YOUNGER)
        api.put(second, spec=api.objects[second]["spec"] | {"scaleTargetRef": {"name": "web", "service": "second", "port": 80}})
        await held.until(lambda: f"{SCALED}/second" not in api.objects)
        assert f"{SCALED}/web" in api.objects


async def test_an_app_that_loses_every_host_gets_no_scaled_object(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("web")
        lost = held.app("lost", hosts=["web.example.com"], metadata=YOUNGER)
        half = held.app("half", hosts=["web.example.com", "half.example.com"], metadata=YOUNGER)
        told = await until_reason(held, lost, "Ready", "ClaimedByOlder")
        assert told["ScaledObjectReady"]["reason"] == "Withheld"
        await until_reason(held, half, "Conflict", "ClaimedByOlder")
        await held.until(lambda: f"{SCALED}/half" in api.objects)
        await held.quiet()
        assert f"{SCALED}/lost" not in api.objects


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
async def test_an_autoscaler_of_a_user_that_is_older_has_the_workload(api: MemoryApi, tmp_path: Path, kind: str) -> None:
    make, path = (hpa, f"{HPAS}/mine") if kind != "ScaledObject" else (scaled, f"{SCALED}/mine")
    make(api, "mine", metadata=OLDER)
    async with rig(api, tmp_path / "routes.json") as held:
        web = held.app()
        told = await until_reason(held, web, "Ready", "WorkloadTaken")
        assert f"{kind} shop/mine is older and scales Deployment shop/web" in told["Conflict"]["message"]
        await held.quiet()
        assert f"{SCALED}/web" not in api.objects
        api.drop(path)
        await held.until(lambda: f"{SCALED}/web" in api.objects)


@pytest.mark.parametrize("make", [hpa, scaled])
async def test_an_autoscaler_of_a_user_that_is_younger_is_named(api: MemoryApi, tmp_path: Path, make: Any) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        web = await held.until_ready()
        make(api, "mine", metadata=YOUNGER)
        told = await until_reason(held, web, "Ready", "WorkloadScaledTwice")
        assert "shop/mine scales Deployment shop/web, too, and nothing scales while both do" in told["Conflict"]["message"]
        assert f"{SCALED}/web" in api.objects


async def test_what_keda_makes_for_our_own_is_no_rival(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        web = await held.until_ready()
        owner = {"kind": "ScaledObject", "name": "web", "uid": "x", "apiVersion": "keda.sh/v1alpha1", "controller": True}
        hpa(api, "keda-hpa-web", metadata=OLDER | {"ownerReferences": [owner]})
        await held.quiet()
        assert held.conditions(web)["Ready"]["reason"] == "Serving"


async def test_a_name_that_keda_refuses_is_reported(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = held.app("x" * 64, hosts=["x.example.com"])
        told = await until_reason(held, path, "Ready", "NameTooLong")
        assert "has more than 63 characters" in told["Ready"]["message"]
        assert "has 64" in told["Ready"]["message"]
        await held.quiet()
        assert not api.written(SCALED)


async def test_an_hpa_that_counts_nothing_is_reported(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready()
        conditions = [
            {"type": "Ready", "status": "True", "message": "fine"},
            {"type": "HPAActive", "status": "False", "message": "HPA is not actively scaling: pods by selector"},
        ]
        api.put(f"{SCALED}/web", status={"conditions": conditions})
        told = await until_reason(held, path, "Ready", "HPANotActive")
        assert told["Ready"]["message"] == "ScaledObject web: HPA is not actively scaling: pods by selector"


async def test_keda_is_asked_only_when_the_scaler_can_know_the_route(api: MemoryApi, tmp_path: Path) -> None:
    """Else KEDA gets an error at first, and waits for longer and longer."""
    table, known = tmp_path / "routes.json", []

    def look(method: str, path: str) -> ApiError | None:
        if (method, path) == ("POST", SCALED):
            known.append(sorted(decode_json(table.read_bytes()).apps))
        return None

    api.refuse = look
    async with rig(api, table) as held:
        await held.until_ready("a")
        await held.until_ready("b")
    assert known == [["shop/a"], ["shop/a", "shop/b"]]


OBJECTS = 100


async def test_how_much_is_written_for_a_hundred_objects(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        await held.until_ready("first")
        await held.quiet()
        before = len(objects_written(api))
        names = [f"app{number:03}" for number in range(OBJECTS)]
        for name in names:
            held.app(name)
            await asyncio.sleep(0)
        for name in names:
            await held.until(partial(api.objects.__contains__, f"{SCALED}/{name}"))
            held.keda_is_ready(name)
        for name in names:
            await held.until_is(f"{HTTP}/{name}", "Ready", "True")
        await held.quiet()
        written = Counter(path.removeprefix(f"{HTTP}/").lstrip("ap0123456789") for _, path, _ in objects_written(api)[before:])
        assert written.keys() == {SCALED, EVENTS, "/status"}
        assert (written[SCALED], written[EVENTS]) == (OBJECTS, OBJECTS)
        assert written["/status"] <= 2 * OBJECTS
        assert len({path for _, path, _ in api.written("/status")}) == OBJECTS + 1


async def test_a_workload_that_is_scaled_no_longer_is_let_go(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        web = await held.until_ready()
        target = {"name": "new", "service": "web", "port": 80}
        api.put(web, spec=api.objects[web]["spec"] | {"scaleTargetRef": target, "replicas": {"min": 0}})
        await held.until(lambda: PAUSED in api.objects[f"{SCALED}/web"]["metadata"].get("annotations", {}))
        assert api.objects[f"{SCALED}/web"]["spec"]["scaleTargetRef"]["name"] == "web"
        assert api.objects[f"{SCALED}/web"]["metadata"]["annotations"][PAUSED] == "0"
        api.put(f"{SCALED}/web", status=api.objects[f"{SCALED}/web"]["status"] | {"pausedReplicaCount": 0})
        await held.until(lambda: api.objects[f"{SCALED}/web"]["spec"]["scaleTargetRef"]["name"] == "new")
        assert not api.objects[f"{SCALED}/web"]["metadata"].get("annotations")
        assert held.conditions(web)["Ready"]["reason"] != "Paused"


async def test_a_schedule_is_a_trigger_and_its_windows_are_told(
    api: MemoryApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock on the wall says a second and a half before the window ends, on Friday evening."""
    ahead = datetime.fromisoformat("2026-11-27T18:00+01:00").timestamp() - 1.5 - time.time()
    defaults = Reconciler.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "wall", lambda: time.time() + ahead)
    office = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "replicas": 2}
    async with rig(api, tmp_path / "routes.json") as held:
        path = held.app(schedule=[office])
        await held.until(lambda: f"{SCALED}/web" in api.objects)
        held.keda_is_ready()
        triggers = api.objects[f"{SCALED}/web"]["spec"]["triggers"]
        assert [trigger["type"] for trigger in triggers] == ["external-push", "cron"]
        within = (await until_reason(held, path, "Scheduled", "InWindow"))["Scheduled"]["message"]
        assert within == "2 replicas by schedule until 2026-11-27 18:00 Europe/Berlin"
        outside = (await until_reason(held, path, "Scheduled", "OutsideWindow"))["Scheduled"]["message"]
        assert outside == "2 replicas by schedule from 2026-11-30 08:00 Europe/Berlin"

        held.app()
        await held.until(lambda: "Scheduled" not in held.conditions(path))
        await held.until(lambda: len(api.objects[f"{SCALED}/web"]["spec"]["triggers"]) == 1)
        await held.quiet()
        written = len(objects_written(api))
        api.put(f"{SCALED}/web", spec={**api.objects[f"{SCALED}/web"]["spec"]})
        await held.quiet()
        assert len(objects_written(api)) == written


async def test_a_user_is_told_which_trigger_a_schedule_needs(api: MemoryApi, tmp_path: Path) -> None:
    async with rig(api, tmp_path / "routes.json") as held:
        path = route(api)
        api.put(
            path, spec={**api.objects[path]["spec"], "schedule": [{"start": "0 8 * * *", "end": "0 9 * * *", "timezone": "UTC"}]}
        )
        scaled(api, interceptorRoute="web")
        missing = (await until_reason(held, path, "Scheduled", "NoTrigger"))["Scheduled"]["message"]
        assert '{timezone: "UTC", start: "0 8 * * *", end: "0 9 * * *", desiredReplicas: "1"}' in missing
        metadata = {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "1"}
        spec = api.objects[f"{SCALED}/web"]["spec"]
        api.put(f"{SCALED}/web", spec={**spec, "triggers": [*spec["triggers"], {"type": "cron", "metadata": metadata}]})
        await held.until(lambda: held.conditions(path)["Scheduled"]["reason"] != "NoTrigger")


async def test_awake_by_hand_until_its_time_is_over(api: MemoryApi, tmp_path: Path) -> None:
    """It holds over a change of the leader, and ends by itself."""
    until = datetime.fromtimestamp(time.time() + 3, UTC).isoformat()
    async with rig(api, tmp_path / "routes.json") as held:
        path = await held.until_ready(replicas={"min": 0, "max": 3})
        api.put(path, metadata={"annotations": {AWAKE_UNTIL: until}})
        await held.until(lambda: api.objects[f"{SCALED}/web"]["spec"]["minReplicaCount"] == 1)
        assert AWAKE_UNTIL not in api.objects[f"{SCALED}/web"]["metadata"].get("annotations", {})
    async with rig(api, tmp_path / "routes.json") as held:
        assert api.objects[f"{SCALED}/web"]["spec"]["minReplicaCount"] == 1
        await held.until(lambda: api.objects[f"{SCALED}/web"]["spec"]["minReplicaCount"] == 0)
        assert time.time() >= datetime.fromisoformat(until).timestamp()
        api.put(path, metadata={"annotations": {NO_COOLDOWN_UNTIL: "9999-01-01T00:00:00Z"}})
        await held.until(lambda: api.objects[f"{SCALED}/web"]["spec"].get("cooldownPeriod") == 0)
        api.put(path, metadata={"annotations": {AWAKE_UNTIL: "tomorrow"}})
        await held.until(lambda: ("AnnotationIgnored") in [reason for reason, _ in events(api, "HTTPScaledObject")])
        await held.until(lambda: api.objects[f"{SCALED}/web"]["spec"].get("cooldownPeriod") is None)
