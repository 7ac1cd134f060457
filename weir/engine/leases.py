"""Ports that apps of a file have by the names of leases, as in a cluster: free numbers, which stay while the engine runs.

The first number tried follows from the file and the name, so that a lease usually has the same number after a restart, and two
files on one machine rarely want the same.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from controller.portleases.choice import PortLimits, candidates
from fleet.defaults import FIRST_LEASED_PORT, LAST_LEASED_PORT, MAX_PORTS_OF_FLEET
from fleet.routing.port import UDP
from fleet.runtime.address import LOOPBACKS
from fleet.runtime.listen import in_use
from weir.engine.ports import NoPortError, Ports

__all__ = ["LocalLease", "LocalLeases"]

Key = tuple[str, str]
"""Namespace and name."""
LIMITS = PortLimits(FIRST_LEASED_PORT, LAST_LEASED_PORT, MAX_PORTS_OF_FLEET, MAX_PORTS_OF_FLEET, 0.0)


@dataclass(frozen=True, slots=True)
class LocalLease:
    """A port, and what it is called."""

    namespace: str
    name: str
    protocol: str
    port: int

    @property
    def id(self) -> str:
        return f"{self.protocol.lower()}-{self.port}"


class LocalLeases:
    """Those of one engine. The file is read on other threads than the one that answers commands."""

    def __init__(self, place: str) -> None:
        """`place` is the file."""
        self._place = place
        self._lock = Lock()
        self._leases: dict[Key, LocalLease] = {}
        self._reserved: set[Key] = set()
        """Those that a command has asked for."""
        self._in_force: dict[Key, LocalLease] = {}
        """As they are without what a version of the file has asked for that is being read."""
        self._given: Callable[[], Collection[int]] = tuple
        """Ports that processes have, and may not listen on yet."""
        self._users: Mapping[Key, str] = {}
        self._taken: Collection[int] = frozenset()

    def beside_processes(self) -> Ports:
        """Ports for processes, which are none of these; and none of those is leased from then on."""
        ports = Ports(lambda: self.numbers)
        self._given = lambda: ports.given
        return ports

    def take(self, namespace: str, name: str, protocol: str, taken: Collection[int]) -> int:
        """The port of the lease of this name, which is made if there is none. Raises NoPortError."""
        with self._lock:
            return self._take((namespace, name), protocol, taken).port

    def settle(self, users: Mapping[Key, str], taken: Collection[int]) -> None:
        """The file in force names these leases, for these apps, and these ports by their numbers. Others that nobody has asked
        for end."""
        with self._lock:
            self._users, self._taken = users, taken
            for key in self._leases.keys() - users.keys() - self._reserved:
                del self._leases[key]
            self._in_force = dict(self._leases)

    def forget(self) -> None:
        """A version of the file does not come into force: leases are as they were before it was read."""
        with self._lock:
            self._leases = dict(self._in_force)

    def reserved(self, protocol: str, port: int) -> LocalLease | None:
        """The lease of this port that a command has asked for."""
        with self._lock:
            found = (self._leases[key] for key in self._reserved)
            return next((lease for lease in found if (lease.protocol, lease.port) == (protocol, port)), None)

    @property
    def numbers(self) -> Collection[int]:
        """All ports that are leased."""
        with self._lock:
            return frozenset(lease.port for lease in self._leases.values())

    def reserve(self, namespace: str, name: str, protocol: str) -> tuple[LocalLease, bool]:
        """Keep a lease until it is released, or the engine ends; returns whether it is new. Raises NoPortError."""
        with self._lock:
            key = (namespace, name)
            before = self._leases.get(key)
            self._check_protocol(before, protocol)
            lease = self._take(key, protocol, self._taken)
            self._reserved.add(key)
            self._in_force[key] = lease
            return lease, before is None

    def release(self, namespace: str, name: str) -> None:
        """By its name, or as "tcp-20000". Raises NoPortError."""
        with self._lock:
            found = (key for key, lease in self._leases.items() if key[0] == namespace and name in (lease.name, lease.id))
            key = next(found, None)
            if key is None:
                raise NoPortError(f"there is no lease {name}")
            if key in self._users:
                raise NoPortError(f"app {self._users[key]} asks for it: take it out there, and it is released")
            self._reserved.discard(key)
            del self._leases[key]
            self._in_force.pop(key, None)

    def every(self) -> Sequence[tuple[LocalLease, str]]:
        """Each with its app, or "", sorted by name."""
        with self._lock:
            return [(self._leases[key], self._users.get(key, "")) for key in sorted(self._leases)]

    def _take(self, key: Key, protocol: str, taken: Collection[int]) -> LocalLease:
        found = self._leases.get(key)
        if found is not None and key in self._reserved:  # kept, whatever the file says
            self._check_protocol(found, protocol)
            return found
        if found is not None and found.protocol == protocol and found.port not in taken:
            return found
        others = {lease.port for other, lease in self._leases.items() if other != key}
        if len(others) >= LIMITS.most:
            raise NoPortError(f"there are {LIMITS.most} leases already, and that is the most")
        tried = candidates(LIMITS, f"{self._place}:{'/'.join(key)}", {*taken, *others, *self._given()})
        port = next((port for port in tried if not _is_used(protocol, port)), None)
        if port is None:
            raise NoPortError(f"no {protocol} port {LIMITS.span} is free")
        self._leases[key] = lease = LocalLease(*key, protocol, port)
        return lease

    @staticmethod
    def _check_protocol(lease: LocalLease | None, protocol: str) -> None:
        if lease is not None and lease.protocol != protocol:
            raise NoPortError(f"lease {lease.name} is of {lease.protocol} port {lease.port}")


def _is_used(protocol: str, port: int) -> bool:
    if protocol != UDP:
        return any(in_use(host, port) for host in LOOPBACKS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((LOOPBACKS[0], port))
        except OSError:
            return True
    return False
