"""Puts the ports of the table into the Services before the interceptors, and into a NetworkPolicy, while its controller leads.

Ports that are not ours are left alone: server-side apply names our own only, with a manager of its own, and is refused if the
Service has changed since it was looked at. A port of ours has a name that says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from controller.portleases.assignment import EVERY_ENTRY
from controller.portleases.entry import Entry, own_name
from controller.portleases.source import PortSource
from controller.write_backoff import WriteBackoff
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.discovery.kubernetes.objects import SERVICES, Resource
from fleet.routing.port_index import PortKey
from fleet.runtime.pauses import Pauses

__all__ = ["MANAGER", "NETWORK_POLICIES", "EntryWriter", "service_ports"]

MANAGER = "weir-ports"
"""Field manager of the ports in Services."""
NETWORK_POLICIES = Resource("/apis/networking.k8s.io/v1", "networkpolicies")
COLLECT_SECONDS = 0.1
"""For which changes are collected, to be written together."""
RESYNC_SECONDS = 600.0
"""After which the NetworkPolicy, which is not watched, is written again."""

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
        self._pauses = Pauses(1.0, 60.0)
        self._backoff = WriteBackoff()
        self._troubles: dict[str, str] = {}
        """By entry, or "" for the NetworkPolicy."""
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
        if "" in self._troubles:
            yield self._troubles[""]

    async def run(self) -> None:
        """Run until cancelled."""
        await self._source.known()
        self._changed.set()
        while True:
            try:
                async with asyncio.timeout(RESYNC_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(COLLECT_SECONDS)
            self._changed.clear()
            before = dict(self._troubles)
            pause = await self._write_all()
            if before != self._troubles:
                self._on_trouble()
            if pause is None:
                self._pauses.reset()
            else:
                self._changed.set()
                await asyncio.sleep(pause)

    async def _write_all(self) -> float | None:
        """Write what differs; returns after how many seconds to try again."""
        wanted = self._wanted()
        if wanted is None or not self._leads():
            return None
        pauses: list[float] = []
        entries = self._source.entries
        for name in self._troubles.keys() - entries.keys() - {""}:
            del self._troubles[name]
        for entry in entries.values():
            ports = [key for key in wanted if entry.name in wanted[key] or EVERY_ENTRY in wanted[key]]
            body = service_ports(entry, ports)
            if _is_right(entry, body):
                self._troubles.pop(entry.name, None)
                self._backoff.settled(entry.name)
                continue
            content = hash(tuple(sorted(port["name"] for port in body)))
            if (left := self._backoff.pause(entry.name, content, self._clock())) > 0:
                pauses.append(left)
                continue
            if await self._tried(entry.name, self._write(entry, body)):
                self._backoff.wrote(entry.name, content, self._clock())
            else:
                pauses.append(self._pauses.next())
        if self._policy and not await self._tried("", self._let_through(tuple(sorted(wanted)))):
            pauses.append(self._pauses.next())
        return min(pauses, default=None)

    async def _tried(self, name: str, write: Any) -> bool:
        try:
            await write
        except ApiError as error:
            if error.status != 409:  # it has changed since it was looked at, and is looked at again
                if self._troubles.get(name) != str(error):
                    _log.warning("ports: %s", error)
                self._troubles[name] = str(error)
            return False
        self._troubles.pop(name, None)
        return True

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
        """The NetworkPolicy with these ports. Without such a policy there is nothing to do: somebody has removed it."""
        now = self._clock()
        if self._in_policy is not None and self._in_policy[0] == keys and now - self._in_policy[1] < RESYNC_SECONDS:
            return
        ports = [{"protocol": key.protocol, "port": key.port} for key in keys]
        body = {"spec": {"ingress": [{"ports": ports}] if ports else []}}
        path = NETWORK_POLICIES.path(self._namespace, self._policy)
        try:
            await self._api.request(
                "PATCH", path, query=(("fieldManager", MANAGER),), body=body, content_type="application/merge-patch+json"
            )
        except ApiError as error:
            if error.status != 404:
                raise
        self._in_policy = (keys, now)


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
