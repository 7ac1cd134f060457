"""One backend of one target as one interceptor sees it: its idle connections, its slots, and whether it is trusted.

Only connections that can take one more exchange are kept here; a connection in use belongs to its attempt. Requests are sent to
trusted backends only. A new backend is trusted, unless its target has a readiness path, which it must answer first. A backend
that refused a connection is not trusted until a probe succeeds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

from fleet.discovery.sources import Backend
from fleet.routing.target import Connects
from fleet.runtime.address import join_address
from interceptor.core.deadlines import NEVER, Deadlines
from interceptor.core.sides import Upstream

__all__ = ["FIRST_PAUSE", "MAX_DIALS", "DialRequest", "Endpoint", "Owner", "PoolLimits", "ProbeRule", "Slot"]

MAX_DIALS: Final = 32
"""Connections being opened to one backend at once. Small servers have short accept queues; if one overflows, the kernel retries
after a second."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 3.0
"""Seconds between probes of a backend that is not trusted: doubled after each probe, up to this."""
URGENT_PAUSE: Final = 0.25
"""The longest pause while requests wait and no backend is trusted. Probes are cheap for both sides."""
JITTER: Final = 0.2
"""Random share of each pause, so that the interceptors of a fleet do not all probe at the same time."""

_random = random.random


class PoolLimits:
    """Limits that apply to every endpoint of an interceptor."""

    __slots__ = ("idle_timeout", "max_idle")

    def __init__(self, *, idle_timeout: float, max_idle: int) -> None:
        self.idle_timeout = idle_timeout
        self.max_idle = max_idle


class ProbeRule(NamedTuple):
    """How the backends of a target are probed."""

    path: str | None = None
    """The backend has to answer a GET of this path with 200 to 399. None: an accepted connection is enough."""
    connect: float = math.inf
    """Seconds to connect."""


class DialRequest(Protocol):
    """Receives the result of a dial."""

    def connected(self, endpoint: Endpoint, connection: Upstream) -> bool:
        """Use the connection. Returns False if it is no longer needed."""

    def dial_failed(self, endpoint: Endpoint, error: Exception) -> None:
        """The backend failed, or, if the error is Unavailable, this machine did."""


class Owner(Protocol):
    """The set that an endpoint belongs to."""

    key: str
    connects: Connects
    server_name: str
    limits: PoolLimits
    deadlines: Deadlines
    rule: ProbeRule
    last_error: str
    outside: bool
    """Whether its backends are outside of discovery."""
    probing: int
    """Probes requested and not finished. Counted by the prober."""

    @property
    def ready(self) -> Collection[Endpoint]: ...
    @property
    def waiting_apps(self) -> Collection[object]: ...
    def clock(self) -> float: ...
    def trust_changed(self) -> None:
        """An endpoint has become trusted or untrusted."""

    def probe(self, endpoint: Endpoint) -> bool:
        """Start a probe of the endpoint. Returns False if too many probes are running."""

    def failed(self, endpoint: Endpoint, error: Exception) -> Exception:
        """No connection could be opened. Returns Unavailable if that says nothing about the backend."""

    def note_protocol(self, endpoint: Endpoint, error: Exception) -> None:
        """The backend speaks another protocol than it is spoken to with."""

    def pump(self, now: float) -> None:
        """Send waiting requests to backends with free slots."""

    def dial(self, endpoint: Endpoint, request: DialRequest, *, timeout: float) -> None:
        """Open a connection within `timeout` seconds, and report the result to the request."""


class Keeper(Protocol):
    """Something that depends on the backend, beside exchanges."""

    def backend_gone(self, now: float) -> None:
        """Discovery does not list it any more."""


