"""Which ports an object gets: those of its numbers that are nobody else's, and those of its leases. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from controller.portleases.lease import PortLease
from controller.ports import AskedPort
from controller.resources import Key
from fleet.defaults import MAX_PORTS_OF_FLEET
from fleet.routing.port import ListenPort
from fleet.routing.port_index import PortKey

__all__ = ["EVERY_ENTRY", "NO_LEASES", "Assigned", "PortView", "assign", "named"]

EVERY_ENTRY = ""


class PortView(msgspec.Struct, frozen=True):
    """What a table is made with."""

    most: int
    """Ports of all applications together."""
    leases: Mapping[PortKey, PortLease] | None = MappingProxyType({})
    """None while they were not read."""
    names: Mapping[tuple[str, str], PortLease] = MappingProxyType({})
    """The same by namespace and name."""
    entries: Collection[str] = ()
    """Names of the Services before the interceptors, "namespace/name"."""
    is_on: bool = True
    """Whether this controller gives leases."""
    most_of_namespace: int = MAX_PORTS_OF_FLEET
    """Ports of all applications of one namespace, with those that are leased and not used."""

    @classmethod
    def of(
        cls,
        most: int,
        leases: Mapping[PortKey, PortLease] | None,
        entries: Collection[str],
        most_of_namespace: int = MAX_PORTS_OF_FLEET,
    ) -> PortView:
        return cls(most, leases, named(leases or {}), entries, most_of_namespace=most_of_namespace)


NO_LEASES = PortView(MAX_PORTS_OF_FLEET, is_on=False)


class Assigned(msgspec.Struct, frozen=True):
    """What one object gets, and what it does not."""

    ports: tuple[ListenPort, ...] = ()
    entries: tuple[tuple[PortKey, str], ...] = ()
    """The entry of each port."""
    lost: tuple[tuple[PortKey, Key], ...] = ()
    """Ports that are somebody else's, and whose."""
    waits: tuple[str, ...] = ()
    """Ports that it does not have yet, and why."""


def assign(key: Key, uid: str, asked: Iterable[AskedPort], view: PortView) -> Assigned:
    """The ports of one object."""
    ports: list[ListenPort] = []
    entries: list[tuple[PortKey, str]] = []
    lost: list[tuple[PortKey, Key]] = []
    waits: list[str] = []
    for one in asked:
        lease = _lease_of(one, key, view)
        what = f"lease {one.lease}" if one.lease else str(_key(one.port))
        entry = lease.entry if lease is not None and one.lease else _entry(one.entry, view.entries)
        if one.lease and lease is None:
            waits.append(f"{what}: {_why_not(view)}")
        elif one.lease and lease is not None and lease.port.protocol != one.port.protocol:
            waits.append(f"{what} is of {lease.port}")
        elif lease is not None and (whose := _other(lease, key)) is not None:
            lost.append((lease.port, whose))
        elif lease is not None and (lease.holder is None or lease.holder_uid not in ("", uid)):
            waits.append(f"{what}: its lease was not bound to this object yet")
        elif entry is None:
            waits.append(f"{what}: there is no entry {one.entry}")
        else:
            port = one.port if lease is None else msgspec.structs.replace(one.port, port=lease.port.port)
            ports.append(port)
            entries.append((_key(port), entry))
    return Assigned(tuple(ports), tuple(entries), tuple(lost), tuple(waits))


def named(leases: Mapping[PortKey, PortLease]) -> Mapping[tuple[str, str], PortLease]:
    """Leases by namespace and name; of several of one name, the oldest."""
    ordered = sorted(leases.values(), key=lambda lease: (lease.created, lease.port), reverse=True)
    return {(lease.namespace, lease.name): lease for lease in ordered}


def _lease_of(one: AskedPort, key: Key, view: PortView) -> PortLease | None:
    if one.lease:
        return view.names.get((key.namespace, one.lease))
    return (view.leases or {}).get(_key(one.port))


def _why_not(view: PortView) -> str:
    if not view.is_on:
        return "this controller gives no leases (WEIR_PORTS)"
    return "no port was leased yet" if view.leases is not None else "the leases were not read yet"


def _other(lease: PortLease, key: Key) -> Key | None:
    """Whose a lease is, if it is not this object's and cannot be."""
    if lease.holder is None:
        return None if lease.namespace == key.namespace else Key("Lease", lease.namespace, lease.name)
    return None if lease.holder == key else lease.holder


def _entry(wish: str, entries: Collection[str]) -> str | None:
    """The entry of a port with a number: that of its name, or all; None if there is none of this name."""
    if not wish:
        return EVERY_ENTRY
    return next(_matching(wish, entries), None)


def _matching(wish: str, entries: Collection[str]) -> Iterator[str]:
    yield from (entry for entry in entries if wish in (entry, entry.partition("/")[2]))


def _key(port: ListenPort) -> PortKey:
    return PortKey(port.protocol, port.port)
