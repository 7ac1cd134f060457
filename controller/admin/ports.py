"""What is done with leases of ports for callers of the Admin API."""

from __future__ import annotations

import hashlib
import logging
import secrets
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from controller.admin.documents import Fault
from controller.admin.openapi import BODIES
from controller.admin.problems import Refused
from controller.portleases.entry import Wish
from controller.portleases.lease import Holder, PortLease, key_of
from controller.portleases.objects import KINDS, holder_of, is_named, read_object
from controller.portleases.part import PortSystem
from controller.portleases.store import ContendedError, FullError, NoEntryError, PortError, TakenError, Wanted
from controller.resources import Key
from controller.schema.ports import LEASE_NAME, MAX_ENTRY_NAME, MAX_LEASE_NAME
from controller.selectors import parse_selector
from fleet.defaults import PORT_LIMIT
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.routing.duration import DURATION_PATTERN, seconds
from fleet.routing.port import TCP
from fleet.routing.port_index import PortKey

__all__ = ["Port", "PortList", "PortRequest", "Ports", "etag_of_port"]

MAX_TTL_SECONDS = 7 * 86_400
"""For which a lease may last that nothing uses."""
RETRY_AFTER_SECONDS = 5
"""When a caller may ask again for what is not there now."""
_log = logging.getLogger(__name__)
_STATUSES: dict[type[PortError], tuple[int, str]] = {
    FullError: (503, "no-port"),
    TakenError: (409, "port-taken"),
    NoEntryError: (404, "no-entry"),
    ContendedError: (503, "contended"),
}


