"""Puts the ports of the table into the Services before the interceptors, and into a NetworkPolicy, while its controller leads.

Ports that are not ours are left alone: server-side apply names our own only, with a manager of its own, and is refused if the
Service has changed since it was looked at; the same holds for the policy. A port of ours has a name that says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from controller.portleases.assignment import EVERY_ENTRY
from controller.portleases.entry import Entry, own_name
from controller.portleases.source import PortSource
from controller.queue import WorkQueue
from controller.write_backoff import WriteBackoff
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import SERVICES, Resource
from fleet.routing.port_index import PortKey

__all__ = ["MANAGER", "NETWORK_POLICIES", "EntryWriter", "service_ports"]

MANAGER = "weir-ports"
"""Field manager of the ports in Services."""
NETWORK_POLICIES = Resource("/apis/networking.k8s.io/v1", "networkpolicies")
COLLECT_SECONDS = 0.1
"""For which changes are collected, to be written together."""
RESYNC_SECONDS = 600.0
"""After which the NetworkPolicy, which is not watched, is looked at again."""
POLICY = ""
"""Stands for the NetworkPolicy among the names of entries."""
ENTRY_WORKERS = 4
"""Entries that are written at once: one whose write takes long delays no others."""
MAX_ATTEMPTS = 3
"""Writes of the NetworkPolicy in a row while others change it at the same time; then there is a pause."""
CONFLICT = 409
"""Status of a write of a version that is not the last one any more."""

Wanted = Mapping[PortKey, Collection[str]]

_log = logging.getLogger(__name__)


class EntryWriter:
    """`wanted` are the ports of the table, each with its entries; None before there is a table. `on_trouble` is called when what
    is wrong with an entry has changed."""

    def __init__(
        self,
        api: Api,
        source: PortSource,
        namespace: str,
        policy: str,
        *,
        wanted: Callable[[], Wanted | None],
        on_trouble: Callable[[], None],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`policy` is the name of the NetworkPolicy; "" for none."""
        self._api, self._source, self._namespace, self._policy = api, source, namespace, policy
        self._wanted, self._on_trouble, self._leads = wanted, on_trouble, leads
        self._changed = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._queue: WorkQueue[str] = WorkQueue(self._work, workers=ENTRY_WORKERS, name="port entries")
        """Names of entries, and POLICY. Each has a pause of its own after a failure."""
        self._backoff = WriteBackoff()
        self._troubles: dict[str, str] = {}
        """By entry, or POLICY."""
        self._in_policy: tuple[tuple[PortKey, ...], float] | None = None
        self.writes = 0

    def changed(self) -> None:
        """The table or an entry has changed."""
        self._changed.set()

    def troubles(self, key: PortKey, entries: Iterable[str]) -> Iterator[str]:
        """Why a port is not in the Services that it belongs into, or not let through to interceptors."""
        known = self._source.entries
        for name in _entries(entries, known):
            entry = known.get(name)
            if entry is None:
                yield f"there is no entry {name} any more"
            elif (other := entry.stranger(key)) is not None:
                yield f"Service {name} has {key} already, as port {other!r}, for something else"
            elif name in self._troubles:
                yield self._troubles[name]
        if POLICY in self._troubles:
            yield self._troubles[POLICY]

    async def run(self) -> None:
        """Run until cancelled."""
        await self._source.known()
        self._changed.set()
        self._queue.start()
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RESYNC_SECONDS):
                        await self._changed.wait()
                await asyncio.sleep(COLLECT_SECONDS)
                self._changed.clear()
                for name in {*self._source.entries, *self._troubles, POLICY}:
                    self._queue.add(name)
        finally:
            await self._queue.close()

    async def _work(self, name: str) -> None:
        """Write one entry, or the NetworkPolicy, if it differs. Raises ApiError when it must be tried again."""
        wanted = self._wanted()
        if wanted is None or not self._leads():
            return
        before = self._troubles.get(name)
        try:
            await (self._let_through(tuple(sorted(wanted))) if name == POLICY else self._keep(name, wanted))
            self._troubles.pop(name, None)
        except ApiError as error:
            if error.status != CONFLICT:  # it has changed since it was looked at, and is looked at again
                self._troubles[name] = str(error)
            raise
        finally:
            if before != self._troubles.get(name):
                self._on_trouble()

    async def _keep(self, name: str, wanted: Wanted) -> None:
        """Raises ApiError."""
        entry = self._source.entries.get(name)
        if entry is None:
            self._backoff.forget(name)
            return
        ports = [key for key in wanted if name in wanted[key] or EVERY_ENTRY in wanted[key]]
        body = service_ports(entry, ports)
        if _is_right(entry, body):
            self._backoff.settled(name)
            return
        content = hash(tuple(sorted(port["name"] for port in body)))
        if (left := self._backoff.pause(name, content, self._clock())) > 0:
            self._queue.add(name, after=left)
            return
        await self._write(entry, body)
        self._backoff.wrote(name, content, self._clock())

    async def _write(self, entry: Entry, ports: list[dict[str, Any]]) -> None:
        namespace, _, name = entry.name.partition("/")
        # The version makes sure that no port of this number has come that is not ours: force would take it over.
        metadata = {"name": name, "namespace": namespace, "resourceVersion": entry.version}
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
        if ports:
            body["spec"] = {"ports": ports}
        self.writes += 1
        await self._api.request(
            "PATCH",
            SERVICES.path(namespace, name),
            query=(("fieldManager", MANAGER), ("force", "true")),
            body=body,
            content_type="application/apply-patch+yaml",
        )
        _log.info("Service %s has %d ports of applications", entry.name, len(ports))

    async def _let_through(self, keys: tuple[PortKey, ...]) -> None:
        """The NetworkPolicy with these ports. Without such a policy there is nothing to do: somebody has removed it. Raises
        ApiError."""
        now = self._clock()
        if not self._policy:
            return
        if self._in_policy is not None and self._in_policy[0] == keys and now - self._in_policy[1] < RESYNC_SECONDS:
            return
        ports = [{"protocol": key.protocol, "port": key.port} for key in keys]
        ingress = [{"ports": ports}] if ports else []
        try:
            await self._let_in(ingress)
        except ApiError as error:
            if error.status != 404:
                raise
        self._in_policy = (keys, now)

    async def _let_in(self, ingress: list[dict[str, Any]]) -> None:
        """Write this version of the policy and no later one: what another leader has written meanwhile is looked at first."""
        path = NETWORK_POLICIES.path(self._namespace, self._policy)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            found = _policy(await self._api.request("GET", path))
            if found.spec.ingress == ingress or not self._leads():
                return
            body = {"metadata": {"resourceVersion": found.metadata.resource_version}, "spec": {"ingress": ingress}}
            try:
                await self._api.request(
                    "PATCH", path, query=(("fieldManager", MANAGER),), body=body, content_type="application/merge-patch+json"
                )
            except ApiError as error:
                if error.status != CONFLICT or attempt == MAX_ATTEMPTS:
                    raise
            else:
                return


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Ingress(msgspec.Struct, frozen=True):
    ingress: list[Any] = []


class _Policy(msgspec.Struct, frozen=True):
    metadata: _Meta
    spec: _Ingress = _Ingress()


def _policy(data: bytes) -> _Policy:
    try:
        return msgspec.json.decode(data, type=_Policy)
    except ValueError as error:
        raise ApiError(f"not a NetworkPolicy: {error}") from error


def service_ports(entry: Entry, keys: Iterable[PortKey]) -> list[dict[str, Any]]:
    """The ports of ours that a Service should have: without those whose number something else has there."""
    return [
        {"name": own_name(key), "port": key.port, "protocol": key.protocol, "targetPort": key.port}
        for key in sorted(keys)
        if entry.stranger(key) is None
    ]


def _is_right(entry: Entry, ports: list[dict[str, Any]]) -> bool:
    has = {port.name for port in entry.ports if port.is_ours}
    return has == {port["name"] for port in ports} and all(port.is_right for port in entry.ports if port.is_ours)


def _entries(entries: Iterable[str], known: Collection[str]) -> Iterator[str]:
    for entry in entries:
        yield from known if entry == EVERY_ENTRY else (entry,)
