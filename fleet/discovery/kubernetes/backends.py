"""The backends of Services, from their EndpointSlices, for the wanted targets only.

Services and EndpointSlices of the namespaces are watched; objects that belong to no wanted target are dropped before they are
parsed. When a target becomes wanted, its objects are fetched; when many do at once, everything is listed again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from fleet.discovery.kubernetes.client import FETCHED_ALONE, Api, ApiError
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import (
    ENDPOINT_SLICES,
    MAX_SERVICE_NAME,
    SERVICE_NAME_LABEL,
    SERVICES,
    EndpointSlice,
    Head,
    Service,
    parse_endpoint_slice,
    parse_service,
)
from fleet.discovery.kubernetes.ports import backends_at, port_name, through_service
from fleet.discovery.sources import Alias, Backend, Trouble, Unsubscribe
from fleet.discovery.subscribers import Subscribers
from fleet.routing.outside import dns_key, is_dns_name
from fleet.runtime.pauses import Pauses
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["KubernetesBackends"]

MAX_PORTS_NAMED: Final = 10
"""Ports named in an error; a Service may have hundreds."""

_log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    """The parts of a target's key (`Target.key`)."""

    service: str
    port: int | str | None
    direct: bool | None
    udp: bool = False


def _asked(key: str) -> _Asked:
    """Parse a key; keys are parsed nowhere else."""
    place, _, how = key.partition("@")
    service, _, port = place.partition(":")
    port, _, protocol = port.partition("/")
    return _Asked(service, int(port) if port.isdigit() else port or None, how == "pods" if how else None, protocol == "udp")


class _Wanted:
    """The wanted targets of one Service, and its EndpointSlices."""

    __slots__ = ("ports", "slices")

    def __init__(self) -> None:
        self.ports: dict[str, _Asked] = {}
        """By key of the target."""
        self.slices: dict[str, EndpointSlice] = {}


