"""What the controller watches, and which objects each change concerns. Reads; decides nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from controller.crds import GROUP, HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES, Kind
from controller.resources import Key, Resource, parse_http_scaled_object, parse_interceptor_route
from controller.scaledobject import ScaledObject, parse_scaled_object
from controller.status import Ports
from fleet.discovery.kubernetes.client import Api
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import SERVICES, Service, parse_service
from fleet.discovery.kubernetes.objects import Resource as Path

__all__ = ["SCALED_OBJECTS", "World", "path_of"]

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
        self._by_service: dict[str, set[Key]] = {}
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

    async def known(self) -> None:
        """Wait until every custom resource was read: a table of a part of them would take routes away."""
        for watch in self._resources.values():
            await watch.synced.wait()

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
        for resource in (before, after):
            if resource is not None and resource.route is not None:
                self._index_service(resource, keep=resource is after)
        resource = after or before
        if resource is not None:
            self._on_object(resource.key)
        if _asks(before) != _asks(after):
            self._on_routes()

    def _index_service(self, resource: Resource, *, keep: bool) -> None:
        service = resource.route.target.service if resource.route is not None else ""
        keys = self._by_service.setdefault(service, set())
        if keep:
            keys.add(resource.key)
        else:
            keys.discard(resource.key)
        if not keys:
            del self._by_service[service]

    def _on_service(self, change: Change[Service]) -> None:
        for key in tuple(self._by_service.get(change.key, ())):
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


def _asks(resource: Resource | None) -> object:
    """What a table is made of."""
    return None if resource is None else (resource.key, resource.route, resource.problem)