class Endpoint:
    """One backend address of one target."""

    __slots__ = (
        "_failed_at",
        "address",
        "authority",
        "backend",
        "bucket",
        "deadline",
        "dialing",
        "failures",
        "gone",
        "kept",
        "load",
        "own",
        "owner",
        "spare",
        "speaks",
        "trusted",
    )

    def __init__(self, backend: Backend, owner: Owner) -> None:
        self.backend = backend
        self.address = join_address(backend.host, backend.port)
        self.authority = self.address.encode()
        """Used as the Host of a request without one."""
        self.owner = owner
        self.speaks = owner.connects.spoken(backend.app_protocol)
        self.trusted = True
        self.spare: list[Upstream] = []
        """Connections that can take one more exchange; one that is taken is removed. A protocol with several exchanges on one
        connection offers the connection again while it has room."""
        self.own: set[Upstream] = set()
        """Idle connections that are each reserved for one client, which may have authenticated the connection."""
        self.load = 0
        """Slots in use: unfinished exchanges of this interceptor at this backend. Counted by `Slot`."""
        self.kept: set[Keeper] = set()
        """Leases of this backend, which goes on working after its answers."""
        self.dialing = 0
        self.failures = 0
        self.gone = False
        self.deadline = NEVER
        """When the next probe is due."""
        self.bucket = 0
        self._failed_at = -math.inf

    @property
    def work(self) -> int:
        """What would be lost with the backend: unfinished exchanges, and leases of applications that it works for."""
        return self.load + len(self.kept)

    def takes(self, bound: int) -> bool:
        """Whether the backend can take one more request now, if it may have up to `bound` of them."""
        return self.load < bound and (bool(self.spare) or self.dialing < MAX_DIALS)

    def offer(self, connection: Upstream, now: float) -> None:
        """Keep a connection that can take an exchange, or close it if enough are kept."""
        if self.gone or len(self.spare) >= self.owner.limits.max_idle:
            connection.close()
            return
        connection.deadline = now + self.owner.limits.idle_timeout
        self.spare.append(connection)
        if not connection.bucket:
            self.owner.deadlines.watch(connection)

    def keep_own(self, connection: Upstream, now: float) -> None:
        """Keep a connection for the next request of the client that may have authenticated it."""
        self.own.add(connection)
        connection.deadline = now + self.owner.limits.idle_timeout
        self.owner.deadlines.watch(connection)

    def withdraw(self, connection: Upstream) -> None:
        """A kept connection was closed."""
        self.own.discard(connection)
        if connection in self.spare:
            self.spare.remove(connection)

    def enlist(self, *, trusted: bool) -> None:
        """Discovery lists the backend, for the first time or again: earlier failures no longer count."""
        self.gone = False
        self.trusted = trusted
        self.failures = 0
        self.deadline = NEVER

    def retire(self) -> None:
        """Discovery no longer lists the backend: close kept connections; exchanges at it continue."""
        self.gone = True
        self.owner.deadlines.forget(self)
        kept = [*self.spare, *self.own]
        self.spare = []
        self.own.clear()
        for connection in kept:
            connection.close()
        if self.kept:
            now = self.owner.clock()
            for keeper in list(self.kept):
                keeper.backend_gone(now)

    def set_aside(self, now: float) -> None:
        """The backend refused a connection: do not choose it until a probe succeeds. Dials that fail together count once."""
        if self.trusted:
            self.trusted = False
            self.owner.trust_changed()
            self._pause(now)

    def on_deadline(self, now: float) -> None:
        """The pause between probes has ended."""
        self.deadline = NEVER
        if not self.owner.probe(self):
            self.deadline = now + FIRST_PAUSE

    def probe_sooner(self, now: float) -> None:
        """A request waits for a backend: shorten the pause to the shortest."""
        if self.deadline == NEVER:
            return
        self.deadline = min(self.deadline, max(now, self._failed_at + FIRST_PAUSE))
        if self.deadline > now or not self.owner.probe(self):
            self.owner.deadlines.watch(self)
        else:
            self.owner.deadlines.forget(self)
            self.deadline = NEVER

    def passed(self) -> None:
        """The backend accepted a connection, or passed its probe: it is trusted."""
        self.failures = 0
        if not self.trusted:
            self.trusted = True
            self.owner.deadlines.forget(self)
            self.deadline = NEVER
            self.owner.trust_changed()

    def failed(self, now: float) -> None:
        """The backend did not pass its probe."""
        if not self.trusted and not self.gone:
            self._pause(now)

    def _pause(self, now: float) -> None:
        self.failures += 1
        self._failed_at = now
        longest = URGENT_PAUSE if self.owner.waiting_apps and not self.owner.ready else LONGEST_PAUSE
        pause = min(longest, FIRST_PAUSE * 2 ** min(self.failures - 1, 10))
        self.deadline = now + pause * (1 + JITTER * (_random() - 0.5))
        if not self.gone:
            self.owner.deadlines.watch(self)


class Slot:
    """One more exchange's slot at a backend, counted from its creation until it is released. Releasing it twice has no effect."""

    __slots__ = ("endpoint", "taken")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.taken = True
        endpoint.load += 1

    def leave(self, now: float) -> None:
        """Release the slot, and let a waiting request have it: the exchange has ended or uses another backend."""
        if self.taken:
            self.taken = False
            self.endpoint.load -= 1
        owner = self.endpoint.owner
        if owner.waiting_apps:
            owner.pump(now)

    def vacate(self) -> None:
        """Release the slot of a connection that failed, without serving waiting requests yet, so that this exchange chooses
        another backend before them. They are served right afterwards: by `leave` if a connection was lost, by the endpoint set
        if none could be opened."""
        if self.taken:
            self.taken = False
            self.endpoint.load -= 1
