"""Keeps leases and objects together, as a part of the leader's work: an object gets the leases that it names, and leases end with
their object, or when nothing has used them in time.

Level-triggered, like the rest of a term: each step is one write that the API server decides on, and what is cut off in between is
found as it is by the next leader.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from time import time

from controller.crds import HTTP_SCALED_OBJECTS, INTERCEPTOR_ROUTES
from controller.portleases.assignment import named
from controller.portleases.entry import Wish
from controller.portleases.lease import Holder, PortLease
from controller.portleases.objects import KINDS, holder_of, is_named, read_object
from controller.portleases.source import PortSource
from controller.portleases.store import PortError, PortStore, Wanted
from controller.ports import AskedPort
from controller.resources import Key, Resource
from controller.world import World
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.routing.port_index import PortKey

__all__ = ["LeaseKeeper"]

SWEEP_SECONDS = 10.0
"""Between two looks at all leases: those that are over, and those whose object is gone."""
RETRY_SECONDS = 10.0
"""After which a port is asked for again that could not be leased."""
_log = logging.getLogger(__name__)


class LeaseKeeper:
    """`later` requests another look at an object; `leads` says whether this process may still write."""

    def __init__(
        self,
        api: Api,
        world: World,
        source: PortSource,
        store: PortStore,
        *,
        later: Callable[[Key, float], None],
        leads: Callable[[], bool] = lambda: True,
        wall: Callable[[], float] = time,
    ) -> None:
        self._api, self._world, self._source, self._store = api, world, source, store
        self._later, self._leads, self._wall = later, leads, wall
        self.troubles: dict[Key, str] = {}
        """Why objects have no lease."""

    async def keep(self, key: Key) -> None:
        """Bring the leases of one object about. Raises ApiError when it must be retried."""
        if not self._source.is_known or not self._leads():
            return
        resource = self._world.get(key)
        if resource is None:
            self.troubles.pop(key, None)
            await self._free(key)
            return
        if resource.route is None or self._is_shadowed(resource):
            return  # what is wrong with it may be put right: its ports stay its own until then
        try:
            await self._lease(resource)
            self.troubles.pop(key, None)
        except PortError as error:
            self.troubles[key] = str(error)
            self._later(key, RETRY_SECONDS)
        except ApiError as error:
            if error.status != 409:
                self.troubles[key] = str(error)
            raise
        await self._free_unnamed(resource)

    async def run(self) -> None:
        """Look at all leases from time to time, until cancelled."""
        await self._source.known()
        while True:
            await self._sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def _sweep(self) -> None:
        for lease in self._source.leases.values():
            try:
                if not self._leads():
                    return
                if lease.holder is not None:
                    await self._check(lease, lease.holder)
                elif lease.is_over(self._wall()):
                    await self._store.release(lease)
                    _log.info("the lease of %s ends: nothing has used it", lease.port)
            except ApiError as error:
                if error.status != 409:  # somebody has begun to use it
                    _log.warning("the lease of %s is not freed: %s", lease.port, error)

    async def _check(self, lease: PortLease, holder: Key) -> None:
        resource = self._world.get(holder)
        if resource is None or (lease.holder_uid and resource.meta.uid != lease.holder_uid):
            await self._free(holder)

    # -- leases of an object --------------------------------------------------------------------------------------

    async def _lease(self, resource: Resource) -> None:
        """Raises PortError and ApiError. A port that there is not keeps no other from being leased."""
        if not resource.ports:
            return
        missing: list[PortError] = []
        key, holder = resource.key, holder_of(resource)
        leases = self._source.leases
        names = named(leases)
        for asked in resource.ports:
            number = PortKey(asked.port.protocol, asked.port.port)
            lease = names.get((key.namespace, asked.lease)) if asked.lease else leases.get(number)
            if lease is None:
                if not asked.lease:
                    continue
                try:
                    await self._store.lease(_wanted(asked, key, holder))
                except PortError as error:
                    missing.append(error)
            elif (
                (lease.holder is None and lease.namespace == key.namespace)
                or (lease.holder == key and lease.holder_uid != holder.uid)
                or (lease.holder is not None and lease.holder == _replaced_by(key))
            ):
                await self._store.change(lease, holder)
        if missing:
            raise missing[0]

    async def _free_unnamed(self, resource: Resource) -> None:
        """Leases that were made for it because it named them, and does not any more; and of two of one name, which two leaders
        may have made, the younger."""
        made = [lease for lease in self._of(resource.key) if lease.by_route]
        names = named(self._source.leases) if made else {}
        for lease in made:
            if names[lease.namespace, lease.name] != lease:
                await self._store.release(lease)
                continue
            if is_named(lease, resource):
                continue
            now = await read_object(self._api, resource.key)  # the watch may be behind the leader who made it
            if now is None or not is_named(lease, now):
                await self._store.release(lease)

    async def _free(self, key: Key) -> None:
        """Free the leases of an object that is gone."""
        leases = [*self._of(key)]
        if not leases or key.kind not in KINDS:
            return
        now = await read_object(self._api, key)  # the watch may not have it yet
        for lease in leases:
            if now is None or (lease.holder_uid and now.meta.uid != lease.holder_uid and not is_named(lease, now)):
                await self._store.release(lease)
                _log.info("%s is free: %s is gone", lease.port, key)

    def _of(self, key: Key) -> Iterator[PortLease]:
        yield from (lease for lease in self._source.leases.values() if lease.holder == key)

    def _is_shadowed(self, resource: Resource) -> bool:
        if resource.kind != HTTP_SCALED_OBJECTS:
            return False
        other = self._world.get(Key(INTERCEPTOR_ROUTES.kind, resource.key.namespace, resource.key.name))
        return other is not None and other.route is not None


def _replaced_by(key: Key) -> Key | None:
    """The object whose place this one takes in the table, if there is one: it does not need its ports any more."""
    return Key(HTTP_SCALED_OBJECTS.kind, key.namespace, key.name) if key.kind == INTERCEPTOR_ROUTES.kind else None


def _wanted(asked: AskedPort, key: Key, holder: Holder) -> Wanted:
    return Wanted(
        namespace=key.namespace,
        name=asked.lease,
        protocol=asked.port.protocol,
        wish=Wish(name=asked.entry),
        holder=holder,
        by_route=True,
    )
