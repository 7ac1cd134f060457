"""The endpoints of the Services that applications have: of these, and of no others in the cluster, whatever there is of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator

from fleet.discovery.kubernetes.client import FETCHED_ALONE, Api, ApiError
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import (
    ENDPOINT_SLICES,
    MAX_SERVICE_NAME,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointSlice,
    Head,
    parse_endpoint_slice,
)
from fleet.runtime.pauses import Pauses
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["ServiceSlices"]

_log = logging.getLogger(__name__)


class ServiceSlices:
    """Services are "namespace/name". `on_service` is called with each that is known now, and whenever its slices change."""

    def __init__(self, api: Api, namespaces: Collection[str], on_service: Callable[[str], None], *, timing: Timing) -> None:
        self._on_service = on_service
        self._wanted: dict[str, dict[str, EndpointSlice]] = {}
        self._new: dict[str, object] = {}
        """Wanted Services whose slices were not read yet, each with an object of its own for each time that it became wanted."""
        self._some_new = asyncio.Event()
        self._pauses = Pauses(timing.first_pause, timing.longest_pause)
        self._slices = ListWatch(
            api,
            ENDPOINT_SLICES,
            parse_endpoint_slice,
            namespaces=namespaces,
            labels=SERVICE_NAME_LABEL,
            keep=lambda head: _service_of(head) in self._wanted,
            timing=timing,
        )
        self._slices.subscribe(self._on_slice)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The first list has what is wanted until now."""
        first, self._new = self._new, {}
        self._slices.start()
        self._task = asyncio.create_task(self._read_forever(first), name="slices")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)
        await self._slices.close()

    def want(self, service: str) -> None:
        if service not in self._wanted:
            self._wanted[service] = {}
            self._new[service] = object()
            self._some_new.set()

    def forget(self, service: str) -> None:
        self._new.pop(service, None)
        for key in self._wanted.pop(service, {}):
            self._slices.discard(key)

    def endpoints(self, service: str) -> Iterator[Endpoint] | None:
        """None while they are not known."""
        if service not in self._wanted or service in self._new or not self._slices.synced.is_set():
            return None
        return (one for each in self._wanted[service].values() for one in each.endpoints)

    def _on_slice(self, change: Change[EndpointSlice]) -> None:
        changed = dict.fromkeys(one.service for one in (change.before, change.after) if one is not None)
        for service in changed:
            self._wanted.get(service, {}).pop(change.key, None)
        if change.after is not None and change.after.service in self._wanted:
            self._wanted[change.after.service][change.key] = change.after
        for service in changed:
            if service in self._wanted:
                self._on_service(service)

    async def _read_forever(self, first: Collection[str]) -> None:
        await self._slices.synced.wait()
        self._tell(first)
        while True:
            await self._some_new.wait()
            self._some_new.clear()
            new = dict(self._new)
            try:
                await self._fetch(new)
            except ApiError as error:
                _log.warning("%s; the endpoints of %d Services are asked for again", error, len(new))
                await asyncio.sleep(self._pauses.next(error.retry_after))
                self._some_new.set()
            else:
                self._pauses.reset()
                read = [service for service, wish in new.items() if self._new.get(service) is wish]
                for service in read:
                    del self._new[service]
                self._tell(read)

    async def _fetch(self, services: Collection[str]) -> None:
        if len(services) > FETCHED_ALONE:
            await self._slices.relist()
            return
        for namespace, _, name in (service.partition("/") for service in services):
            if len(name) <= MAX_SERVICE_NAME and self._slices.covers(namespace):  # others there are none
                await self._slices.fetch(namespace, labels=f"{SERVICE_NAME_LABEL}={name}")

    def _tell(self, services: Collection[str]) -> None:
        for service in services:
            if service in self._wanted:
                self._on_service(service)


def _service_of(head: Head) -> str:
    return f"{head.namespace}/{(head.labels or {}).get(SERVICE_NAME_LABEL, '')}"
