"""Looks at the surroundings of one application in trouble: Service, EndpointSlices, workload, pods. Reads, and only when asked.

What may not be read is left out: less is told then, and nothing else is wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from controller.crds import HTTP_SCALED_OBJECTS
from controller.reachability import Evidence, PodFacts, ServiceFacts, Workload
from controller.resources import Key, Resource
from controller.schema.http_scaled_object import HTTPScaledObjectSpec
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
from fleet.routing.route import Target

__all__ = ["Looker", "Subject", "subject_of"]

PODS = Path("/api/v1", "pods")
_SCALABLE = {"Deployment": Path("/apis/apps/v1", "deployments"), "StatefulSet": Path("/apis/apps/v1", "statefulsets")}
"""Kinds whose scale the controller may read. Of others it knows what their Services select."""
MAX_PODS = 100
"""Read of one workload; causes show at any of them."""
_CACHED = ("resourceVersion", "0")
"""From the API server's memory: no look costs its store anything."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Subject(msgspec.Struct, frozen=True):
    """What is looked at."""

    namespace: str
    target: Target
    kind: str = ""
    workload: str = ""
    """Kind and name of what is scaled; empty when that is not known."""


def subject_of(world: World, app: str) -> Subject | None:
    """None when there is no such application."""
    keys: Sequence[Key] = sorted(world.objects_of(app), key=lambda key: key.kind == HTTP_SCALED_OBJECTS.kind)
    resource = world.get(keys[0]) if keys else None
    if resource is None or resource.route is None:
        return None
    kind, name = _scaled(world, resource)
    return Subject(resource.meta.namespace, resource.route.target, kind, name)


def _scaled(world: World, resource: Resource) -> tuple[str, str]:
    if isinstance(resource.spec, HTTPScaledObjectSpec):
        reference = resource.spec.scale_target_ref
        if reference.name:
            return reference.kind or "Deployment", reference.name
    found = next(world.scaled_objects_for(resource.key.app), None)
    return ("", "") if found is None else (found.workload.kind, found.workload.name)


class _Scale(msgspec.Struct):
    """autoscaling/v1 Scale."""

    class Spec(msgspec.Struct):
        replicas: int = 0

    class Status(msgspec.Struct):
        selector: str = ""

    spec: Spec = msgspec.field(default_factory=Spec)
    status: Status = msgspec.field(default_factory=Status)


class Looker:
    """Four to five reads at a look."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._is_told = False
        """Whether it was logged that something may not be read."""

    async def look(self, subject: Subject) -> Evidence:
        """Raises ApiError when the API server cannot be asked."""
        service, (workload, selector) = await asyncio.gather(self._service(subject), self._workload(subject))
        selected = None
        if service is not None and service.selector:
            wanted = ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))
            selected = await self._pods(subject.namespace, wanted)
        pods = await self._pods(subject.namespace, selector) if selector else selected
        return Evidence(service, workload, pods, selected)

    async def _service(self, subject: Subject) -> ServiceFacts | None:
        name = subject.target.service.partition("/")[2]
        found, slices = await asyncio.gather(
            self._list(SERVICES.path(subject.namespace), ("fieldSelector", f"metadata.name={name}")),
            self._list(ENDPOINT_SLICES.path(subject.namespace), ("labelSelector", f"{SERVICE_NAME_LABEL}={name}")),
        )
        if not found:
            return None
        parsed = None if slices is None else [parse_endpoint_slice(one) for one in slices]
        return _service_facts(subject.target, name, msgspec.json.decode(found[0]), parsed)

    async def _workload(self, subject: Subject) -> tuple[Workload | None, str]:
        """With the selector of its pods."""
        path = _SCALABLE.get(subject.kind)
        if not subject.workload:
            return None, ""
        if path is None:
            return Workload(subject.kind, subject.workload, found=None), ""
        try:
            raw = await self._api.get(f"{path.path(subject.namespace, subject.workload)}/scale")
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            self._heed(error)
            return Workload(subject.kind, subject.workload, found=None if error.status == 403 else False), ""
        scale = msgspec.json.decode(raw, type=_Scale)
        return Workload(subject.kind, subject.workload, replicas=scale.spec.replicas), scale.status.selector

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
            self._heed(error)
            return None

    def _heed(self, error: ApiError) -> None:
        if error.status == 403 and not self._is_told:
            self._is_told = True
            _log.warning("less can be told of applications that are not reached: %s", error)


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

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class _Container(msgspec.Struct, rename="camel"):
    image: str = ""
    restart_count: int = 0
    state: _State = msgspec.field(default_factory=_State)
    last_state: _State = msgspec.field(default_factory=_State)

    @property
    def exit_code(self) -> int | None:
        ended = self.state.terminated or self.last_state.terminated
        return None if ended is None else ended.exit_code


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
    scheduled = conditions.get("PodScheduled", _Condition())
    return PodFacts(
        name=pod.metadata.name,
        ready=conditions.get("Ready", _Condition()).status == "True",
        labels=pod.metadata.labels or {},
        waiting="" if why is None else why.reason,
        detail="" if why is None else why.message[:200],
        image="" if waiting is None else waiting.image,
        restarts=worst.restart_count,
        exit_code=worst.exit_code,
        unschedulable=scheduled.message[:200] if scheduled.status == "False" else "",
    )
