"""One object at a time: its ScaledObject as it should be, its status as it is. Level-triggered: nothing is remembered that
could not be found out again, but for what was sent and is not back by the watch yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from controller.autoscalers import SCALED_OBJECT, ScaledObject, workload_of
from controller.contest import Contest
from controller.crds import HTTP_SCALED_OBJECTS
from controller.events import EventRecorder, News, news_of
from controller.finding import Finding
from controller.problem import Problem
from controller.propagation import Propagation
from controller.resources import Asked, Key, Resource
from controller.scaledobject import SKIP, Create, Delete, Foreign, Leave, Patch, next_step
from controller.scaling import Contention, ScalingFacts, contention, too_long
from controller.schema.http_scaled_object import HTTPScaledObjectStatus
from controller.status import Facts, is_pending, next_status
from controller.store import FIELD_MANAGER
from controller.table import Assembly
from controller.wiring import Scaler, Trouble, wired
from controller.world import SCALED_OBJECTS, World, path_of
from fleet.discovery.kubernetes.client import Api, ApiError

__all__ = ["Reconciler"]

ADDON_FINALIZER = "httpscaledobject.http.keda.sh"
"""Of the KEDA HTTP add-on. Where it is gone, nobody else would ever remove it, and the object could not go."""
GREETING_SECONDS = 2.0
"""How long a status waits while it is not known yet whether the object is ready: mostly one write is enough then."""
TRANSFER = "scaledobject.keda.sh/transfer-hpa-ownership"
"""Says that a HorizontalPodAutoscaler which is there already is to become KEDA's."""
ECHO_SECONDS = 5.0
"""For a write to come back by the watch. After that it is made once more, if it still seems to be needed."""
_MERGE = "application/merge-patch+json"
_MANAGER = (("fieldManager", FIELD_MANAGER),)


class _Scaling(msgspec.Struct, frozen=True):
    """What came of the ScaledObject."""

    managed: bool = True
    trouble: Trouble | None = None
    contention: Contention | None = None
    error: ApiError | None = None


class _Sent:
    """What was written, until the watch tells of it: it is not written twice because the watch is slow."""

    def __init__(self, later: Callable[[Key, float], None]) -> None:
        self._later = later
        self._clock = asyncio.get_running_loop().time
        self._sent: dict[Key, tuple[object, float]] = {}

    def sent(self, key: Key, what: object) -> None:
        self._sent[key] = (what, self._clock())

    def settled(self, key: Key) -> None:
        self._sent.pop(key, None)

    def is_under_way(self, key: Key, what: object) -> bool:
        """Whether this was sent, for the same reason, a moment ago."""
        sent, when = self._sent.get(key, (None, 0.0))
        left = when + ECHO_SECONDS - self._clock()
        if sent != what or left <= 0:
            return False
        self._later(key, left)
        return True


