"""The HTTP calls on applications as they run: wake, sleep, logs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response

from controller.admin.context import Context
from controller.admin.documents import MAX_SECONDS, App
from controller.admin.following import until_scaled
from controller.admin.logs import LINES, MAX_LINES, Asked
from controller.admin.objects import Json, Live
from controller.admin.openapi import problems_of
from controller.admin.problems import Refused
from controller.admin.routes import (
    ETAG,
    EVENTS,
    Calling,
    Name,
    Namespace,
    Wait,
    app_answer,
    audited,
    context_of,
    identified,
    last_seen,
)
from controller.admin.sse import Progress
from controller.by_hand import AWAKE_UNTIL, NO_COOLDOWN_UNTIL, stamp
from controller.resources import Resource, parse_http_scaled_object
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
from fleet.schedules.windows import minimum_at

__all__ = ["SHORTEST_WAKE_SECONDS", "running_router"]

SHORTEST_WAKE_SECONDS = 60
"""Seconds that an app stays awake by default if its cooldown is shorter: enough to become ready and to be looked at."""
SLEEP_SECONDS = 30.0
"""Seconds beyond the app's activity period for which it sleeps without its cooldown: two of KEDA's looks."""
LONGEST_SLEEP_SECONDS = 600.0

running_router = APIRouter()
_PATH = "/v1/namespaces/{namespace}/apps/{name}"


@running_router.post(
    f"{_PATH}/wake",
    response_model=App,
    responses=problems_of(404, 409)
    | {200: {"description": "It is asked for; or, with wait, events.", "headers": ETAG, "content": EVENTS}},
)
async def wake_app(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    seconds: Annotated[int | None, Query(ge=1, le=MAX_SECONDS, description="Its cooldown, and at least 60, without it.")] = None,
    wait: Wait = "false",
) -> Response:
    """Keep at least one replica for some time. Another call sets another time."""
    context = context_of(request)
    async with audited(caller, "wake", namespace, name) as entry:
        await context.permit(caller, "wake", namespace, name)
        live, resource = await _there(context, namespace, name)
        spec = resource.spec
        cooldown = spec.scaledown_period if isinstance(spec, HTTPScaledObjectSpec) else None
        until = stamp(context.sight.wall() + (seconds or max(cooldown or 0, SHORTEST_WAKE_SECONDS)))
        await context.apps.annotate(namespace, name, live.uid, {AWAKE_UNTIL: until, NO_COOLDOWN_UNTIL: None})
        entry.result = f"awake until {until}"
        return await _answer(context, caller.username, namespace, name, wait, awake=True)


@running_router.post(
    f"{_PATH}/sleep",
    response_model=App,
    responses=problems_of(404, 409)
    | {200: {"description": "It is asked for; or, with wait, events.", "headers": ETAG, "content": EVENTS}},
)
async def put_app_to_sleep(
    request: Request, caller: Calling, namespace: Namespace, name: Name, *, wait: Wait = "false"
) -> Response:
    """Let an application sleep now, without its cooldown. Refused while there is demand, or something keeps replicas."""
    context = context_of(request)
    async with audited(caller, "sleep", namespace, name) as entry:
        await context.permit(caller, "sleep", namespace, name)
        live, resource = await _there(context, namespace, name)
        _check_may_sleep(resource, context.sight.wall())
        demand = await context.sight.demand(f"{namespace}/{name}")
        if demand.requests:
            raise Refused(409, "in-demand", f"it has {demand.requests} requests", headers={"Retry-After": "5"})
        active = resource.route.scaling.activity_period if resource.route is not None else 0.0
        until = stamp(context.sight.wall() + min(active + SLEEP_SECONDS, LONGEST_SLEEP_SECONDS))
        await context.apps.annotate(namespace, name, live.uid, {AWAKE_UNTIL: None, NO_COOLDOWN_UNTIL: until})
        entry.result = "asked to sleep"
        return await _answer(context, caller.username, namespace, name, wait, awake=False)


async def _there(context: Context, namespace: str, name: str) -> tuple[Live, Resource]:
    """An application that is not on its way out. Raises Refused."""
    live = await context.apps.get(namespace, name)
    owner = live.owner or {}
    if owner["metadata"].get("deletionTimestamp"):
        raise Refused(409, "deleting", f"app {namespace}/{name} is being deleted", headers={"Retry-After": "2"})
    return live, parse_http_scaled_object(msgspec.json.encode(owner))


def _check_may_sleep(resource: Resource, now: float) -> None:
    """KEDA would not scale to zero. Raises Refused."""
    spec = resource.spec
    least = spec.replicas.min if isinstance(spec, HTTPScaledObjectSpec) and spec.replicas is not None else None
    if least:
        raise Refused(409, "kept-warm", f"its minimum is {least} replicas: it never sleeps")
    minimum = minimum_at(resource.schedules, now)
    if minimum.replicas:
        until = f" until {stamp(minimum.until)}" if minimum.until is not None else ""
        raise Refused(409, "kept-warm", f"its schedule keeps {minimum.replicas} replicas{until}")


async def _answer(context: Context, user: str, namespace: str, name: str, wait: str, *, awake: bool) -> Response:
    if wait == "false":
        return await app_answer(context, await context.apps.get(namespace, name), 200)

    async def work(progress: Progress) -> Json:
        outcome = await until_scaled(lambda: context.apps.get(namespace, name), progress, awake=awake)
        return outcome | {"app": await last_seen(context, namespace, name)}

    return await context.streams.answer(user, work)


@running_router.get(
    f"{_PATH}/logs",
    response_class=Response,
    responses=problems_of(404)
    | {200: {"description": "Lines, with the pod's name in front.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_logs(
    request: Request,
    caller: Calling,
    namespace: Namespace,
    name: Name,
    *,
    follow: Annotated[Literal["true", "false"], Query(description="Go on with what pods write.")] = "false",
    lines: Annotated[int, Query(alias="tailLines", ge=0, le=MAX_LINES, description="Lines of each pod to begin with.")] = LINES,
    since: Annotated[int | None, Query(ge=1, le=10 * MAX_SECONDS, description="Only lines of the last so many seconds.")] = None,
) -> Response:
    """What the pods of an application have written, and go on to write."""
    context = context_of(request)
    await context.permit(caller, "logs", namespace)
    await context.apps.get(namespace, name)
    place = context.streams.places.take(caller.username)

    async def check() -> None:
        await context.permit(await identified(request), "logs", namespace)

    return await context.logs.answer(Asked(namespace, name, follow == "true", lines, since), place, check)
