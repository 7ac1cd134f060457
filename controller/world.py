"""What the controller watches, and which objects each change concerns. Reads; decides nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from controller.bodies import Bodies
from controller.bodysource import BodySource
from controller.crds import GROUP, HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES, Kind
from controller.resources import Key, Resource, parse_http_scaled_object, parse_interceptor_route
from controller.scaledobject import ScaledObject, parse_scaled_object
from controller.status import Ports
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import SERVICES, Service, parse_service
from fleet.discovery.kubernetes.objects import Resource as Path

__all__ = ["SCALED_OBJECTS", "World", "path_of"]

BODIES_SECONDS = 5.0
"""How long a table waits for the ConfigMaps of answers; then it is made with what is there."""

SCALED_OBJECTS = Path("/apis/keda.sh/v1alpha1", "scaledobjects")


def path_of(kind: Kind) -> Path:
    """Where the objects of a kind are."""
    return Path(f"/apis/{GROUP}/{kind.version}", kind.plural)


class World:
    """`on_object` is called with each object whose own or whose surroundings' state is another; `on_routes` when the
    routing table may have to be another."""

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
        self._by_service = _Users()
        self._by_config_map = _Users()
        self._bodies = BodySource(api, namespaces, timing=timing, on_change=on_routes)
        self._scaled_by_app: dict[str, set[str]] = {}
        self._resources = {
            HTTP_SCALED_OBJECTS.kind: ListWatch(
                api, path_of(HTTP_SCALED_OBJECTS), parse_http_scaled_object, namespaces=namespaces, timing=timing
            ),
            INTERCEPTOR_ROUTES.kind: ListWatch(
                api, path_of(INTERCEPTOR_ROUTES), parse_interceptor_route, namespaces=namespaces, timing=timing
            ),
        }
        self.services: ListWatch[Service] = ListWatch(api, SERVICES, parse_service, namespaces=namespaces, timing=timing)
        self.scaled_objects: ListWatch[ScaledObject] = ListWatch(
            api, SCALED_OBJECTS, parse_scaled_object, namespaces=namespaces, timing=timing
        )
        for watch in self._resources.values():
            watch.subscribe(self._on_resource)
        self.services.subscribe(self._on_service)
        self.scaled_objects.subscribe(self._on_scaled_object)

    def start(self) -> None:
        for watch in self._resources.values():
            watch.start()
        self.services.start()
        self.scaled_objects.start()

    async def close(self) -> None:
        for watch in self._resources.values():
            await watch.close()
        await self.services.close()
        await self.scaled_objects.close()
        await self._bodies.close()

    async def known(self) -> None:
        """Wait until every custom resource was read: a table of a part of them would take routes away."""
        for watch in self._resources.values():
            await watch.synced.wait()
        await self._bodies.known(BODIES_SECONDS)

    def bodies(self) -> Bodies:
        """The ConfigMaps that answers take their bodies from."""
        return self._bodies.bodies()

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
        """The ports of a Service; None when there is none."""
        found = self.services.get(service)
        return None if found is None else found.ports

    def scaled_object(self, app: str) -> ScaledObject | None:
        """The ScaledObject of this name."""
        return self.scaled_objects.get(app)

    def scaled_object_for(self, app: str) -> ScaledObject | None:
        """A ScaledObject that names the application, the first by name."""
        names = sorted(self._scaled_by_app.get(app, ()))
        return self.scaled_objects.get(names[0]) if names else None

    # -- changes --------------------------------------------------------------------------------------------------

    def _on_resource(self, change: Change[Resource]) -> None:
        before, after = change.before, change.after
        resource = after or before
        if resource is None:
            return
        self._by_service.move(resource.key, _services(before), _services(after))
        if self._by_config_map.move(resource.key, _config_maps(before), _config_maps(after)):
            self._bodies.want(self._by_config_map.used)
        self._on_object(resource.key)
        if _asks(before) != _asks(after):
            self._on_routes()

    def _on_service(self, change: Change[Service]) -> None:
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


class _Users:
    """Which objects use a thing, by the thing's name."""

    def __init__(self) -> None:
        self._keys: dict[str, set[Key]] = {}

    @property
    def used(self) -> Collection[str]:
        return self._keys.keys()

    def of(self, name: str) -> Collection[Key]:
        return self._keys.get(name, ())

    def move(self, key: Key, before: Collection[str], after: Collection[str]) -> bool:
        """An object used these and uses those; whether that are others."""
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
    targets = (route.target, route.cold_start.fallback)
    return frozenset(target.service for target in targets if target is not None)


def _config_maps(resource: Resource | None) -> frozenset[str]:
    return frozenset() if resource is None else frozenset(reference.config_map for reference in resource.references)


def _asks(resource: Resource | None) -> object:
    """What a table is made of."""
    return None if resource is None else (resource.key, resource.asked, resource.problem)