class KubernetesBackends:
    """A BackendSource. Keys are "namespace/service", with ":PORT" for a number or name of the Service's port, or ":PORT/udp",
    and "@pods" or "@service" for whose addresses to use; `direct` (pods) applies to keys without it."""

    def __init__(self, api: Api, namespaces: Collection[str] = (), *, timing: Timing | None = None, direct: bool = True) -> None:
        timing = timing or Timing()
        self._direct = direct
        self._api = api
        self._keys: frozenset[str] = frozenset()
        self._wanted: dict[str, _Wanted] = {}
        self._backends: dict[str, tuple[Backend, ...]] = {}
        self._aliases: dict[str, Alias] = {}
        self._subscribers = Subscribers[str]()
        self._services = ListWatch(
            api, SERVICES, parse_service, namespaces=namespaces, keep=lambda head: head.key in self._wanted, timing=timing
        )
        self._slices = ListWatch(
            api,
            ENDPOINT_SLICES,
            parse_endpoint_slice,
            namespaces=namespaces,
            labels=SERVICE_NAME_LABEL,
            keep=lambda head: _service_of(head) in self._wanted,
            timing=timing,
        )
        self._services.subscribe(self._on_service)
        self._slices.subscribe(self._on_slice)
        self._pauses = Pauses(timing.first_pause, timing.longest_pause)
        self._new: set[str] = set()
        self._unasked: set[str] = set()
        """Wanted Services that were neither in the first list nor fetched since."""
        self._some_new = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_started = False

    @property
    def synced(self) -> bool:
        """Whether every backend of the targets wanted at first is known."""
        return self._services.synced.is_set() and self._slices.synced.is_set()

    def get(self, key: str) -> tuple[Backend, ...]:
        return self._backends.get(key, ())

    def trouble(self, key: str) -> Trouble | None:
        return None  # pods are not watched

    def note(self, app: str) -> str:
        """Always "": the status of its object has it."""
        return ""

    def missing(self, key: str) -> tuple[str, str] | None:
        """Reason and message when the Service or its port does not exist. None while that is unknown."""
        asked = _asked(key)
        service, known = asked.service, self._services.get(asked.service)
        if known is not None and known.external_name:
            return None if key in self._aliases else _no_alias(known, asked)
        if known is not None:
            return _missing_port(known, asked)
        followed = self._services.covers(service.partition("/")[0])
        if not followed or not self._services.synced.is_set() or service in self._unasked or service not in self._wanted:
            return None
        return "service_not_found", f"there is no Service {service}"

    def alias(self, key: str) -> Alias | None:
        return self._aliases.get(key)

    def subscribe(self, on_change: Callable[[str], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    def want(self, keys: Collection[str]) -> None:
        """Follow these targets and no others."""
        wanted = frozenset(keys)
        before, self._keys = self._keys, wanted
        for key in before - wanted:
            self._forget(key)
        new = {service for key in wanted - before if (service := self._add(key))}
        self._seed(new)
        if not self._is_started:
            self._begin()  # the first list has everything, so nothing is fetched separately
        elif new:
            self._new |= new
            self._unasked |= new
            self._some_new.set()

    async def start(self) -> None:
        """Does nothing: the watches start when the first target is wanted."""
        self._task = asyncio.create_task(self._fetch_forever(), name="fetch backends")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)
        await self._services.close()
        await self._slices.close()
        await self._api.close()

    def _begin(self) -> None:
        self._is_started = True
        self._services.start()
        self._slices.start()

    # -- received changes ------------------------------------------------------------------------------------------

    def _on_service(self, change: Change[Service]) -> None:
        self._refresh(change.key)

    def _on_slice(self, change: Change[EndpointSlice]) -> None:
        services = set()
        if change.before is not None and change.before.service in self._wanted:
            self._wanted[change.before.service].slices.pop(change.key, None)
            services.add(change.before.service)
        if change.after is not None and change.after.service in self._wanted:
            self._wanted[change.after.service].slices[change.key] = change.after
            services.add(change.after.service)
        for service in services:
            self._refresh(service)

    def _refresh(self, service: str) -> None:
        wanted = self._wanted.get(service)
        if wanted is None:
            return
        known = self._services.get(service)
        for key, asked in wanted.ports.items():
            alias = None if known is None or not known.external_name else _alias_of(known, asked)
            self._set(key, self._found(known, asked, wanted.slices.values()) if alias is None else (), alias)

    def _found(self, known: Service | None, asked: _Asked, slices: Collection[EndpointSlice]) -> tuple[Backend, ...]:
        name = port_name(known, asked.port, udp=asked.udp)
        if name is None:
            return ()
        pods = backends_at(slices, name, udp=asked.udp)
        direct = self._direct if asked.direct is None else asked.direct
        return pods if direct else through_service(known, name, pods, udp=asked.udp)

    def _set(self, key: str, backends: tuple[Backend, ...], alias: Alias | None) -> None:
        if (backends, alias) == (self._backends.get(key, ()), self._aliases.get(key)):
            return
        self._backends[key] = backends
        self._aliases.pop(key, None)
        if alias is not None:
            self._aliases[key] = alias
        self._subscribers.tell(key)

    # -- new targets -----------------------------------------------------------------------------------------------

    async def _fetch_forever(self) -> None:
        while True:
            await self._some_new.wait()
            self._some_new.clear()
            new, self._new = self._new & self._wanted.keys(), set()
            try:
                await self._fetch(new)
            except ApiError as error:
                _log.warning("%s; backends of %d new targets are asked for again", error, len(new))
                await asyncio.sleep(self._pauses.next(error.retry_after))
                self._new |= new
                self._some_new.set()
            else:
                self._unasked -= new - self._new
                self._pauses.reset()

    async def _fetch(self, services: Collection[str]) -> None:
        if len(services) > FETCHED_ALONE:
            await asyncio.gather(self._services.relist(), self._slices.relist())
            return
        for service in services:
            namespace, _, name = service.partition("/")
            if len(name) > MAX_SERVICE_NAME:  # there is none
                continue
            await asyncio.gather(
                self._services.fetch(namespace, fields=f"metadata.name={name}"),
                self._slices.fetch(namespace, labels=f"{SERVICE_NAME_LABEL}={name}"),
            )

    def _add(self, key: str) -> str:
        """Add one wanted target; returns its Service if that was not followed before."""
        asked = _asked(key)
        service = asked.service
        known = self._wanted.get(service)
        wanted = self._wanted.setdefault(service, _Wanted())
        wanted.ports[key] = asked
        if known is None:
            return service
        self._refresh(service)
        return ""

    def _seed(self, services: Collection[str]) -> None:
        """Use slices that are in the store already: a list that was under way may have included these Services."""
        for key, value in self._slices.items() if services else ():
            if value.service in services:
                self._wanted[value.service].slices[key] = value
        for service in services:
            self._refresh(service)
            if not self._services.covers(service.partition("/")[0]):
                _log.warning("backends of %s are not looked for: its namespace is not followed", service)

    def _forget(self, key: str) -> None:
        self._backends.pop(key, None)
        self._aliases.pop(key, None)
        service = _asked(key).service
        wanted = self._wanted[service]
        del wanted.ports[key]
        if wanted.ports:
            return
        del self._wanted[service]
        self._unasked.discard(service)
        self._services.discard(service)
        for name in wanted.slices:
            self._slices.discard(name)


def _alias_of(known: Service, asked: _Asked) -> Alias | None:
    """Where a Service of type ExternalName leads. Its name is whole, as the cluster's own DNS takes it: there is no search list.
    A port that the Service does not list is taken as it is, because such a Service needs to list none."""
    port, ports = asked.port, known.udp_ports if asked.udp else known.ports
    listed = next((number for name, number in ports if port is not None and port in (number, name)), None)
    if port is None and len(ports) == 1:
        listed = ports[0][1]
    number = port if listed is None and isinstance(port, int) else listed
    if number is None or not is_dns_name(known.external_name):
        return None
    protocol = next((protocol for listed, protocol in known.protocols if listed == number), None)
    return Alias(dns_key(f"{known.external_name.removesuffix('.')}.", number), protocol)


def _no_alias(known: Service, asked: _Asked) -> tuple[str, str] | None:
    """Reason and message when a Service of type ExternalName leads nowhere."""
    if not is_dns_name(known.external_name):
        return "external_name", f"the externalName of Service {asked.service} is no DNS name"
    return _missing_port(known, asked)


def _missing_port(known: Service, asked: _Asked) -> tuple[str, str] | None:
    """Reason and message when the Service has no such port."""
    port, ports, kind = asked.port, known.udp_ports if asked.udp else known.ports, "UDP" if asked.udp else "TCP"
    if any(port in (number, name) for name, number in ports) if port is not None else len(ports) == 1:
        return None
    there = ", ".join(f"{number} ({name})" if name else str(number) for name, number in ports[:MAX_PORTS_NAMED]) or "none"
    wanted = f"only {kind} port" if port is None else f"{kind} port {port}"
    return "port_not_found", f"Service {asked.service} has no {wanted}; it has {there}"


def _service_of(head: Head) -> str:
    return f"{head.namespace}/{(head.labels or {}).get(SERVICE_NAME_LABEL, '')}"
