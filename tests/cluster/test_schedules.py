"""Schedules on a real KEDA: a window that begins in the next minute, beside requests."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.api import Api, ApiError, namespaced
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, pods, replicas, until_ready
from tests.cluster.weir import Weir, condition, http_scaled_object, interceptor_route, scaled_object, until_condition

MINUTES = 2
"""Length of the window: KEDA and the HPA have to follow it well before it ends, also on a slow machine."""


def window() -> tuple[datetime, dict[str, object]]:
    """When it begins, and the schedule: at the next minute that is at least 20 seconds away."""
    start = (datetime.now(UTC) + timedelta(seconds=80)).replace(second=0, microsecond=0)
    end = start + timedelta(minutes=MINUTES)
    return start, {"start": f"{start:%M %H} * * *", "end": f"{end:%M %H} * * *", "timezone": "Etc/UTC", "replicas": 2}


@pytest.mark.timeout(900)
async def test_a_window_in_the_next_minute_warms_an_app_and_requests_still_count(weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    start, schedule = window()
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", schedule=[schedule]))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    made = await api.get(namespaced("scaledobjects", namespace, "web"))
    assert [trigger["type"] for trigger in made["spec"]["triggers"]] == ["external-push", "cron"]
    if datetime.now(UTC) < start - timedelta(seconds=2):
        assert not await pods(api, namespace, "web"), "asleep before the window"
        outside = await until_condition(api, "httpscaledobjects", namespace, "web", "Scheduled", "False")
        assert (outside["reason"], outside["message"][:21]) == ("OutsideWindow", "2 replicas by schedul")

    await until_ready(api, namespace, "web", 2, patience=180)
    assert datetime.now(UTC) >= start
    within = await until_condition(api, "httpscaledobjects", namespace, "web", "Scheduled", "True")
    end = start + timedelta(minutes=MINUTES)
    assert within["message"] == f"2 replicas by schedule until {end:%Y-%m-%d %H:%M} Etc/UTC"
    assert (await weir.get(f"web.{namespace}")).status == 200

    async def left() -> bool:
        return datetime.now(UTC) > end

    async def warm() -> bool:
        assert await replicas(api, namespace, "web") == 2
        return await left()

    if not await left():  # neither the end of that request nor a cooldown of three seconds takes a replica away
        await until(warm, "the window is over", patience=60 * MINUTES + 30)
    await until_ready(api, namespace, "web", 0, patience=180)
    await until_condition(api, "httpscaledobjects", namespace, "web", "Scheduled", "False")


async def test_keda_takes_every_trigger_that_a_schedule_can_be(weir: Weir, api: Api, namespace: str) -> None:
    """Expressions and zones that are taken here are taken there."""
    expressions = (
        ("30/15 7-9 1,15 JAN,Dec ?", "0 18 * * *"),
        ("0 8 * * mon-fri", "0 18 * * MON-FRI"),
        ("0-59/7 */2 29 2 *", "0 0 */2 * sun"),
    )
    zones = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
    schedule = [
        {"start": start, "end": end, "timezone": zone, "replicas": number}
        for number, ((start, end), zone) in enumerate(zip(expressions, zones, strict=True), 1)
    ]
    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", schedule=schedule))
    await until_condition(api, "httpscaledobjects", namespace, "web", "ScaledObjectReady", "True")
    found = await api.get(namespaced("scaledobjects", namespace, "web"))
    assert condition(found, "Ready")["status"] == "True"
    assert len(found["status"]["externalMetricNames"]) == 1 + len(schedule)


async def test_a_route_says_which_trigger_its_scaled_object_needs(weir: Weir, api: Api, namespace: str) -> None:
    await create_app(api, namespace, "web")
    _, schedule = window()
    await api.create(namespaced("interceptorroutes", namespace), interceptor_route(namespace, "web", schedule=[schedule]))
    await api.create(namespaced("scaledobjects", namespace), scaled_object("web"))

    async def missing() -> str:
        item = condition(await api.get(namespaced("interceptorroutes", namespace, "web")), "Scheduled")
        return item["message"] if item.get("reason") == "NoTrigger" and "ScaledObject web has" in item["message"] else ""

    message = await until(missing, "the trigger is missed")
    assert f'start: "{schedule["start"]}"' in message
    metadata = {name: str(value) for name, value in schedule.items() if name != "replicas"} | {"desiredReplicas": "2"}
    triggers = [*scaled_object("web")["spec"]["triggers"], {"type": "cron", "metadata": metadata}]
    await api.merge(namespaced("scaledobjects", namespace, "web"), {"spec": {"triggers": triggers}})

    async def there() -> bool:
        item = condition(await api.get(namespaced("interceptorroutes", namespace, "web")), "Scheduled")
        return item["reason"] in ("OutsideWindow", "InWindow")

    await until(there, "the trigger is seen")


@pytest.mark.parametrize("wrong", [{"start": "@daily"}, {"end": "0 8 * *"}, {"timezone": "../UTC"}, {"replicas": 0}])
async def test_the_api_server_refuses_what_the_schema_can_tell(
    weir: Weir, api: Api, namespace: str, *, wrong: dict[str, object]
) -> None:
    _, schedule = window()
    with pytest.raises(ApiError, match=rf"422.*schedule\[0\]\.{next(iter(wrong))}"):
        await api.create(
            namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", schedule=[schedule | wrong])
        )
