"""Which applications wake, are ready, fail to wake and sleep, for the events that go out and for the dependencies that are
suggested: from their Services' EndpointSlices and from what interceptors report of waiting requests. Belongs to a term, so that
each event is sent once for the whole fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from time import time

from controller.by_hand import by_hand
from controller.reachability import Demand
from controller.resources import Resource
from controller.slices import ServiceSlices
from controller.suggestions import Suggestions
from controller.world import World
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.events.lifecycle import Kind, Lifecycle
from fleet.schedules.windows import minimum_at

__all__ = ["Publish", "Wakes"]

Publish = Callable[[Kind, str, Mapping[str, object]], None]


class Wakes:
    """`publish` is called with each event; None where nobody wants them. `wall` is the clock of schedules, in seconds since the
    epoch."""

    def __init__(
        self,
        api: Api,
        namespaces: Collection[str],
        world: World,
        suggestions: Suggestions,
        *,
        publish: Publish | None,
        timing: Timing,
        wall: Callable[[], float] = time,
    ) -> None:
        self._world = world
        self._suggestions = suggestions
        self._publish = publish
        self._wall = wall
        self._clock = asyncio.get_running_loop().time
        self._apps: dict[str, Lifecycle] = {}
        self._services: dict[str, str] = {}
        """The Service of each application."""
        self._apps_of: dict[str, dict[str, None]] = {}
        self._demands: Mapping[str, Demand] = {}
        self._slices = ServiceSlices(api, namespaces, self._on_service, timing=timing)

    def start(self) -> None:
        """What is there when the term begins tells nothing."""
        for resource in list(self._world.objects()):
            self.look(resource.key.app)
        self._slices.start()

    async def close(self) -> None:
        await self._slices.close()

    def look(self, app: str) -> None:
        """An object of the application, or around it, may have changed."""
        resource = self._resource(app)
        service = None if resource is None or resource.route is None else resource.route.target.service
        if service != self._services.get(app):
            self._move(app, service)
        if resource is not None and service is not None:
            self._see(app, resource, service)

    def on_demands(self, demands: Mapping[str, Demand]) -> None:
        """What interceptors report of applications whose requests wait."""
        before, self._demands = self._demands, demands
        for app in {*before, *demands}:
            self.look(app)

    def _move(self, app: str, service: str | None) -> None:
        """It has another Service than before, or none."""
        self._apps.pop(app, None)
        self._suggestions.forget(app)
        before = self._services.pop(app, None)
        if before is not None:
            del self._apps_of[before][app]
            if not self._apps_of[before]:
                del self._apps_of[before]
                self._slices.forget(before)
        if service is not None:
            self._services[app] = service
            self._apps_of.setdefault(service, {})[app] = None
            self._slices.want(service)

    def _see(self, app: str, resource: Resource, service: str) -> None:
        found = self._slices.endpoints(service)
        if found is None:
            return
        endpoints = [one for one in found if not one.terminating]
        ready, demand, now = any(one.ready for one in endpoints), self._demands.get(app), self._clock()
        waits = demand is not None and demand.held > 0
        failure = _failure(demand) if demand is not None and not ready else ""
        lifecycle = self._apps.setdefault(app, Lifecycle())
        for kind, data in lifecycle.see(
            now, active=waits or bool(endpoints), ready=ready, present=bool(endpoints), failure=failure
        ):
            if self._publish is not None:
                self._publish(kind, app, data)
            if self._is_one(app, resource, service):
                at = now - demand.held_seconds if demand is not None and waits else now
                self._suggestions.heard(kind, app, now, at=at, asked=self._is_asked(resource))

    def _is_one(self, app: str, resource: Resource, service: str) -> bool:
        """Whether dependencies can be suggested of it: a preview has those of its base, and of the applications that share a
        Service, all of which wake with its pods, the first one stands for all."""
        is_copy = resource.spec is not None and resource.spec.preview_of is not None
        return not is_copy and next(iter(self._apps_of[service])) == app

    def _is_asked(self, resource: Resource) -> bool:
        """Whether it would be asleep now without requests."""
        wall = self._wall()
        return not minimum_at(resource.schedules, wall).replicas and not by_hand(resource.meta, wall).awake

    def _resource(self, app: str) -> Resource | None:
        resources = (self._world.get(key) for key in self._world.objects_of(app))
        there = (one for one in resources if one is not None and not one.meta.deleting)
        return next((one for one in there if one.route is not None and one.route.target.service), None)

    def _on_service(self, service: str) -> None:
        for app in tuple(self._apps_of.get(service, ())):
            self.look(app)


def _failure(demand: Demand) -> str:
    if not demand.timed_out:
        return ""
    why = demand.trouble or demand.last_error or "no replica was ready"
    return f"requests waited {demand.timed_out_seconds:g} s in vain: {why}"