class Reconciler:
    """`later` asks for an object again, after some seconds."""

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
    ) -> None:
        self._api = api
        self._world = world
        self._propagation = propagation
        self._scaler = scaler
        self._recorder = recorder
        self._assembly = assembly
        self._later = later
        self._reachable = reachable
        self._clock = asyncio.get_running_loop().time
        self._patient_until: dict[Key, float] = {}
        self._steps = _Sent(later)
        self._statuses = _Sent(later)
        self._contested_steps, self._contested_statuses = Contest(), Contest()
        self.writes = 0
        """ScaledObjects and statuses written since the start."""

    async def reconcile(self, key: Key) -> None:
        """Raises ApiError when it should be tried again."""
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
        """Whether it says too little to be written yet; then the object is asked for again."""
        key = resource.key
        if not is_pending(status):
            self._patient_until.pop(key, None)
            return False
        if key not in self._patient_until:
            self._patient_until[key] = self._clock() + GREETING_SECONDS
        left = self._patient_until[key] - self._clock()
        if left > 0:
            self._later(key, left)
        return left > 0

    def _forget(self, key: Key) -> None:
        self._patient_until.pop(key, None)
        self._steps.settled(key)
        self._statuses.settled(key)
        self._contested_steps.forget(key)
        self._contested_statuses.forget(key)

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
            )
        except Problem as problem:
            return _Scaling(trouble=Trouble("NoWorkload", str(problem)))
        if isinstance(step, Foreign):
            return _Scaling(trouble=Trouble("NameTaken", step.why), contention=contention)
        if isinstance(step, Leave):
            self._steps.settled(resource.key)
            self._contested_steps.settled(resource.key)
            trouble = too_long(resource) if step.managed and not withheld else None
            return _Scaling(step.managed, trouble, contention)
        if isinstance(step, Create) and (trouble := too_long(resource)) is not None:
            return _Scaling(trouble=trouble)
        return msgspec.structs.replace(await self._take(resource, step, actual), contention=contention)

    def _contention(self, resource: Resource) -> Contention | None:
        """With another HTTPScaledObject, as the table in hand has it, or with what users have made themselves."""
        assembly, workload = self._assembly(), workload_of(resource)
        if workload is None or resource.meta.annotated(SKIP):
            return None
        if assembly is not None and _is_current(resource, assembly) and resource.key in assembly.outdone:
            return Contention(workload, assembly.outdone[resource.key], yields=True)
        rivals = self._world.rivals(workload, resource.key.app)
        if resource.meta.annotated(TRANSFER):
            rivals = [rival for rival in rivals if rival.key.kind == SCALED_OBJECT.kind]
        return contention(resource, workload, rivals)

    def _is_shared(self, actual: ScaledObject | None) -> bool:
        """Whether somebody else scales, or wants to, what a ScaledObject scales now."""
        return actual is not None and self._world.is_wanted(actual.workload, actual.key.app)

    def _is_unserved(self, resource: Resource) -> bool:
        assembly = self._assembly()
        return assembly is not None and _is_current(resource, assembly) and resource.key in assembly.unserved

    def _is_served(self, resource: Resource) -> bool:
        """Whether the store has the route of an object as it is now, so that the scaler has it or is about to."""
        assembly = self._assembly()
        if assembly is None or not _is_current(resource, assembly):
            return False
        route = assembly.table.apps.get(resource.key.app)
        return route is not None and self._propagation.verdict(route) is not None

    async def _take(self, resource: Resource, step: Create | Patch | Delete, actual: ScaledObject | None) -> _Scaling:
        content = _content(step)
        if self._steps.is_under_way(resource.key, (step, actual)) or self._waits(self._contested_steps, resource.key, content):
            return _Scaling()
        try:
            await self._write(resource, step, actual)
        except ApiError as error:
            return _Scaling(trouble=Trouble("Refused", str(error)), error=error)
        self._steps.sent(resource.key, (step, actual))
        if self._contested_steps.wrote(resource.key, content, self._clock()):
            why = f"something else changes ScaledObject {resource.meta.name} back each time"
            self._recorder.tell(resource, News("ScaledObjectContested", f"{why}: it is put right less often now", warning=True))
        return _Scaling()

    def _waits(self, contest: Contest, key: Key, what: int) -> bool:
        """Whether this has to wait for its next turn; then the object is asked for again."""
        left = contest.pause(key, what, self._clock())
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
        """None while the table in hand is older than the object: the next one asks for the object again."""
        assembly, key = self._assembly(), resource.key
        if assembly is None or not _is_current(resource, assembly):
            return None
        problem = assembly.problems.get(key) or resource.problem
        # With its bodies, as interceptors get it; an object whose place another takes has only its own.
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
            app_protocol="" if route is None else self._world.app_protocol(route.target),
            reachable=self._reachable(resource),
            fallback_ports=None if fallback is None else self._world.ports(fallback.service),
            missing_bodies=assembly.missing.get(key, ()),
            scaling=self._scaling_facts(resource, scaling, unserved=key in assembly.unserved),
        )

    def _scaling_facts(self, resource: Resource, scaling: _Scaling, *, unserved: bool) -> ScalingFacts:
        app, world = resource.key.app, self._world
        found, miswired = world.scaled_object(app), None
        if not (scaling.managed and resource.kind == HTTP_SCALED_OBJECTS):
            judged = [(wired(one, self._scaler, app), one) for one in world.scaled_objects_for(app)]
            # One that scales by it is enough, whatever others are wrong.
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
            self._contested_statuses.settled(key)
            self._patient_until.pop(key, None)
            return
        if self._can_wait(resource, status):
            return
        said = _content(_timeless(status))
        if self._statuses.is_under_way(key, (status, before)) or self._waits(self._contested_statuses, key, said):
            return
        await self._write_status(resource, status)
        self._statuses.sent(key, (status, before))
        if self._contested_statuses.wrote(key, said, self._clock()):
            why = "something else writes another status each time: does the HTTP add-on's operator run, or a second controller?"
            self._recorder.tell(resource, News("StatusContested", why, warning=True))
        for news in news_of(resource, status):
            self._recorder.tell(resource, news)

    async def _write_status(self, resource: Resource, status: HTTPScaledObjectStatus) -> None:
        self.writes += 1
        # Whole, so that what an older version has left there goes.
        body = {"metadata": {"uid": resource.meta.uid}, "status": msgspec.to_builtins(status)}
        path = path_of(resource.kind).path(resource.meta.namespace, resource.meta.name)
        try:
            await self._api.request("PATCH", f"{path}/status", query=_MANAGER, body=body, content_type=_MERGE)
        except ApiError as error:
            if error.status not in (404, 409):  # gone, or another of the same name: the watch will tell
                raise


def _content(written: object) -> int:
    """What is written, to be compared with what was."""
    return hash(msgspec.json.encode(written))


def _timeless(status: HTTPScaledObjectStatus) -> HTTPScaledObjectStatus:
    """A status without its times, which go with what others write between."""
    conditions = [msgspec.structs.replace(condition, last_transition_time="") for condition in status.conditions]
    return msgspec.structs.replace(status, conditions=tuple(conditions))


def _is_current(resource: Resource, assembly: Assembly) -> bool:
    """Whether the table in hand was made of the object as it is now."""
    key = resource.key
    if assembly.workloads.get(key) != workload_of(resource):
        return False
    return key in assembly.shadowed or assembly.asked.get(key) == _asked_in(resource, assembly)


def _asked_in(resource: Resource, assembly: Assembly) -> Asked | None:
    """What a table that knows the object as it is was made of."""
    return None if resource.key in assembly.problems else resource.asked


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
