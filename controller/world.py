"""What the controller watches, and which objects each change concerns. Makes no decisions and writes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Generic, TypeVar

from controller.autoscalers import (
    SCALED_OBJECT,
    Autoscaler,
    ScaledObject,
    Workload,
    parse_autoscaler,
    parse_scaled_object,
    workload_of,
)
from controller.bodies import Bodies
from controller.bodysource import AUTHORITIES_LABEL, BodySource
from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES, Kind
from controller.resources import Key, Resource, parse_http_scaled_object, parse_interceptor_route
from controller.scaledobject import SKIP
from controller.scaling import Rival
from controller.services import SelectingService, parse_selecting_service
from controller.status import Ports
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import SERVICES
from fleet.discovery.kubernetes.objects import Resource as Path
from fleet.routing.route import Target

__all__ = ["AUTOSCALERS", "SCALED_OBJECTS", "World", "path_of"]

BODIES_SECONDS = 5.0
"""Seconds for which a table waits for ConfigMaps, of answers and then of authorities; then it is made of what is known."""
AUTOSCALERS_SECONDS = 5.0
"""Seconds for which a term waits for the HorizontalPodAutoscalers; the controller may lack permission to read them."""

SCALED_OBJECTS = Path("/apis/keda.sh/v1alpha1", "scaledobjects")
AUTOSCALERS = Path("/apis/autoscaling/v2", "horizontalpodautoscalers")

T = TypeVar("T", bound=Hashable)


def path_of(kind: Kind) -> Path:
    """The API path of a kind."""
    return Path(f"/apis/{kind.group}/{kind.version}", kind.plural)


class World:
    """`on_object` is called with each object that has changed, or whose surroundings have; `on_routes` when the routing table
    may have to change."""

    def __init__(
        self,
        api: Api,
        namespaces: Collection[str],
        *,
        timing: Timing,
        on_object: Callable[[Key], None],
        on_routes: Callable[[], None],
    ) -> None:
        self._on_object = on_object
        self._on_routes = on_routes
        self._by_service = _Users[str]()
        self._by_config_map = _Users[str]()
        self._by_authorities = _Users[str]()
        self._by_workload = _Users[Workload]()
        self._rivals: dict[Workload, dict[Key, Rival]] = {}
        """What users have created that scales a workload."""
        self._bodies = BodySource(api, namespaces, timing=timing, on_change=on_routes)
        self._authorities = BodySource(api, namespaces, timing=timing, on_change=on_routes, label=AUTHORITIES_LABEL)
        self._scaled_by_app: dict[str, set[str]] = {}
        self._resources = {
            HTTP_SCALED_OBJECTS.kind: ListWatch(
                api, path_of(HTTP_SCALED_OBJECTS), parse_http_scaled_object, namespaces=namespaces, timing=timing
            ),
            INTERCEPTOR_ROUTES.kind: ListWatch(
                api, path_of(INTERCEPTOR_ROUTES), parse_interceptor_route, namespaces=namespaces, timing=timing
            ),
        }
        self.services: ListWatch[SelectingService] = ListWatch(
            api, SERVICES, parse_selecting_service, namespaces=namespaces, timing=timing
        )
        self.scaled_objects: ListWatch[ScaledObject] = ListWatch(
            api, SCALED_OBJECTS, parse_scaled_object, namespaces=namespaces, timing=timing
        )
        self.autoscalers: ListWatch[Autoscaler] = ListWatch(
            api, AUTOSCALERS, parse_autoscaler, namespaces=namespaces, timing=timing
        )
        for watch in self._resources.values():
            watch.subscribe(self._on_resource)
        self.services.subscribe(self._on_service)
        self.scaled_objects.subscribe(self._on_scaled_object)
        self.autoscalers.subscribe(self._on_autoscaler)

    def start(self) -> None:
        for watch in self._resources.values():
            watch.start()
        self.services.start()
        self.scaled_objects.start()
        self.autoscalers.start()

    async def close(self) -> None:
        for watch in self._resources.values():
            await watch.close()
        await self.services.close()
        await self.scaled_objects.close()
        await self.autoscalers.close()
        await self._bodies.close()
        await self._authorities.close()

    async def known(self) -> None:
        """Wait until all custom resources were read: a table of some of them would remove the routes of the others."""
        for watch in self._resources.values():
            await watch.synced.wait()
        await self._bodies.known(BODIES_SECONDS)
        await self._authorities.known(BODIES_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AUTOSCALERS_SECONDS):
                await self.autoscalers.tried()

    def bodies(self) -> Bodies:
        """The ConfigMaps with bodies for answers."""
        return self._bodies.bodies()

    def authorities(self) -> Bodies:
        """The ConfigMaps with authorities of backends."""
        return self._authorities.bodies()

    @property
    def unread(self) -> tuple[str, ...]:
        """Kinds of custom resources that were not read yet."""
        return tuple(kind for kind, watch in self._resources.items() if not watch.synced.is_set())

    def get(self, key: Key) -> Resource | None:
        watch = self._resources.get(key.kind)
        return None if watch is None else watch.get(key.app)

    def objects(self) -> Iterator[Resource]:
        for watch in self._resources.values():
            yield from (resource for _, resource in watch.items())

    def objects_of(self, app: str) -> Iterator[Key]:
        """The objects of an application's name."""
        namespace, _, name = app.partition("/")
        for kind, watch in self._resources.items():
            if watch.get(app) is not None:
                yield Key(kind, namespace, name)

    def ports(self, service: str) -> Ports | None:
        """The ports of a Service; None when it does not exist."""
        found = self.services.get(service)
        return None if found is None else found.ports

    def external_name(self, service: str) -> str:
        """The external name of a Service of type ExternalName; "" for others."""
        found = self.services.get(service)
        return "" if found is None else found.external_name

    def selector(self, service: str) -> tuple[tuple[str, str], ...]:
        """The labels that a Service selects by; empty when it selects nothing or does not exist."""
        found = self.services.get(service)
        return () if found is None else found.selector

    def app_protocol(self, target: Target) -> str:
        """The appProtocol at the port of a target's Service; "" without one."""
        found = self.services.get(target.service)
        numbers = {number for name, number in found.ports if target.port in (None, name, number)} if found is not None else set()
        return next((protocol for number, protocol in (found.protocols if found is not None else ()) if number in numbers), "")

    def scaled_object(self, app: str) -> ScaledObject | None:
        """The ScaledObject of this name."""
        return self.scaled_objects.get(app)

    def scaled_objects_for(self, app: str) -> Iterator[ScaledObject]:
        """The ScaledObjects that name the application, sorted by name."""
        for name in sorted(self._scaled_by_app.get(app, ())):
            if (found := self.scaled_objects.get(name)) is not None:
                yield found

    def scaled_object_keys(self) -> Iterator[Key]:
        """The keys of all ScaledObjects."""
        return (found.key for _, found in self.scaled_objects.items())

    def rivals(self, workload: Workload, app: str) -> list[Rival]:
        """ScaledObjects and HorizontalPodAutoscalers of users that scale a workload, except the ScaledObject of this name."""
        own = Key(SCALED_OBJECT.kind, *app.split("/", 1))
        return [rival for key, rival in self._rivals.get(workload, {}).items() if key != own]

    def is_wanted(self, workload: Workload, app: str) -> bool:
        """Whether anything else than this application scales a workload, or wants to."""
        others = [key for key in self._by_workload.of(workload) if key.app != app]
        return bool(others or self.rivals(workload, app))

    def trouble_of(self, app: str) -> str | None:
        """What is wrong with the objects of an application's name: "" for nothing, None when there are none."""
        found = [resource for key in self.objects_of(app) if (resource := self.get(key)) is not None]
        wrong = [str(resource.problem) for resource in found if resource.problem is not None]
        return (wrong[0] if len(wrong) == len(found) else "") if found else None

    # -- changes --------------------------------------------------------------------------------------------------

    def _on_resource(self, change: Change[Resource]) -> None:
        before, after = change.before, change.after
        resource = after or before
        if resource is None:
            return
        self._by_service.move(resource.key, _services(before), _services(after))
        if self._by_config_map.move(resource.key, _config_maps(before), _config_maps(after)):
            self._bodies.want(self._by_config_map.used)
        if self._by_authorities.move(resource.key, _authorities(before), _authorities(after)):
            self._authorities.want(self._by_authorities.used)
        self._on_object(resource.key)
        self._by_workload.move(resource.key, _workloads(before), _workloads(after))
        if (before and before.problem) != (after and after.problem) or None in (before, after):
            for name in self._scaled_by_app.get(resource.key.app, ()):
                self._on_object(Key(SCALED_OBJECT.kind, *name.split("/", 1)))
        if _asks(before) != _asks(after):
            self._on_routes()

    def _on_service(self, change: Change[SelectingService]) -> None:
        for key in tuple(self._by_service.of(change.key)):
            self._on_object(key)

    def _on_scaled_object(self, change: Change[ScaledObject]) -> None:
        apps = {change.key}
        for app in change.before.apps if change.before is not None else ():
            apps.add(app)
            self._scaled_by_app.get(app, set()).discard(change.key)
            if not self._scaled_by_app.get(app):
                self._scaled_by_app.pop(app, None)
        for app in change.after.apps if change.after is not None else ():
            apps.add(app)
            self._scaled_by_app.setdefault(app, set()).add(change.key)
        for app in apps:
            for key in self.objects_of(app):
                self._on_object(key)
        self._on_object(Key(SCALED_OBJECT.kind, *change.key.split("/", 1)))
        self._on_rival(change, SCALED_OBJECT.kind)

    def _on_autoscaler(self, change: Change[Autoscaler]) -> None:
        self._on_rival(change, "HorizontalPodAutoscaler")

    def _on_rival(self, change: Change[ScaledObject] | Change[Autoscaler], kind: str) -> None:
        key = Key(kind, *change.key.split("/", 1))
        for one in (change.before, change.after):
            if one is None:
                continue
            there = self._rivals.setdefault(one.workload, {})
            before = there.pop(key, None)
            if one is change.after and one.is_users and not one.meta.deleting:
                there[key] = Rival(key, one.meta.created)
            if not there:
                del self._rivals[one.workload]
            if before != there.get(key):
                for user in tuple(self._by_workload.of(one.workload)):
                    self._on_object(user)


