"""Which applications wake, are ready, fail to wake and sleep, for the events that go out: from their Services' EndpointSlices and
from what interceptors report of waiting requests. Belongs to a term, so that each event is sent once for the whole fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from controller.reachability import Demand
from controller.world import World
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import ENDPOINT_SLICES, SERVICE_NAME_LABEL, EndpointSlice, parse_endpoint_slice
from fleet.events.lifecycle import Kind, Lifecycle

__all__ = ["Wakes"]

Publish = Callable[[Kind, str, Mapping[str, object]], None]


class Wakes:
    """`publish` is called with each event."""

    def __init__(self, api: Api, namespaces: Collection[str], world: World, publish: Publish, *, timing: Timing) -> None:
        self._world = world
        self._publish = publish
        self._clock = asyncio.get_running_loop().time
        self._apps: dict[str, Lifecycle] = {}
        self._services: dict[str, str] = {}
        """The Service of each application."""
        self._apps_of: dict[str, set[str]] = {}
        self._demands: Mapping[str, Demand] = {}
        self._by_service: dict[str, dict[str, EndpointSlice]] = {}
        self._slices = ListWatch(
            api, ENDPOINT_SLICES, parse_endpoint_slice, namespaces=namespaces, labels=SERVICE_NAME_LABEL, timing=timing
        )
        self._slices.subscribe(self._on_slice)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._slices.start()
        self._task = asyncio.create_task(self._begin(), name="wakes")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._slices.close()

    def look(self, app: str) -> None:
        """An object of the application, or around it, may have changed."""
        service = self._service(app)
        before = self._services.get(app)
        if service != before:
            self._apps.pop(app, None)
            if before is not None:
                self._apps_of[before].discard(app)
                if not self._apps_of[before]:
                    del self._apps_of[before]
                del self._services[app]
            if service is not None:
                self._services[app] = service
                self._apps_of.setdefault(service, set()).add(app)
        if service is not None and self._slices.synced.is_set():
            self._see(app, service)

    def on_demands(self, demands: Mapping[str, Demand]) -> None:
        """What interceptors report of applications whose requests wait."""
        before, self._demands = self._demands, demands
        for app in {*before, *demands}:
            self.look(app)

    def _see(self, app: str, service: str) -> None:
        endpoints = [one for each in self._by_service.get(service, {}).values() for one in each.endpoints if not one.terminating]
        ready, demand = any(one.ready for one in endpoints), self._demands.get(app)
        waits = demand is not None and demand.held > 0
        failure = _failure(demand) if demand is not None and not ready else ""
        lifecycle = self._apps.setdefault(app, Lifecycle())
        for kind, data in lifecycle.see(
            self._clock(), active=waits or bool(endpoints), ready=ready, present=bool(endpoints), failure=failure
        ):
            self._publish(kind, app, data)

    def _service(self, app: str) -> str | None:
        resources = (self._world.get(key) for key in self._world.objects_of(app))
        routes = (one.route for one in resources if one is not None and one.route is not None and not one.meta.deleting)
        return next((route.target.service for route in routes if route.target.service), None)

    def _on_slice(self, change: Change[EndpointSlice]) -> None:
        for one in (change.before, change.after):
            if one is not None:
                self._by_service.get(one.service, {}).pop(change.key, None)
        if change.after is not None:
            self._by_service.setdefault(change.after.service, {})[change.key] = change.after
        for service in {one.service for one in (change.before, change.after) if one is not None}:
            if not self._by_service.get(service):
                self._by_service.pop(service, None)
            for app in tuple(self._apps_of.get(service, ())):
                self.look(app)

    async def _begin(self) -> None:
        """What is there when the term begins tells nothing."""
        await self._slices.synced.wait()
        for resource in list(self._world.objects()):
            self.look(resource.key.app)


def _failure(demand: Demand) -> str:
    if not demand.timed_out:
        return ""
    why = demand.trouble or demand.last_error or "no replica was ready"
    return f"requests waited {demand.timed_out_seconds:g} s in vain: {why}"
