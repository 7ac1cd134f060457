"""Applications that wake together, on a real API server and a real KEDA: names and objects in one list, and the status."""

import asyncio
from functools import partial

from controller.suggestions import SUGGESTED
from fleet.demand.pair import LEAST_WAKES
from tests.cluster.api import Api, Object, namespaced
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, pods, replicas, until_ready
from tests.cluster.weir import Weir, condition, http_scaled_object, until_condition
from tests.support.gate import Gate

HTTP = "httpscaledobjects"


async def test_the_first_request_wakes_all_and_they_sleep_with_it(weir: Weir, api: Api, namespace: str, gate: Gate) -> None:
    needs = {"web": ["api", {"name": "log", "keepAwake": False}, {"name": "absent", "optional": True}], "api": [{"name": "db"}]}
    names = ("web", "api", "log", "db")
    for name in names:
        await create_app(api, namespace, name)
        spec = {"dependsOn": needs[name]} if name in needs else {}
        await api.create(namespaced(HTTP, namespace), http_scaled_object(namespace, name, activityPeriod="1s", **spec))
    for name in names:
        await until_condition(api, HTTP, namespace, name, "Ready", "True")
    kept = (await api.get(namespaced(HTTP, namespace, "web")))["spec"]["dependsOn"]
    assert kept == needs["web"], "the API server keeps names and objects as they were written"
    said = await until_condition(api, HTTP, namespace, "web", "Dependencies", "True")
    assert said["message"] == "wakes with this: api, log"
    await until_condition(api, HTTP, namespace, "db", "Needed", "False")
    assert not any([await pods(api, namespace, name) for name in names])

    held = asyncio.create_task(weir.get(f"web.{namespace}", gate.path))
    for name in ("web", "api", "db"):
        await until_ready(api, namespace, name)
    said = await until_condition(api, HTTP, namespace, "db", "Needed", "True")
    assert said["reason"] == "AwakeFor"
    # What was only woken sleeps after its cooldown; by then the others would, too.
    await until_ready(api, namespace, "log", 0, patience=180)
    assert [await replicas(api, namespace, name) for name in ("web", "api", "db")] == [1, 1, 1]
    gate.open()
    assert (await held).status == 200
    for name in ("web", "api", "db"):
        await until_ready(api, namespace, name, 0, patience=180)
    await until_condition(api, HTTP, namespace, "db", "Needed", "False")


async def is_refused(api: Api, namespace: str, name: str) -> bool:
    """First it names what is not there yet."""
    return condition(await api.get(namespaced(HTTP, namespace, name)), "Dependencies").get("reason") == "Circle"


async def test_a_circle_is_refused(api: Api, weir: Weir, namespace: str) -> None:
    for name, other in (("one", "two"), ("two", "one")):
        await create_app(api, namespace, name)
        await api.create(namespaced(HTTP, namespace), http_scaled_object(namespace, name, dependsOn=[other]))
    for name in ("one", "two"):
        await until(partial(is_refused, api, namespace, name), f"the circle of {name} is refused")
        await until_condition(api, HTTP, namespace, name, "Ready", "True")
    assert (await weir.get(f"one.{namespace}")).status == 200

    async def woken() -> bool:
        return bool(await pods(api, namespace, "one"))

    await until(woken, "one is awake")
    assert not await pods(api, namespace, "two")


async def test_what_wakes_after_each_other_is_suggested(api: Api, weir: Weir, namespace: str) -> None:
    """By when pods that KEDA makes are there, and ready. The client calls one after the other, as a service would."""
    quick = {"activityPeriod": "1s", "scaledownPeriod": 1, "pollingInterval": 1}
    for name in ("web", "api"):
        await create_app(api, namespace, name)
        await api.create(namespaced(HTTP, namespace), http_scaled_object(namespace, name, **quick))
    for name in ("web", "api"):
        await until_condition(api, HTTP, namespace, name, "Ready", "True")

    async def suggested(name: str) -> Object:
        return condition(await api.get(namespaced(HTTP, namespace, name)), SUGGESTED)

    rounds = 0
    while not await suggested("web"):
        rounds += 1
        assert rounds <= 2 * LEAST_WAKES
        for name in ("web", "api"):
            assert (await weir.get(f"{name}.{namespace}")).status == 200
        for name in ("web", "api"):
            await until_ready(api, namespace, name, 0, patience=180)
    assert rounds >= LEAST_WAKES
    found = await suggested("web")
    assert (found["status"], found["reason"], "add dependsOn: [api]" in found["message"]) == ("True", "WokeAfter", True)
    assert not await suggested("api")
    await until_condition(api, HTTP, namespace, "web", "Ready", "True")
    await api.merge(namespaced(HTTP, namespace, "web"), {"spec": {"dependsOn": ["api"]}})
    await until_condition(api, HTTP, namespace, "web", "Dependencies", "True")

    async def withdrawn() -> bool:
        return not await suggested("web")

    await until(withdrawn, "what is declared is not suggested")