class _Users(Generic[T]):
    """Which objects use a thing, by the thing's name."""

    def __init__(self) -> None:
        self._keys: dict[T, set[Key]] = {}

    @property
    def used(self) -> Collection[T]:
        return self._keys.keys()

    def of(self, name: T) -> Collection[Key]:
        return self._keys.get(name, ())

    def move(self, key: Key, before: Collection[T], after: Collection[T]) -> bool:
        """Replace the things that an object uses; returns whether they differ."""
        for name in before:
            self._keys[name].discard(key)
        for name in after:
            self._keys.setdefault(name, set()).add(key)
        for name in before:
            if not self._keys[name]:
                del self._keys[name]
        return before != after


def _services(resource: Resource | None) -> frozenset[str]:
    if resource is None or resource.route is None:
        return frozenset()
    route = resource.route
    return frozenset(target.service for target in route.targets if target.service)


def _config_maps(resource: Resource | None) -> frozenset[str]:
    return frozenset() if resource is None else frozenset(reference.config_map for reference in resource.references)


def _authorities(resource: Resource | None) -> frozenset[str]:
    return frozenset() if resource is None else frozenset(reference.config_map for reference in resource.authorities)


def _workloads(resource: Resource | None) -> frozenset[Workload]:
    found = None if resource is None else workload_of(resource)
    return frozenset() if found is None else frozenset((found,))


def _asks(resource: Resource | None) -> object:
    """What a table is made of."""
    if resource is None:
        return None
    scaled = (workload_of(resource), resource.meta.annotated(SKIP), resource.meta.deleting)
    return (resource.key, resource.asked, resource.problem, scaled)
