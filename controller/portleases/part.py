"""Leases of ports as a part of the controller: what every controller has, and what a term of leadership does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from controller.port_status import PortFacts
from controller.portleases.assignment import EVERY_ENTRY, PortView
from controller.portleases.choice import PortLimits
from controller.portleases.keeper import LeaseKeeper
from controller.portleases.lease import PortLease
from controller.portleases.source import PortSource
from controller.portleases.store import PortStore
from controller.portleases.writer import EntryWriter
from controller.propagation import Missing
from controller.resources import Key, Resource
from controller.schema.ports import PortPlace
from controller.settings import ControllerSettings
from controller.table import Assembly
from controller.world import World
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.listwatch import Timing
from fleet.routing.port_index import PortKey
from fleet.routing.route import Route

__all__ = ["PortSystem", "PortTerm", "open_ports"]

READ_SECONDS = 5.0
"""Seconds for which a term waits for leases; then it begins without, and ports stay as they are served until it knows them."""


class PortSystem(msgspec.Struct, frozen=True):
    """What every controller has: with it the Admin API leases ports, whoever leads."""

    source: PortSource
    store: PortStore
    namespace: str
    policy: str


def open_ports(settings: ControllerSettings, api: Api, world: World, namespace: str, timing: Timing) -> PortSystem | None:
    """None where leases are off. `namespace` is Weir's own."""
    if not settings.ports:
        return None
    limits = PortLimits(settings.port_first, settings.port_last, settings.max_ports, settings.port_quota, settings.port_ttl)
    source = PortSource(api, namespace, settings.port_entries, timing=timing)
    store = PortStore(api, namespace, source, limits, fixed=lambda: _fixed(world))
    return PortSystem(source, store, namespace, settings.port_policy)


def _fixed(world: World) -> Mapping[PortKey, Key]:
    """Ports that objects name by number."""
    return {
        PortKey(one.port.protocol, one.port.port): resource.key
        for resource in world.objects()
        for one in resource.ports
        if not one.lease
    }


class PortTerm:
    """Create one in each term, also where leases are off: then there is a bound on ports, and no more."""

    def __init__(
        self,
        system: PortSystem | None,
        most: int,
        most_of_namespace: int,
        *,
        api: Api,
        world: World,
        assembly: Callable[[], Assembly | None],
        not_listening: Callable[[Route], tuple[Missing, ...]],
        on_routes: Callable[[], None],
        on_objects: Callable[[Iterable[Key]], None],
        later: Callable[[Key, float], None],
        leads: Callable[[], bool],
    ) -> None:
        self._system, self._most, self._most_of_namespace, self._world = system, most, most_of_namespace, world
        self._assembly, self._not_listening = assembly, not_listening
        self._on_routes, self._on_objects = on_routes, on_objects
        self.keeper: LeaseKeeper | None = None
        self.writer: EntryWriter | None = None
        if system is not None:
            self.keeper = LeaseKeeper(api, world, system.source, system.store, later=later, leads=leads)
            self.writer = EntryWriter(
                api,
                system.source,
                system.namespace,
                system.policy,
                wanted=self._wanted,
                on_trouble=self._on_trouble,
                leads=leads,
            )

    async def run(self) -> None:
        """Run until cancelled."""
        if self._system is None or self.keeper is None or self.writer is None:
            await asyncio.Event().wait()
            return
        unsubscribe = self._system.source.subscribe(self._on_lease, self._on_entry)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.keeper.run(), name="port leases")
                tasks.create_task(self.writer.run(), name="port entries")
                tasks.create_task(self._give_when_known(self._system.source), name="ports that wait for leases")
        finally:
            unsubscribe()

    async def _give_when_known(self, source: PortSource) -> None:
        """The first table may have been made without leases, and none may come that would have it made anew."""
        await source.known()
        self._on_routes()

    async def known(self) -> None:
        """Wait for leases, for a while: without them nobody knows whose a port is."""
        if self._system is not None:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    await self._system.source.known()
            except TimeoutError:
                return

    def view(self) -> PortView:
        """For the next table."""
        if self._system is None:
            return PortView(self._most, is_on=False, most_of_namespace=self._most_of_namespace)
        source = self._system.source
        leases = source.leases if source.is_known else None
        return PortView.of(self._most, leases, [*source.entries], self._most_of_namespace)

    async def keep(self, key: Key) -> ApiError | None:
        """Bring the leases of an object about; returns why it must be tried again."""
        if self.keeper is not None:
            try:
                await self.keeper.keep(key)
            except ApiError as error:
                return error
        return None

    def on_assembled(self) -> None:
        """There is a new table."""
        if self.writer is not None:
            self.writer.changed()

    def facts(self, resource: Resource, route: Route | None) -> PortFacts:
        """What is known about the ports of an object. `route` is its own as it is in the table."""
        assembly = self._assembly()
        if not resource.ports or assembly is None or route is None:
            return PortFacts()
        trouble = self.keeper.troubles.get(resource.key) if self.keeper is not None else None
        waits = assembly.waits.get(resource.key, ())
        own = [(PortKey(port.protocol, port.port), port) for port in route.ports]
        mine = [key for key, port in own if self._is_owner(assembly, key, route.app)]
        return PortFacts(
            waits=(trouble, *waits) if trouble and waits else waits,
            not_let_in=tuple(dict.fromkeys(self._not_let_in(assembly, mine))),
            not_listening=self._not_listening(route),
            places=tuple(dict.fromkeys(self._places(assembly, mine))),
        )

    def _is_owner(self, assembly: Assembly, key: PortKey, app: str) -> bool:
        return any(owner.app == app for owner in assembly.table.ports.get(key, ()))

    def _not_let_in(self, assembly: Assembly, keys: Iterable[PortKey]) -> Iterator[str]:
        if self.writer is not None:
            for key in keys:
                yield from self.writer.troubles(key, assembly.entries.get(key, ()))

    def _places(self, assembly: Assembly, keys: Iterable[PortKey]) -> Iterator[PortPlace]:
        source = self._system.source if self._system is not None else None
        if source is None:
            yield from (PortPlace(key.protocol, key.port) for key in keys)
            return
        leases, known = source.leases, source.entries
        for key in keys:
            lease = leases.get(key)
            for name in sorted(assembly.entries.get(key, ())):
                for entry in known.values() if name == EVERY_ENTRY else filter(None, [known.get(name)]):
                    yield PortPlace(key.protocol, key.port, "" if lease is None else lease.name, entry.name, entry.public)

    def _wanted(self) -> Mapping[PortKey, frozenset[str]] | None:
        assembly = self._assembly()
        return None if assembly is None else assembly.entries

    def _on_lease(self, before: PortLease | None, after: PortLease | None) -> None:
        self._on_routes()
        # An object whose lease somebody has taken away gets another one.
        self._on_objects(lease.holder for lease in (before, after) if lease is not None and lease.holder is not None)

    def _on_entry(self) -> None:
        """Ports by number may be for an entry that has come or gone, and addresses are in the status."""
        self._on_routes()
        self._on_trouble()
        self.on_assembled()

    def _on_trouble(self) -> None:
        self._on_objects(resource.key for resource in self._world.objects() if resource.ports)
