"""Reads the objects around an application in trouble: Service, EndpointSlices, workload, pods. Only when asked.

Objects that it has no permission to read are left out; then the report contains less.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from controller.autoscalers import workload_of
from controller.crds import HTTP_SCALED_OBJECTS
from controller.outside import place_of
from controller.reachability import Evidence, PodFacts, ServiceFacts, Workload
from controller.resources import Key, Resource
from controller.scaledobject import SKIP
from controller.selection import Selection
from controller.selectors import Requirement, parse_selector, rules_out, selects
from controller.world import World
from fleet.discovery.kubernetes.client import Api, ApiError, Query
from fleet.discovery.kubernetes.objects import (
    ENDPOINT_SLICES,
    SERVICE_NAME_LABEL,
    SERVICES,
    EndpointSlice,
    parse_endpoint_slice,
)
from fleet.discovery.kubernetes.objects import Resource as Path
from fleet.routing.kinds import is_name
from fleet.routing.route import Target

__all__ = ["EvidenceReader", "Subject", "subject_of"]

PODS = Path("/api/v1", "pods")
EVENTS = Path("/api/v1", "events")
_SCALABLE = {"Deployment": Path("/apis/apps/v1", "deployments"), "StatefulSet": Path("/apis/apps/v1", "statefulsets")}
"""Kinds whose scale the controller may read. For others, it uses the pods that their Services select."""
MAX_PODS = 100
"""Maximum pods read of one workload; a cause shows in any of them."""
MAX_WORKLOADS = 4
"""Maximum workloads read of one application; several ScaledObjects may name it."""
_COMBINED = "(combined from similar events): "
"""Prefix of the message of an Event that stands for several."""
_CACHED = ("resourceVersion", "0")
"""Served from the API server's cache, so that reads do not load etcd."""

_log = logging.getLogger(__name__)


class Subject(msgspec.Struct, frozen=True):
    """What to read about."""

    namespace: str
    target: Target
    workloads: tuple[tuple[str, str], ...] = ()
    """Kind and name of each workload that is scaled by the application's requests, as far as known."""
    selector: tuple[tuple[str, str], ...] = ()
    """The selector of the target's Service."""
    uid: str = ""
    """The object's uid: another object of the same name is another application."""


def subject_of(world: World, app: str) -> Subject | None:
    """None when there is no such application."""
    keys: Sequence[Key] = sorted(world.objects_of(app), key=lambda key: key.kind == HTTP_SCALED_OBJECTS.kind)
    resource = world.get(keys[0]) if keys else None
    if resource is None or resource.route is None:
        return None
    target = resource.route.target
    return Subject(resource.meta.namespace, target, _scaled(world, resource), world.selector(target.service), resource.meta.uid)


def _scaled(world: World, resource: Resource) -> tuple[tuple[str, str], ...]:
    own = workload_of(resource)
    if own is not None and not resource.meta.annotated(SKIP):
        return ((own.kind, own.name),)
    # With a ScaledObject of the user, what the HTTPScaledObject itself names may be outdated.
    found = [one.workload for one in world.scaled_objects_for(resource.key.app)] or ([] if own is None else [own])
    return tuple(dict.fromkeys((one.kind, one.name) for one in found))[:MAX_WORKLOADS]


class _Scale(msgspec.Struct):
    """autoscaling/v1 Scale."""

    class Spec(msgspec.Struct):
        replicas: int = 0

    class Status(msgspec.Struct):
        selector: str = ""

    spec: Spec = msgspec.field(default_factory=Spec)
    status: Status = msgspec.field(default_factory=Status)


class _Scaled(msgspec.Struct, frozen=True):
    """A workload, and the selector of its pods."""

    workload: Workload
    selector: str = ""

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        return parse_selector(self.selector)


