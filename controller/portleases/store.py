"""Makes, binds and releases leases. Any controller may, at once with others: what decides is the API server, which creates one
object of a name only, and changes it only for those who have seen its last version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from time import time

import msgspec

from controller.leader import LEASES
from controller.portleases.choice import PortLimits, candidates
from controller.portleases.entry import Entry, Wish
from controller.portleases.lease import LABEL, Holder, PortLease, manifest, name_of, parse_lease, patch
from controller.portleases.source import PortSource
from controller.ports import OWN_PORTS, is_own
from controller.resources import Key
from controller.store import FIELD_MANAGER
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.routing.port_index import PortKey

__all__ = ["ContendedError", "FullError", "NoEntryError", "PortError", "PortStore", "TakenError", "Wanted"]

MAX_ATTEMPTS = 50
"""Ports tried for one lease while others take them at the same time."""
_MERGE = "application/merge-patch+json"
_MANAGER = (("fieldManager", FIELD_MANAGER),)


class PortError(Exception):
    """There is no such lease, and why."""


class FullError(PortError):
    """No port is left."""


class TakenError(PortError):
    """The port is somebody else's."""


class NoEntryError(PortError):
    """No Service fits."""


class ContendedError(PortError):
    """Others were faster each time; it may be tried again."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that somebody asks for."""

    namespace: str
    name: str
    protocol: str
    port: int | None = None
    """None for any of the range."""
    wish: Wish = Wish()
    holder: Holder | None = None
    """None until something uses it."""
    seconds: float | None = None
    by_route: bool = False
    user: str = ""


