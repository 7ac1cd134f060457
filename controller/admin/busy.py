"""The call by which a pod keeps its application awake: who it is, whether it may, for how long, and what is stored.

A pod proves who it is by a token of its own, for the audience below and bound to it, which is good for nothing else. It may keep
awake only applications whose Services list it, and only those whose routes permit it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from controller.admin.authentication import Authenticator, Caller
from controller.admin.body import JSON, read_json, validated
from controller.admin.busystore import BusyStore, Overloaded
from controller.admin.documents import Fault
from controller.admin.limits import Buckets
from controller.admin.openapi import BODIES, body_of, problems_of
from controller.admin.problems import Refused
from controller.world import World
from fleet.demand.busy import TooMany, rfc3339
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import ENDPOINT_SLICES, SERVICE_NAME_LABEL, parse_endpoint_slice
from fleet.routing.duration import DURATION_PATTERN, seconds
from fleet.routing.route import Route

__all__ = ["AUDIENCE", "Busy", "BusyCalls", "BusyRequest", "router"]

AUDIENCE = "weir-busy"
"""A token for this audience cannot be used for anything else, neither at the API server nor for the other calls here."""
_USER = "system:serviceaccount:"
_POD, _UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"

_audit = logging.getLogger("controller.admin.audit")

router = APIRouter()


class BusyRequest(BaseModel):
    """For how long from now; "0" when the work is done."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    duration: Annotated[str, StringConstraints(pattern=DURATION_PATTERN, max_length=64)]


BODIES.append(BusyRequest)


class Busy(BaseModel):
    """What holds now."""

    app: str
    seconds: float = Field(description="How long the lease is: what was asked for, or the route's maximum. 0: there is none.")
    until: str | None = Field(None, description="When it ends (RFC 3339), at the latest.")


class _Listed(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


class Pod(msgspec.Struct, frozen=True):
    """Who calls."""

    namespace: str
    name: str
    uid: str


class BusyCalls:
    """What the call works with. `wall` is the time in seconds since the epoch."""

    def __init__(
        self,
        api: Api,
        world: World,
        store: BusyStore,
        *,
        rates: Buckets,
        clock: Callable[[], float],
        wall: Callable[[], float] = time,
    ) -> None:
        self.authenticator = Authenticator(api, (AUDIENCE,))
        self._api, self._world, self._store = api, world, store
        self._rates, self._clock, self._wall = rates, clock, wall

    async def pod(self, request: Request) -> Pod:
        """Raises Refused: 401, 403, 429 or 503."""
        address = request.client.host if request.client is not None else ""
        caller = await self.authenticator.caller(request.headers.getlist("authorization"), address)
        pod = _pod_of(caller)
        if (wait := self._rates.take(f"pod {pod.uid}", self._clock())) > 0:
            raise Refused(429, "too-many", "too many requests", headers={"Retry-After": str(int(wait) + 1)})
        return pod

    async def keep(self, pod: Pod, app: str, asked: float) -> Busy:
        """Keep an application awake for so long, at most for the route's maximum. Raises Refused and ApiError."""
        route = self._route(app)
        if not await self._lists(route, pod):
            raise Refused(403, "not-a-backend", f"no Service of {app} lists pod {pod.name}")
        most = route.scaling.max_busy
        if not most and asked:
            raise Refused(403, "not-permitted", f"the route of {app} has no maxBusy")
        length = min(asked, most)
        until = self._wall() + length
        try:
            is_new = await self._store.change(app, pod.uid, until)
        except (TooMany, Overloaded) as error:
            detail = str(error) or "too many calls wait"
            raise Refused(503, "too-many-leases", detail, headers={"Retry-After": "5"}) from error
        if is_new or not length:
            _audit.info("pod %s keeps %s awake for %g s", pod.name, app, length, extra={"app": app, "action": "busy"})
        return Busy(app=app, seconds=length, until=rfc3339(until) if length else None)

    def _route(self, app: str) -> Route:
        resources = (self._world.get(key) for key in self._world.objects_of(app))
        routes = (one.route for one in resources if one is not None and one.route is not None)
        route = next(routes, None)
        if route is None:
            raise Refused(404, "not-found", f"there is no route {app}")
        return route

    async def _lists(self, route: Route, pod: Pod) -> bool:
        """Whether a Service that the route sends requests to lists the pod, ready or not."""
        targets = (route.target, *(target for rule in route.rules for target in rule.backends))
        for service in dict.fromkeys(target.service for target in targets):
            namespace, _, name = service.partition("/")
            if namespace != pod.namespace or not name:
                continue
            query = [("labelSelector", f"{SERVICE_NAME_LABEL}={name}")]
            answer = await self._api.get(ENDPOINT_SLICES.path(namespace), query)
            try:
                slices = [parse_endpoint_slice(item) for item in msgspec.json.decode(answer, type=_Listed).items]
            except ValueError as error:
                raise ApiError(f"endpointslices of {service}: {error}") from error
            if any(one.pod == pod.name for each in slices for one in each.endpoints):
                return True
        return False


async def _calling(request: Request) -> Pod:
    calls: BusyCalls = request.app.state.busy
    return await calls.pod(request)


@router.post(
    "/v1/namespaces/{namespace}/apps/{name}/busy",
    response_model=Busy,
    openapi_extra=body_of("BusyRequest", JSON),
    responses=problems_of(400, 404, 408, 413, 415),
)
async def keep_busy(
    request: Request,
    pod: Annotated[Pod, Depends(_calling)],
    namespace: Annotated[str, Path(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)],
    name: Annotated[str, Path(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", max_length=253)],
) -> Response:
    """Keep the application of this route awake while the calling pod works. The token is the pod's own, for "weir-busy"."""
    if namespace != pod.namespace:
        raise Refused(403, "not-a-backend", f"pod {pod.name} is not of namespace {namespace}")
    asked = validated(BusyRequest, await read_json(request, JSON))
    try:
        length = seconds(asked.duration)
    except ValueError as error:
        faults = [Fault(detail=str(error), pointer="/duration")]
        raise Refused(422, "invalid-document", f"/duration: {error}", errors=faults) from error
    calls: BusyCalls = request.app.state.busy
    busy = await calls.keep(pod, f"{namespace}/{name}", length)
    return Response(busy.model_dump_json(), media_type=JSON, headers={"Cache-Control": "no-store"})


def _pod_of(caller: Caller) -> Pod:
    """The pod that a token is bound to. Raises Refused: 403."""
    name, uid = (next(iter(caller.extra.get(key, ())), "") for key in (_POD, _UID))
    namespace = caller.username.removeprefix(_USER).partition(":")[0]
    if not (caller.username.startswith(_USER) and namespace and name and uid):
        raise Refused(403, "not-a-pod", f"{caller.username} is no pod: a token that is bound to one is needed")
    return Pod(namespace, name, uid)