class EvidenceReader:
    """Reads the evidence, with four to six requests each time."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._is_logged = False
        """Whether missing permissions were logged."""

    async def look(self, subject: Subject) -> Evidence:
        """Raises ApiError when the API server cannot be reached."""
        service, scaled = await asyncio.gather(self._service(subject), self._workloads(subject))
        outside = place_of(subject.target)
        if service is not None and service.external_name:
            outside = f"Service {service.name} of type ExternalName ({service.external_name})"
        selected = None
        if service is not None and service.selector:
            selected = await self._pods(subject.namespace, _written(service.selector))
        found = _likeliest(scaled, {} if service is None else service.selector, selected or ())
        if found is None:
            return Evidence(service, None, selected, selected, outside)
        pods = await self._pods(subject.namespace, found.selector) if found.selector else selected
        refusal = await self._refusal(subject, found.workload, pods)
        return Evidence(service, found.workload, pods, selected, outside, refusal)

    async def survey(self, subject: Subject) -> Selection | None:
        """Which pods the Service selects; None when that cannot be compared with the workload. One request if both have the
        same selector. Raises ApiError."""
        if not subject.selector:
            return None
        labels, scaled = dict(subject.selector), await self._workloads(subject)
        name, selected = subject.target.service.partition("/")[2], None
        if not any(one.selector == _written(labels) for one in scaled):
            selected = await self._pods(subject.namespace, _written(labels))
        found = _likeliest(scaled, labels, selected or ())
        if found is None or not found.selector:
            return None
        pods = None
        if selected is not None and found.workload.replicas:
            pods = await self._pods(subject.namespace, found.selector)
        return Selection(name, labels, str(found.workload), found.requirements, selected, pods)

    async def _service(self, subject: Subject) -> ServiceFacts | None:
        name = subject.target.service.partition("/")[2]
        if not name:
            return None
        found, slices = await asyncio.gather(
            self._list(SERVICES.path(subject.namespace), ("fieldSelector", f"metadata.name={name}")),
            self._list(ENDPOINT_SLICES.path(subject.namespace), ("labelSelector", f"{SERVICE_NAME_LABEL}={name}")),
        )
        if not found:
            return None
        parsed = None if slices is None else [parse_endpoint_slice(one) for one in slices]
        return _service_facts(subject.target, name, msgspec.json.decode(found[0]), parsed)

    async def _workloads(self, subject: Subject) -> list[_Scaled]:
        return [await self._workload(subject.namespace, kind, name) for kind, name in subject.workloads]

    async def _workload(self, namespace: str, kind: str, name: str) -> _Scaled:
        path = _SCALABLE.get(kind)
        if path is None:
            return _Scaled(Workload(kind, name, found=None))
        if not is_name(name):
            return _Scaled(Workload(kind, name, found=False))
        try:
            raw = await self._api.get(f"{path.path(namespace, name)}/scale")
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            self._note_forbidden(error)
            return _Scaled(Workload(kind, name, found=None if error.status == 403 else False))
        scale = msgspec.json.decode(raw, type=_Scale)
        return _Scaled(Workload(kind, name, replicas=scale.spec.replicas), scale.status.selector)

    async def _refusal(self, subject: Subject, workload: Workload, pods: tuple[PodFacts, ...] | None) -> str:
        """Why the last pod of a workload could not be created, if it has none; "" when no Event says so."""
        if pods != () or not workload.replicas:
            return ""
        path = EVENTS.path(subject.namespace)
        listed = await self._list(path, ("fieldSelector", "reason=FailedCreate"))
        events = (msgspec.json.decode(one, type=_Event) for one in listed or ())
        about = [one for one in events if one.is_about(workload)]
        last = max(about, key=lambda one: one.last_timestamp or "", default=_Event())
        return last.message.removeprefix(_COMBINED)[:300]

    async def _pods(self, namespace: str, selector: str) -> tuple[PodFacts, ...] | None:
        found = await self._list(PODS.path(namespace), ("labelSelector", selector))
        if found is None:
            return None
        pods = (msgspec.json.decode(one, type=_Pod) for one in found[:MAX_PODS])
        return tuple(_pod_facts(pod) for pod in pods if pod.counts)

    async def _list(self, path: str, selector: tuple[str, str]) -> list[msgspec.Raw] | None:
        """None when it is not allowed."""
        query: Query = (selector, _CACHED)
        try:
            return msgspec.json.decode(await self._api.get(path, query), type=_List).items or []
        except ApiError as error:
            if error.status != 403:
                raise
            self._note_forbidden(error)
            return None

    def _note_forbidden(self, error: ApiError) -> None:
        if error.status == 403 and not self._is_logged:
            self._is_logged = True
            _log.warning("less can be told of applications that are not reached: %s", error)


def _likeliest(scaled: Sequence[_Scaled], labels: Mapping[str, str], selected: Sequence[PodFacts]) -> _Scaled | None:
    """Of the workloads scaled by an application's requests, the one that its Service most likely selects."""

    def rank(one: _Scaled) -> int:
        if one.selector and any(selects(one.requirements, pod.labels) for pod in selected):
            return 0
        if one.selector and not rules_out(one.requirements, labels):
            return 1
        return 2 if one.workload.found else 3

    return min(scaled, key=rank, default=None)