class PortStore:
    """`fixed` says which ports objects name by number, and which object each is for. `wall` is in seconds since the epoch."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        source: PortSource,
        limits: PortLimits,
        *,
        fixed: Callable[[], Mapping[PortKey, Key]],
        wall: Callable[[], float] = time,
    ) -> None:
        self._api, self._namespace, self._source = api, namespace, source
        self._fixed, self._wall = fixed, wall
        self.limits = limits

    async def lease(self, wanted: Wanted) -> tuple[PortLease, bool]:
        """The lease of this name, or a new one; returns whether it is new. Raises PortError and ApiError."""
        for _ in range(MAX_ATTEMPTS):
            leases = await self.read()  # not from the watch, which may be behind what was leased a moment ago
            if (found := _of_name(leases.values(), wanted)) is not None:
                self.check_entry(found, wanted.wish)
                return found, False
            try:
                return await self._create(self._proposed(wanted, leases), wanted.holder), True
            except ApiError as error:
                if error.status != 409:
                    raise
        raise ContendedError(f"others took each of {MAX_ATTEMPTS} ports that were tried")

    def check_entry(self, lease: PortLease, wish: Wish) -> None:
        """Whether a lease that is there is where somebody wants it. Raises TakenError if it is at another entry, and NoEntryError
        if no entry fits, as for a new one."""
        entries = self._source.entries
        if not wish.fits(entries.get(lease.entry, Entry(lease.entry))):
            if not any(wish.fits(entry) for entry in entries.values()):
                raise self._no_entry()
            raise TakenError(
                f"{lease.port}, lease {lease.name} of namespace {lease.namespace}, is at {lease.entry or 'no entry'}"
            )

    def _proposed(self, wanted: Wanted, leases: Mapping[PortKey, PortLease]) -> PortLease:
        """The lease to try. Raises PortError."""
        entry = self._entry(wanted, leases)
        self._check_counts(wanted, leases)
        port = self._asked(wanted, leases) if wanted.port is not None else self._free(wanted, leases)
        now = self._wall()
        return PortLease(
            port=PortKey(wanted.protocol, port),
            namespace=wanted.namespace,
            name=wanted.name,
            entry=entry.name,
            by_route=wanted.by_route,
            user=wanted.user,
            until=None if wanted.holder is not None else now + (wanted.seconds or self.limits.seconds),
        )

    def _entry(self, wanted: Wanted, leases: Mapping[PortKey, PortLease]) -> Entry:
        entries = self._source.entries
        entry = wanted.wish.choose(entries.values(), Counter(lease.entry for lease in leases.values()))
        if entry is None:
            raise self._no_entry()
        return entry

    def _no_entry(self) -> NoEntryError:
        return NoEntryError(f"no such entry; there are: {', '.join(self._source.entries) or 'none'}")

    def _check_counts(self, wanted: Wanted, leases: Mapping[PortKey, PortLease]) -> None:
        limits, fixed, namespace = self.limits, self._fixed(), wanted.namespace
        if len(leases.keys() | fixed.keys()) >= limits.most:
            raise FullError(f"the interceptors have {limits.most} ports already, and that is the most")
        # Numbers as well: in the table leases come before them, and would take them from applications that are served.
        mine = {port for port, lease in leases.items() if lease.namespace == namespace}
        mine |= {port for port, key in fixed.items() if key.namespace == namespace and port not in leases}
        if wanted.port is not None:  # its own number needs no other
            mine.discard(PortKey(wanted.protocol, wanted.port))
        if len(mine) >= limits.most_of_namespace:
            raise FullError(f"namespace {namespace} has {len(mine)} ports already, and that is the most")

    def _asked(self, wanted: Wanted, leases: Mapping[PortKey, PortLease]) -> int:
        key = PortKey(wanted.protocol, wanted.port or 0)
        if is_own(key.protocol, key.port):
            raise TakenError(f"{key} is a port of the interceptors themselves")
        lease, fixed = leases.get(key), self._fixed().get(key)
        own = wanted.holder.key if wanted.holder is not None else None
        if lease is not None:
            raise TakenError(f"{key} belongs to {lease.owner}")
        if fixed is not None and fixed != own:
            raise TakenError(f"{key} belongs to {fixed}")
        for entry in self._source.entries.values():
            if (name := entry.stranger(key)) is not None:
                raise TakenError(f"{key} is port {name!r} of Service {entry.name}")
        return key.port

    def _free(self, wanted: Wanted, leases: Mapping[PortKey, PortLease]) -> int:
        of_services = (port.key for entry in self._source.entries.values() for port in entry.ports if not port.is_ours)
        keys = (*leases, *self._fixed(), *of_services)
        taken = {key.port for key in keys if key.protocol == wanted.protocol}
        taken |= {port for port in OWN_PORTS if is_own(wanted.protocol, port)}
        port = next(candidates(self.limits, f"{wanted.namespace}/{wanted.name}", taken), None)
        if port is None:
            raise FullError(f"no {wanted.protocol} port {self.limits.span} is left")
        return port

    async def _create(self, lease: PortLease, holder: Holder | None) -> PortLease:
        body = manifest(lease, self._namespace, holder, self._wall())
        path = LEASES.path(self._namespace)
        return _parsed(await self._api.request("POST", path, query=_MANAGER, body=body))

    async def read(self) -> Mapping[PortKey, PortLease]:
        """All leases, as the API server has them now. Raises ApiError."""
        answer = await self._api.get(LEASES.path(self._namespace), [("labelSelector", LABEL)])
        try:
            items = msgspec.json.decode(answer, type=_Listed).items
        except ValueError as error:
            raise ApiError(f"leases of ports: {error}") from error
        return {lease.port: lease for item in items if (lease := _readable(item)) is not None}

    async def change(self, lease: PortLease, holder: Holder | None, seconds: float | None = None) -> PortLease:
        """Give a lease to an object, or to nobody for some time. Raises ApiError: 409 when it has changed meanwhile, 404 when it
        is gone."""
        now = self._wall()
        until = None if holder is not None else now + (seconds or self.limits.seconds)
        body = patch(lease, self._namespace, holder, until=until, now=now)
        path = LEASES.path(self._namespace, name_of(lease.port))
        answer = await self._api.request("PATCH", path, query=_MANAGER, body=body, content_type=_MERGE)
        return _parsed(answer)

    async def release(self, lease: PortLease) -> None:
        """Delete this version of a lease. Raises ApiError: 409 when it has changed meanwhile; one that is gone is no error."""
        body = {"preconditions": {"uid": lease.uid, "resourceVersion": lease.version}}
        try:
            await self._api.request("DELETE", LEASES.path(self._namespace, name_of(lease.port)), body=body)
        except ApiError as error:
            if error.status != 404:
                raise


class _Listed(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


def _readable(data: msgspec.Raw) -> PortLease | None:
    try:
        return parse_lease(data)
    except ValueError:
        return None


def _parsed(data: bytes) -> PortLease:
    try:
        return parse_lease(data)
    except ValueError as error:
        raise ApiError(f"not a lease of a port: {error}") from error


def _of_name(leases: Iterable[PortLease], wanted: Wanted) -> PortLease | None:
    """The lease of this name that there is already; of several the oldest, as everybody finds it."""
    mine = [lease for lease in leases if (lease.namespace, lease.name) == (wanted.namespace, wanted.name)]
    found = min(mine, key=lambda lease: (lease.created, lease.port), default=None)
    if found is not None and (found.port.protocol != wanted.protocol or wanted.port not in (None, found.port.port)):
        raise TakenError(f"lease {wanted.name} of namespace {wanted.namespace} is of {found.port}")
    return found
