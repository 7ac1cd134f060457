"""Reconciles one object at a time: its ScaledObject and its status. Level-triggered: it keeps no state that could not be read
again, except writes that the watch has not returned yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import time

import msgspec

from controller.autoscalers import SCALED_OBJECT, ScaledObject, workload_of
from controller.by_hand import ByHand, by_hand
from controller.crds import HTTP_SCALED_OBJECTS
from controller.events import EventRecorder, Notice, notices_of
from controller.finding import Finding
from controller.port_status import PortFacts
from controller.problem import Problem
from controller.propagation import Propagation
from controller.resources import Asked, Key, Resource
from controller.scaledobject import SKIP, Create, Delete, Foreign, Leave, Patch, next_step
from controller.scaling import Contention, ScalingFacts, contention, too_long
from controller.schema.http_scaled_object import HTTPScaledObjectStatus
from controller.status import Facts, Ports, is_pending, next_status
from controller.store import FIELD_MANAGER
from controller.table import Assembly
from controller.wiring import Scaler, Trouble, wired
from controller.world import SCALED_OBJECTS, World, path_of
from controller.write_backoff import WriteBackoff
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.routing.route import Route
from fleet.schedules.windows import Minimum, minimum_at

__all__ = ["Reconciler"]

ADDON_FINALIZER = "httpscaledobject.http.keda.sh"
"""The finalizer of the KEDA HTTP add-on. Without the add-on nothing else would remove it, and the object could not be deleted."""
FIRST_STATUS_SECONDS = 2.0
"""Seconds for which a first status is delayed while readiness is unknown: usually one write is enough then."""
TRANSFER = "scaledobject.keda.sh/transfer-hpa-ownership"
"""Annotation by which KEDA takes over an existing HorizontalPodAutoscaler."""
LONGEST_LOOK_SECONDS = 600.0
"""Seconds after which a schedule, or what was asked for by hand, is looked at again, although it does not change so soon: the
clock may have been set."""
ECHO_SECONDS = 5.0
"""Seconds for a write to come back by the watch. After that it is repeated, if it still seems necessary."""
_MERGE = "application/merge-patch+json"
_MANAGER = (("fieldManager", FIELD_MANAGER),)


class _Scaling(msgspec.Struct, frozen=True):
    """The result for the ScaledObject."""

    managed: bool = True
    trouble: Trouble | None = None
    contention: Contention | None = None
    error: ApiError | None = None


class _Sent:
    """Writes that the watch has not returned yet, so that a slow watch does not cause a second write."""

    def __init__(self, later: Callable[[Key, float], None]) -> None:
        self._later = later
        self._clock = asyncio.get_running_loop().time
        self._sent: dict[Key, tuple[object, float]] = {}

    def sent(self, key: Key, what: object) -> None:
        self._sent[key] = (what, self._clock())

    def settled(self, key: Key) -> None:
        self._sent.pop(key, None)

    def is_under_way(self, key: Key, what: object) -> bool:
        """Whether the same was written a moment ago."""
        sent, when = self._sent.get(key, (None, 0.0))
        left = when + ECHO_SECONDS - self._clock()
        if sent != what or left <= 0:
            return False
        self._later(key, left)
        return True


class Reconciler:
    """`later` requests another reconciliation of an object after some seconds."""

    def __init__(
        self,
        api: Api,
        world: World,
        propagation: Propagation,
        scaler: Scaler,
        recorder: EventRecorder,
        *,
        assembly: Callable[[], Assembly | None],
        later: Callable[[Key, float], None],
        reachable: Callable[[Resource], Finding | None] = lambda resource: None,
        more: Callable[[Resource], Mapping[str, Finding]] = lambda resource: {},
        last_wake: Callable[[str], str | None] = lambda app: None,
        ports: Callable[[Resource, Route | None], PortFacts] = lambda resource, route: PortFacts(),
        wall: Callable[[], float] = time,
    ) -> None:
        """`last_wake` is what this process has seen of an application. `wall` is the clock of schedules, in seconds since the
        epoch."""
        self._api = api
        self._world = world
        self._propagation = propagation
        self._scaler = scaler
        self._recorder = recorder
        self._assembly = assembly
        self._later = later
        self._reachable = reachable
        self._more = more
        self._last_wake = last_wake
        self._ports = ports
        self._wall = wall
        self._clock = asyncio.get_running_loop().time
        self._patient_until: dict[Key, float] = {}
        self._steps = _Sent(later)
        self._statuses = _Sent(later)
        self._step_backoff, self._status_backoff = WriteBackoff(), WriteBackoff()
        self.writes = 0
        """ScaledObjects and statuses written since the start."""

    async def reconcile(self, key: Key) -> None:
        """Raises ApiError when it must be retried."""
        resource = self._world.get(key)
        if resource is None:
            self._forget(key)
        elif resource.meta.deleting:
            await self._let_go(resource)
        else:
            await self._keep(resource)

    async def _keep(self, resource: Resource) -> None:
        scaling = await self._scale(resource)
        if (facts := self._facts(resource, scaling)) is not None:
            await self._tell(resource, facts)
        if scaling.error is not None:
            raise scaling.error

    def _can_wait(self, resource: Resource, status: HTTPScaledObjectStatus) -> bool:
        """Whether the status is too incomplete to be written yet; then the object is scheduled again."""
        key = resource.key
        if not is_pending(status):
            self._patient_until.pop(key, None)
            return False
        if key not in self._patient_until:
            self._patient_until[key] = self._clock() + FIRST_STATUS_SECONDS
        left = self._patient_until[key] - self._clock()
        if left > 0:
            self._later(key, left)
        return left > 0

    def _forget(self, key: Key) -> None:
        self._patient_until.pop(key, None)
        self._steps.settled(key)
        self._statuses.settled(key)
        self._step_backoff.forget(key)
        self._status_backoff.forget(key)

    # -- the ScaledObject -----------------------------------------------------------------------------------------

    async def _scale(self, resource: Resource) -> _Scaling:
        if resource.kind != HTTP_SCALED_OBJECTS or resource.spec is None or not self._world.scaled_objects.synced.is_set():
            return _Scaling()
        actual, contention = self._world.scaled_object(resource.key.app), self._contention(resource)
        withheld = self._is_unserved(resource) or (contention is not None and contention.yields)
        try:
            step = next_step(
                resource,
                actual,
                self._scaler,
                withheld=withheld,
                served=self._is_served(resource),
                shared=self._is_shared(actual),
                asked=self._asked_by_hand(resource),
            )
        except Problem as problem:
            return _Scaling(trouble=Trouble("NoWorkload", str(problem)))
        if isinstance(step, Foreign):
            return _Scaling(trouble=Trouble("NameTaken", step.why), contention=contention)
        if isinstance(step, Leave):
            self._steps.settled(resource.key)
            self._step_backoff.settled(resource.key)
            trouble = too_long(resource) if step.managed and not withheld else None
            return _Scaling(step.managed, trouble, contention)
        if isinstance(step, Create) and (trouble := too_long(resource)) is not None:
            return _Scaling(trouble=trouble)
        return msgspec.structs.replace(await self._take(resource, step, actual), contention=contention)

    def _contention(self, resource: Resource) -> Contention | None:
        """A conflict with another HTTPScaledObject (according to the current table), or with an autoscaler of the user."""
        assembly, workload = self._assembly(), workload_of(resource)
        if workload is None or resource.meta.annotated(SKIP):
            return None
        if assembly is not None and _is_current(resource, assembly) and resource.key in assembly.outdone:
            return Contention(workload, assembly.outdone[resource.key], yields=True)
        rivals = self._world.rivals(workload, resource.key.app)
        if resource.meta.annotated(TRANSFER):
            rivals = [rival for rival in rivals if rival.key.kind == SCALED_OBJECT.kind]
        return contention(resource, workload, rivals)

    def _asked_by_hand(self, resource: Resource) -> ByHand:
        """What is asked for now. When that changes, the object is scheduled again."""
        asked = by_hand(resource.meta, self._wall())
        if asked.left is not None:
            self._later(resource.key, min(asked.left, LONGEST_LOOK_SECONDS))
        for name in asked.unusable:
            why = f"the annotation {name} has no effect: it says no time such as 2026-01-31T08:00:00Z"
            self._recorder.tell(resource, Notice("AnnotationIgnored", why, warning=True))
        return asked

    def _is_shared(self, actual: ScaledObject | None) -> bool:
        """Whether another autoscaler scales, or wants to scale, the workload that a ScaledObject scales now."""
        return actual is not None and self._world.is_wanted(actual.workload, actual.key.app)

    def _is_unserved(self, resource: Resource) -> bool:
        assembly = self._assembly()
        return assembly is not None and _is_current(resource, assembly) and resource.key in assembly.unserved

    def _is_served(self, resource: Resource) -> bool:
        """Whether the current route of an object is stored, so that the scaler has it or is about to."""
        assembly = self._assembly()
        if assembly is None or not _is_current(resource, assembly):
            return False
        route = assembly.table.apps.get(resource.key.app)
        return route is not None and self._propagation.verdict(route) is not None

    async def _take(self, resource: Resource, step: Create | Patch | Delete, actual: ScaledObject | None) -> _Scaling:
        content = _content(step)
        if self._steps.is_under_way(resource.key, (step, actual)) or self._waits(self._step_backoff, resource.key, content):
            return _Scaling()
        try:
            await self._write(resource, step, actual)
        except ApiError as error:
            return _Scaling(trouble=Trouble("Refused", str(error)), error=error)
        self._steps.sent(resource.key, (step, actual))
        if self._step_backoff.wrote(resource.key, content, self._clock()):
            why = f"something else changes ScaledObject {resource.meta.name} back each time"
            self._recorder.tell(resource, Notice("ScaledObjectContested", f"{why}: it is put right less often now", warning=True))
        return _Scaling()

    def _waits(self, backoff: WriteBackoff, key: Key, what: int) -> bool:
        """Whether a repeated write must wait; then the object is scheduled again."""
        left = backoff.pause(key, what, self._clock())
        if left > 0:
            self._later(key, left)
        return left > 0

    async def _write(self, resource: Resource, step: Create | Patch | Delete, actual: ScaledObject | None) -> None:
        namespace, name = resource.meta.namespace, resource.meta.name
        path = SCALED_OBJECTS.path(namespace, name)
        self.writes += 1
        match step:
            case Create(manifest=manifest):
                await self._api.request("POST", SCALED_OBJECTS.path(namespace), query=_MANAGER, body=manifest)
            case Patch(patch=patch):
                uid = actual.meta.uid if actual is not None else ""
                body = patch | {"metadata": {**patch.get("metadata", {}), "uid": uid}}
                await self._api.request("PATCH", path, query=_MANAGER, body=body, content_type=_MERGE)
            case Delete(uid=uid):
                await self._api.request("DELETE", path, body={"preconditions": {"uid": uid}})

    async def _let_go(self, resource: Resource) -> None:
        finalizers = resource.meta.finalizers or ()
        if ADDON_FINALIZER not in finalizers:
            return
        kept = [name for name in finalizers if name != ADDON_FINALIZER]
        body = {"metadata": {"uid": resource.meta.uid, "finalizers": kept or None}}
        path = path_of(resource.kind).path(resource.meta.namespace, resource.meta.name)
        await self._api.request("PATCH", path, query=_MANAGER, body=body, content_type=_MERGE)

    # -- the status -----------------------------------------------------------------------------------------------

    def _facts(self, resource: Resource, scaling: _Scaling) -> Facts | None:
        """None while the current table is older than the object: the next table schedules the object again."""
        assembly, key = self._assembly(), resource.key
        if assembly is None or not _is_current(resource, assembly):
            return None
        problem = assembly.problems.get(key) or resource.problem
        # With bodies, as interceptors get it. An object that another one shadows has only the route without them.
        route = assembly.routes.get(key) or resource.route
        fallback = route.cold_start.fallback if route is not None else None
        return Facts(
            problem=str(problem) if problem is not None else "",
            lost=assembly.lost.get(key, ()),
            shadowed_by=assembly.shadowed.get(key),
            verdict=None if route is None else self._propagation.verdict(route),
            services_known=self._world.services.synced.is_set(),
            ports=None if route is None else self._world.ports(route.target.service),
            external_name="" if route is None else self._world.external_name(route.target.service),
            external_names={} if route is None else self._external_names(route),
            app_protocol="" if route is None or route.target.app_protocol else self._world.app_protocol(route.target),
            reachable=self._reachable(resource),
            rule_ports={} if route is None else self._rule_ports(route),
            fallback_ports=None if fallback is None else self._world.ports(fallback.service),
            missing_bodies=assembly.missing.get(key, ()),
            scaling=self._scaling_facts(resource, scaling, unserved=key in assembly.unserved),
            minimum=self._minimum(resource),
            more=self._more(resource),
            last_wake=(self._last_wake(key.app) or "") if resource.kind == HTTP_SCALED_OBJECTS else "",
            port_facts=self._ports(resource, route),
        )

    def _external_names(self, route: Route) -> dict[str, str]:
        found = {target.service: self._world.external_name(target.service) for target in route.targets if target.service}
        return {service: name for service, name in found.items() if name}

    def _minimum(self, resource: Resource) -> Minimum | None:
        """What its schedules ask for now. When that changes, the object is scheduled again."""
        if not resource.schedules:
            return None
        now = self._wall()
        minimum = minimum_at(resource.schedules, now)
        left = LONGEST_LOOK_SECONDS if minimum.until is None else min(minimum.until - now, LONGEST_LOOK_SECONDS)
        self._later(resource.key, left)
        return minimum

    def _rule_ports(self, route: Route) -> dict[str, Ports | None]:
        return {target.service: self._world.ports(target.service) for rule in route.rules for target in rule.backends}

    def _scaling_facts(self, resource: Resource, scaling: _Scaling, *, unserved: bool) -> ScalingFacts:
        app, world = resource.key.app, self._world
        found, miswired = world.scaled_object(app), None
        if not (scaling.managed and resource.kind == HTTP_SCALED_OBJECTS):
            judged = [(wired(one, self._scaler, app), one) for one in world.scaled_objects_for(app)]
            # One ScaledObject that works is enough, whatever is wrong with others.
            miswired, found = min(judged, key=lambda one: (one[0] is not None, *one[1].troubles), default=(None, None))
        return ScalingFacts(
            managed=scaling.managed,
            known=world.scaled_objects.synced.is_set(),
            missing=world.scaled_objects.absent,
            found=found,
            trouble=scaling.trouble,
            miswired=miswired,
            contention=scaling.contention,
            unserved=unserved,
        )

    async def _tell(self, resource: Resource, facts: Facts) -> None:
        key, before = resource.key, resource.status
        status = next_status(resource, facts, _now())
        if status == before:
            self._statuses.settled(key)
            self._status_backoff.settled(key)
            self._patient_until.pop(key, None)
            return
        if self._can_wait(resource, status):
            return
        said = _content(_timeless(status))
        if self._statuses.is_under_way(key, (status, before)) or self._waits(self._status_backoff, key, said):
            return
        await self._write_status(resource, status)
        self._statuses.sent(key, (status, before))
        if self._status_backoff.wrote(key, said, self._clock()):
            why = "something else writes another status each time: does the HTTP add-on's operator run, or a second controller?"
            self._recorder.tell(resource, Notice("StatusContested", why, warning=True))
        for notice in notices_of(resource, status):
            self._recorder.tell(resource, notice)

    async def _write_status(self, resource: Resource, status: HTTPScaledObjectStatus) -> None:
        self.writes += 1
        # The whole status, so that fields of an older version are removed.
        body = {"metadata": {"uid": resource.meta.uid}, "status": msgspec.to_builtins(status)}
        path = path_of(resource.kind).path(resource.meta.namespace, resource.meta.name)
        try:
            await self._api.request("PATCH", f"{path}/status", query=_MANAGER, body=body, content_type=_MERGE)
        except ApiError as error:
            if error.status not in (404, 409):  # deleted, or replaced by one of the same name: the watch will report it
                raise


def _content(written: object) -> int:
    """A hash of what is written, to be compared with earlier writes."""
    return hash(msgspec.json.encode(written))


def _timeless(status: HTTPScaledObjectStatus) -> HTTPScaledObjectStatus:
    """A status without times, which may differ when the meaning does not."""
    conditions = [msgspec.structs.replace(condition, last_transition_time="") for condition in status.conditions]
    return msgspec.structs.replace(status, conditions=tuple(conditions))


def _is_current(resource: Resource, assembly: Assembly) -> bool:
    """Whether the current table was made of the object's current version."""
    key = resource.key
    if assembly.workloads.get(key) != workload_of(resource):
        return False
    return key in assembly.shadowed or assembly.asked.get(key) == _asked_in(resource, assembly)


def _asked_in(resource: Resource, assembly: Assembly) -> Asked | None:
    """What a table that includes the object's current version was made of."""
    return None if resource.key in assembly.problems else resource.asked


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