def _written(labels: Mapping[str, str]) -> str:
    """As a label selector."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


class _List(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


def _service_facts(target: Target, name: str, raw: dict[str, Any], slices: list[EndpointSlice] | None) -> ServiceFacts:
    spec = raw.get("spec") or {}
    port: dict[str, Any] = next(
        (one for one in spec.get("ports") or () if target.port in (None, one.get("port"), one.get("name"))), {}
    )
    endpoints = at_port = ready = 0
    for one in slices or ():
        endpoints += len(one.endpoints)
        if any(found.name == (port.get("name") or "") for found in one.ports):
            at_port += len(one.endpoints)
            ready += sum(endpoint.ready for endpoint in one.endpoints)
    return ServiceFacts(
        name=name,
        selector=spec.get("selector") or {},
        external_name=str(spec.get("externalName", "")) if spec.get("type") == "ExternalName" else "",
        target_port=str(port.get("targetPort") or port.get("port") or ""),
        port_name=str(port.get("name") or ""),
        endpoints=None if slices is None else endpoints,
        at_port=at_port,
        ready=ready,
    )


class _State(msgspec.Struct, rename="camel"):
    class Waiting(msgspec.Struct):
        reason: str = ""
        message: str = ""

    class Terminated(msgspec.Struct, rename="camel"):
        exit_code: int | None = None
        reason: str = ""

    class Running(msgspec.Struct):
        """Its content is not used."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class _Container(msgspec.Struct, rename="camel"):
    name: str = ""
    image: str = ""
    ready: bool = False
    restart_count: int = 0
    state: _State = msgspec.field(default_factory=_State)
    last_state: _State = msgspec.field(default_factory=_State)

    @property
    def last_end(self) -> _State.Terminated:
        return self.state.terminated or self.last_state.terminated or _State.Terminated()


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _PodStatus(msgspec.Struct, rename="camel"):
    phase: str = ""
    conditions: list[_Condition] | None = None
    container_statuses: list[_Container] | None = None
    init_container_statuses: list[_Container] | None = None


class _PodMeta(msgspec.Struct, rename="camel"):
    name: str = ""
    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class _Pod(msgspec.Struct):
    metadata: _PodMeta
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)

    @property
    def counts(self) -> bool:
        """Whether it may still become ready."""
        return self.metadata.deletion_timestamp is None and self.status.phase not in ("Succeeded", "Failed")


def _pod_facts(pod: _Pod) -> PodFacts:
    conditions = {condition.type: condition for condition in pod.status.conditions or ()}
    containers = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
    waiting = next((one for one in containers if one.state.waiting is not None and one.state.waiting.message), None)
    waiting = waiting or next((one for one in containers if one.state.waiting is not None), None)
    worst = max(containers, key=lambda one: one.restart_count, default=_Container())
    why = waiting.state.waiting if waiting is not None else None
    scheduled, ready = conditions.get("PodScheduled", _Condition()), conditions.get("Ready", _Condition())
    ran = pod.status.container_statuses or ()
    return PodFacts(
        name=pod.metadata.name,
        ready=ready.status == "True",
        labels=pod.metadata.labels or {},
        waiting="" if why is None else why.reason,
        detail="" if why is None else why.message[:200],
        image="" if waiting is None else waiting.image,
        container="" if waiting is None else waiting.name,
        restarts=worst.restart_count,
        exit_code=worst.last_end.exit_code,
        exit_reason=worst.last_end.reason,
        ended=worst.name if worst.restart_count else "",
        unschedulable=scheduled.message[:200] if scheduled.status == "False" else "",
        initializing=_initializing(pod) if conditions.get("Initialized", _Condition()).status == "False" else "",
        unready=tuple(one.name for one in ran if one.state.running is not None and not one.ready),
        gate=ready.message[:200] if ran and all(one.ready for one in ran) else "",
    )


def _initializing(pod: _Pod) -> str:
    """The init container that the others wait for. A sidecar container (restartPolicy Always) is ready by then."""
    statuses = pod.status.init_container_statuses or ()
    return next((one.name for one in statuses if one.state.running is not None and not one.ready), "")


class _Event(msgspec.Struct, rename="camel"):
    class About(msgspec.Struct):
        kind: str = ""
        name: str = ""

    involved_object: About = msgspec.field(default_factory=About)
    message: str = ""
    last_timestamp: str | None = None

    def is_about(self, workload: Workload) -> bool:
        """Pods of a Deployment are created by ReplicaSets, whose names have one more part."""
        about = self.involved_object
        if about.kind == "ReplicaSet" and workload.kind == "Deployment":
            return about.name.rpartition("-")[0] == workload.name
        return (about.kind, about.name) == (workload.kind, workload.name)