class PortRequest(BaseModel):
    """A lease of a port. Without anything: any free port of any entry, for as long as the controller's settings say."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[
        str,
        StringConstraints(pattern=LEASE_NAME, max_length=MAX_LEASE_NAME),
        Field(description="What routes of the namespace call it. The same call again gives the same lease. Default: some name."),
    ] = ""
    protocol: Annotated[str, Field(pattern="^(TCP|UDP)$", description="TCP or UDP.")] = TCP
    port: Annotated[int | None, Field(ge=1, le=PORT_LIMIT, description="This number; default: any of the range.")] = None
    entry: Annotated[
        str, StringConstraints(max_length=MAX_ENTRY_NAME), Field(description="The Service before the interceptors.")
    ] = ""
    address: Annotated[str, StringConstraints(max_length=253), Field(description="An address of that Service.")] = ""
    selector: Annotated[
        str, StringConstraints(max_length=1024), Field(description="Labels of that Service, as kubectl -l takes them.")
    ] = ""
    app: Annotated[
        str,
        StringConstraints(max_length=253),
        Field(description="The HTTPScaledObject or InterceptorRoute that it is for; the lease ends with it."),
    ] = ""
    ttl: Annotated[
        str | None,
        Field(pattern=DURATION_PATTERN, max_length=64, description="For how long, if nothing uses it; at most 168h."),
    ] = None

    @field_validator("name")
    @classmethod
    def _is_no_port(cls, name: str) -> str:
        if key_of(name) is not None:
            raise ValueError("looks like a port: choose another name")
        return name


BODIES.append(PortRequest)


class Port(BaseModel):
    """A lease of a port."""

    id: str = Field(description="By which it is named, like tcp-20000.")
    name: str
    namespace: str
    protocol: str
    port: int
    entry: str = Field(description="The Service that leads there, namespace/name.")
    address: str = Field(description="The address of that Service, of its load balancer if it has one; empty if unknown.")
    app: str | None = Field(None, description="The object that it is for, KIND/NAME.")
    by_route: bool = Field(False, description="It was made because an object names it, and ends when that does not any more.")
    until: str | None = Field(None, description="When it ends (RFC 3339), if nothing uses it until then.")
    leased_by: str = ""


class PortList(BaseModel):
    """The leases of a namespace."""

    items: list[Port]


class Ports:
    """`system` is None where this controller gives no leases."""

    def __init__(self, api: Api, system: PortSystem | None) -> None:
        self._api, self._system = api, system

    @property
    def is_on(self) -> bool:
        return self._system is not None

    async def lease(self, user: str, namespace: str, asked: PortRequest) -> tuple[PortLease, bool]:
        """The lease, and whether it is new. Raises Refused and ApiError."""
        store, ttl = self._known().store, self._ttl(asked)
        holder = await self._app(namespace, asked.app) if asked.app else None
        wanted = Wanted(
            namespace=namespace,
            name=asked.name or f"port-{secrets.token_hex(5)}",
            protocol=asked.protocol,
            port=asked.port,
            wish=_wish(asked),
            holder=holder,
            seconds=ttl,
            user=user,
        )
        try:
            lease, created = await store.lease(wanted)
        except PortError as error:
            raise _refused(error) from error
        if created:
            return lease, True
        return await self._again(lease, holder, ttl), False

    async def _again(self, lease: PortLease, holder: Holder | None, ttl: float | None) -> PortLease:
        """A lease that was there, for what is asked now: bound, or with its time begun anew."""
        if lease.holder is None:
            return await self._known().store.change(lease, holder, ttl)
        if holder is not None and (lease.holder, lease.holder_uid) != (holder.key, holder.uid):
            raise Refused(409, "port-taken", f"{lease.port} belongs to {lease.holder}")
        return lease

    async def all_of(self, namespace: str) -> list[PortLease]:
        """Raises Refused and ApiError."""
        leases = await self._known().store.read()
        return [lease for _, lease in sorted(leases.items()) if lease.namespace == namespace]

    async def there(self, namespace: str, port: PortKey, asked: PortRequest) -> PortLease | None:
        """The namespace's lease of this port, if there is one. Raises Refused, also if it is at another entry, and ApiError."""
        store = self._known().store
        lease = (await store.read()).get(port)
        if lease is None or lease.namespace != namespace:
            return None
        try:
            store.check_entry(lease, _wish(asked))
        except PortError as error:
            raise _refused(error) from error
        return lease

    async def get(self, namespace: str, name: str) -> PortLease:
        """By its id or its name. Raises Refused and ApiError."""
        found = await self.all_of(namespace)
        lease = next((one for one in found if name in (one.id, one.name)), None)
        if lease is None:
            raise Refused(404, "not-found", f"namespace {namespace} has no lease {name}")
        return lease

    async def release(self, namespace: str, name: str, if_match: str | None) -> None:
        """Raises Refused and ApiError."""
        lease = await self.get(namespace, name)
        if if_match is not None and if_match.strip() not in ("*", etag_of_port(lease)):
            raise Refused(412, "changed", "the lease was changed since")
        if lease.holder is not None and lease.holder.kind in KINDS:
            user = await read_object(self._api, lease.holder)
            if user is not None and user.meta.uid == lease.holder_uid and is_named(lease, user):
                raise Refused(409, "in-use", f"{lease.holder} asks for it: take it out there, and it is released")
        try:
            await self._known().store.release(lease)
        except ApiError as error:
            if error.status == 409:
                raise Refused(409, "conflict", "the lease was changed meanwhile") from error
            raise

    async def bind(self, lease: PortLease, holder: Holder) -> PortLease:
        """The lease, which is the holder's now. The leader may have been faster. Raises ApiError."""
        try:
            return await self._known().store.change(lease, holder)
        except ApiError as error:
            now = (await self._known().store.read()).get(lease.port) if error.status == 409 else None
            if now is None or (now.uid, now.holder, now.holder_uid) != (lease.uid, holder.key, holder.uid):
                raise
            return now

    async def give_up(self, lease: PortLease) -> None:
        """Release a lease that a failed call has made. If it is somebody's meanwhile, it is kept; if it cannot
        be released, it ends with its time."""
        try:
            await self._known().store.release(lease)
        except ApiError as error:
            _log.warning("the lease of %s is kept until its time is over: %s", lease.port, error)

    def shown(self, lease: PortLease) -> Port:
        entry = self._known().source.entries.get(lease.entry)
        return Port(
            id=lease.id,
            name=lease.name,
            namespace=lease.namespace,
            protocol=lease.port.protocol,
            port=lease.port.port,
            entry=lease.entry,
            address="" if entry is None else entry.public,
            app=None if lease.holder is None else f"{lease.holder.kind}/{lease.holder.name}",
            by_route=lease.by_route,
            until=None if lease.until is None else datetime.fromtimestamp(lease.until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            leased_by=lease.user,
        )

    def _known(self) -> PortSystem:
        if self._system is None:
            raise Refused(501, "no-leases", "this controller leases no ports (WEIR_PORTS)")
        if not self._system.source.is_known:
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise Refused(503, "not-known", "leases and entries were not read yet", headers=headers)
        return self._system

    async def _app(self, namespace: str, name: str) -> Holder:
        for kind in KINDS:
            found = await read_object(self._api, Key(kind, namespace, name))
            if found is not None:
                return holder_of(found)
        raise _wrong("app", f"there is no HTTPScaledObject and no InterceptorRoute {name[:100]}")

    def _ttl(self, asked: PortRequest) -> float | None:
        if asked.ttl is None:
            return None
        try:
            length = seconds(asked.ttl)
        except ValueError as error:
            raise _wrong("ttl", str(error)) from error
        if not 1 <= length <= MAX_TTL_SECONDS:
            raise _wrong("ttl", "is not between 1s and 168h")
        return length


def _wish(asked: PortRequest) -> Wish:
    """Raises Refused."""
    try:
        return Wish(asked.entry, asked.address, parse_selector(asked.selector))
    except ValueError as error:
        raise _wrong("selector", str(error)) from error


def etag_of_port(lease: PortLease) -> str:
    """Of what a lease says now."""
    return f'"{hashlib.sha256(f"{lease.uid} {lease.version}".encode()).hexdigest()[:32]}"'


def _refused(error: PortError) -> Refused:
    status, kind = _STATUSES[type(error)]
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
    return Refused(status, kind, str(error), headers=headers)


def _wrong(field: str, detail: str) -> Refused:
    return Refused(422, "invalid-document", f"/{field}: {detail}", errors=[Fault(detail=detail, pointer=f"/{field}")])
