"""One backend of one target as one interceptor sees it: connections that can take an exchange, places, and trust.

Only connections that can take one more exchange are kept here; one in use belongs to its attempt. Requests go to backends that
are trusted: one that discovery lists is, unless it has to answer a probe first; one that refused a connection is not, until a
probe went well.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from typing import NamedTuple, Protocol

from fleet.discovery.sources import Backend
from fleet.runtime.address import join_address
from interceptor.core.deadlines import NEVER, Deadlines
from interceptor.core.sides import Upstream

__all__ = ["FIRST_PAUSE", "MAX_DIALS", "DialRequest", "Endpoint", "Owner", "PoolLimits", "ProbeRule", "Slot"]

MAX_DIALS = 32
"""Connections being opened to one backend at once: small servers have short accept queues, and an overflow costs a second."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
"""Seconds between probes of a backend that is not trusted, doubling from the first to the longest."""
URGENT_PAUSE = 0.25
"""The longest pause while requests wait and no backend is trusted. A probe costs both sides next to nothing."""
JITTER = 0.2
"""Share by which pauses differ, so that the interceptors of a fleet do not probe in step."""

_random = random.random


class PoolLimits:
    """Bounds that every endpoint of an interceptor shares."""

    __slots__ = ("idle_timeout", "max_idle")

    def __init__(self, *, idle_timeout: float, max_idle: int) -> None:
        self.idle_timeout = idle_timeout
        self.max_idle = max_idle


class ProbeRule(NamedTuple):
    """How the backends of a target are probed."""

    path: str | None = None
    """It has to answer a GET of this with 200 to 399. None: a connection is enough."""
    connect: float = math.inf
    """Seconds to connect."""


class DialRequest(Protocol):
    """Who waits for a connection that is being opened."""

    def connected(self, endpoint: Endpoint, connection: Upstream) -> bool:
        """Take the connection; False when it is no longer wanted."""

    def dial_failed(self, endpoint: Endpoint, error: Exception) -> None:
        """It was the backend's fault, unless the error is Unavailable."""


class Owner(Protocol):
    """The set that an endpoint is of."""

    key: str
    limits: PoolLimits
    deadlines: Deadlines
    rule: ProbeRule
    last_error: str
    probing: int
    """Probes asked for and not told of yet. Counted by the prober."""

    @property
    def ready(self) -> Collection[Endpoint]: ...
    @property
    def waiting_apps(self) -> Collection[object]: ...
    def clock(self) -> float: ...
    def trust_changed(self) -> None:
        """One is trusted again, or no longer."""

    def probe(self, endpoint: Endpoint) -> bool:
        """Have it probed now. False when too many others are."""

    def pump(self, now: float) -> None:
        """Let in who waits."""

    def dial(self, endpoint: Endpoint, request: DialRequest, *, timeout: float) -> None:
        """Open a connection within so many seconds, and tell the request how it went."""


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
        "load",
        "own",
        "owner",
        "spare",
        "trusted",
    )

    def __init__(self, backend: Backend, owner: Owner) -> None:
        self.backend = backend
        self.address = join_address(backend.host, backend.port)
        self.authority = self.address.encode()
        """For the Host field of a request that names none."""
        self.owner = owner
        self.trusted = True
        self.spare: list[Upstream] = []
        """Each can take one more exchange now, and leaves the list as it is taken. A protocol that carries several on one
        connection offers another place of it by itself."""
        self.own: set[Upstream] = set()
        """Those that rest, and are each kept for one client, which may have authenticated it."""
        self.load = 0
        """Slots of it that are taken: exchanges that this interceptor has given it and that are not over. Counted by them."""
        self.dialing = 0
        self.failures = 0
        self.gone = False
        self.deadline = NEVER
        """When it is probed next."""
        self.bucket = 0
        self._failed_at = -math.inf

    def take(self) -> Slot:
        """A place for one more exchange."""
        return Slot(self)

    def takes(self, bound: int) -> bool:
        """Whether one more request may be given to it now, when it may have up to `bound`."""
        return self.load < bound and (bool(self.spare) or self.dialing < MAX_DIALS)

    def offer(self, connection: Upstream, now: float) -> None:
        """Keep a connection that can take an exchange, for the next one."""
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
        """A kept connection ended."""
        self.own.discard(connection)
        if connection in self.spare:
            self.spare.remove(connection)

    def enlist(self, *, trusted: bool) -> None:
        """Discovery lists it, for the first time or again: what there was against it is forgotten."""
        self.gone = False
        self.trusted = trusted
        self.failures = 0
        self.deadline = NEVER

    def retire(self) -> None:
        """Discovery no longer lists it: exchanges on it go on, kept connections do not."""
        self.gone = True
        self.owner.deadlines.forget(self)
        kept = [*self.spare, *self.own]
        self.spare = []
        self.own.clear()
        for connection in kept:
            connection.close()

    def set_aside(self, now: float) -> None:
        """It refused a connection: choose others. Dials that fail together count once."""
        if self.trusted:
            self.trusted = False
            self.owner.trust_changed()
            self._pause(now)

    def on_deadline(self, now: float) -> None:
        """The pause is over."""
        self.deadline = NEVER
        if not self.owner.probe(self):
            self.deadline = now + FIRST_PAUSE

    def hurry(self, now: float) -> None:
        """Somebody waits for it: be done with the pause, but for its shortest."""
        if self.deadline == NEVER:
            return
        self.deadline = min(self.deadline, max(now, self._failed_at + FIRST_PAUSE))
        if self.deadline > now or not self.owner.probe(self):
            self.owner.deadlines.watch(self)
        else:
            self.owner.deadlines.forget(self)
            self.deadline = NEVER

    def passed(self) -> None:
        """It took a connection, or answered its probe."""
        self.failures = 0
        if not self.trusted:
            self.trusted = True
            self.owner.deadlines.forget(self)
            self.deadline = NEVER
            self.owner.trust_changed()

    def failed(self, now: float) -> None:
        """It did not pass its probe."""
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
    """One exchange's place at a backend, counted from when it is made until it is left. Leaving twice is harmless."""

    __slots__ = ("endpoint", "taken")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.taken = True
        endpoint.load += 1

    def leave(self, now: float) -> None:
        """The exchange is over, or goes elsewhere: whoever waits may have the place."""
        if self.taken:
            self.taken = False
            self.endpoint.load -= 1
        owner = self.endpoint.owner
        if owner.waiting_apps:
            owner.pump(now)

    def vacate(self) -> None:
        """The exchange needs another place, before those that wait: it is to find one, and then to `leave`."""
        if self.taken:
            self.taken = False
            self.endpoint.load -= 1
