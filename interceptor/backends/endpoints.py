"""The backends of a target as one interceptor sees them: idle connections, load, trust. Chooses; dials; keeps no request.

Only connections that nobody uses are kept here; a connection in use belongs to its exchange. Requests go to backends that are
trusted: one that discovery lists is, unless it has to answer a probe first; one that refused a connection is not, until a
probe went well.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import random
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from fleet.discovery.sources import Backend, Trouble
from fleet.runtime.address import join_address
from interceptor.app.waiting import WaitingRoom
from interceptor.core.deadlines import NEVER, Deadlines
from interceptor.core.errors import Unavailable
from interceptor.core.sides import Dialer, Upstream

__all__ = [
    "CONNECT_TIMED_OUT",
    "DialRequest",
    "Endpoint",
    "EndpointSet",
    "PoolLimits",
    "ProbeRule",
    "Prober",
    "Slot",
    "WaitingApp",
    "reason",
]  # fmt: skip

logger = logging.getLogger(__name__)

MAX_DIALS = 32
"""Connections being opened to one backend at once: small servers have short accept queues, and an overflow costs a second."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
"""Seconds between probes of a backend that is not trusted, doubling from the first to the longest."""
URGENT_PAUSE = 0.25
"""The longest pause while requests wait and no backend is trusted. A probe costs both sides next to nothing."""
JITTER = 0.2
"""Share by which pauses differ, so that the interceptors of a fleet do not probe in step."""
MAX_PROBES_OF_TARGET = 8
"""Of one target at once, so that a thousand dead backends of one do not keep all others from being probed."""

CONNECT_TIMED_OUT = "connect timed out"
"""The error of a dial that took too long, for people."""

_OUT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""What this machine lacks, whatever the backend does."""

_random = random.random
_load = attrgetter("load")
_since = attrgetter("room.since")


class WaitingApp(Protocol):
    """An application of which requests wait for a backend of the set."""

    @property
    def room(self) -> WaitingRoom[Any]: ...
    def admit_next(self, now: float) -> bool:
        """Let in who is next; False when no backend can take it."""

    def ask_again(self, now: float) -> None:
        """There is nothing to wait for, or there is again."""


class Prober(Protocol):
    """Asks backends whether they can be trusted."""

    def probe(self, endpoint: Endpoint) -> None:
        """Once; the endpoint is told by `passed` or `failed`, unless it is gone."""


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


class PoolLimits:
    """Bounds that every endpoint of an interceptor shares."""

    __slots__ = ("idle_timeout", "max_idle")

    def __init__(self, *, idle_timeout: float, max_idle: int) -> None:
        self.idle_timeout = idle_timeout
        self.max_idle = max_idle


_TRUSTING = ProbeRule()


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

    def __init__(self, backend: Backend, owner: EndpointSet) -> None:
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


class EndpointSet:
    """The backends of one target, which may be that of several applications."""

    __slots__ = (
        "_all",
        "_dialer",
        "_dials",
        "_leaving",
        "_prober",
        "clock",
        "deadlines",
        "hopeless",
        "key",
        "last_error",
        "limits",
        "probing",
        "ready",
        "rule",
        "trouble",
        "waiting_apps",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        *,
        limits: PoolLimits,
        deadlines: Deadlines,
        dialer: Dialer,
        prober: Prober,
        clock: Callable[[], float],
        rule: ProbeRule = _TRUSTING,
    ) -> None:
        self.key = key
        self.clock = clock
        self.rule = rule
        self.probing = 0
        """Probes asked for and not told of yet. Counted by the prober."""
        self._prober = prober
        self.limits = limits
        self.deadlines = deadlines
        self._dialer = dialer
        self.ready: list[Endpoint] = []
        """Those that may be chosen now."""
        self.last_error = ""
        """Why the last connection could not be opened, without its address: clients are told. Empty when the last one could."""
        self.trouble: Trouble | None = None
        """Why there is no backend, if somebody has told."""
        self.hopeless = False
        """Whether there is none, and requests are not to wait for one."""
        self.waiting_apps: dict[WaitingApp, None] = {}
        """Applications of which somebody waits."""
        self._all: dict[Backend, Endpoint] = {}
        self._leaving: dict[Backend, Endpoint] = {}
        """Listed no longer, with exchanges that go on. They count should it be listed again."""
        self._dials: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def endpoints(self) -> list[Endpoint]:
        return list(self._all.values())

    def at_work(self) -> dict[Backend, int]:
        """Exchanges at each backend that may get another one, or has some that are not over."""
        listed = {backend: endpoint.load for backend, endpoint in self._all.items()}
        return {**{backend: endpoint.load for backend, endpoint in self._leaving.items() if endpoint.load}, **listed}

    @property
    def why(self) -> str:
        """Why there is no backend, for people; empty when there is one, or nobody has told."""
        return "" if self.trouble is None or self._all else self.trouble.reason

    def update(self, backends: tuple[Backend, ...], trouble: Trouble | None = None) -> None:
        """Take over what discovery lists now, and what it says of there being none."""
        wanted = set(backends)
        new: list[Endpoint] = []
        for backend in [backend for backend in self._all if backend not in wanted]:
            endpoint = self._leaving[backend] = self._all.pop(backend)
            endpoint.retire()
        for backend in backends:
            if backend not in self._all:
                endpoint = self._all[backend] = self._leaving[backend] if backend in self._leaving else Endpoint(backend, self)
                endpoint.enlist(trusted=self.rule.path is None)
                new.append(endpoint)
        self._leaving = {backend: endpoint for backend, endpoint in self._leaving.items() if endpoint.gone and endpoint.load}
        self.trouble, before = trouble, self.hopeless
        self.hopeless = trouble is not None and trouble.hopeless and not backends
        self.trust_changed()
        now = self.clock()
        for endpoint in new:
            if not endpoint.trusted:
                endpoint.on_deadline(now)
                self.deadlines.watch(endpoint)
        if self.hopeless != before:
            for app in list(self.waiting_apps):
                app.ask_again(now)

    def choose(self) -> Endpoint | None:
        """The less loaded of two taken at random; None when no backend can be chosen."""
        ready = self.ready
        count = len(ready)
        if count <= 1:
            return ready[0] if ready else None
        first = int(_random() * count)
        second = int(_random() * (count - 1))
        one, other = ready[first], ready[second + (second >= first)]
        return one if one.load <= other.load else other

    def find(self, bound: int, *, but: Endpoint | None = None) -> Endpoint | None:
        """One that can take another request and has fewer than `bound`; None when there is none.

        The less loaded of two taken at random, or the least loaded of all where that one has enough. One that lost the request
        before is given it again only when there is no other.
        """
        endpoint = self.choose()
        if endpoint is None or (endpoint is not but and endpoint.takes(bound)):
            return endpoint
        able = [each for each in self.ready if each.takes(bound)]
        return min((each for each in able if each is not but), key=_load, default=but if but in able else None)

    def pump(self, now: float) -> None:
        """Let in who waits, whoever came first first, for as long as a backend can take one more."""
        waiting = [app for app in self.waiting_apps if app.room]
        while waiting:
            app = waiting[0] if len(waiting) == 1 else min(waiting, key=_since)
            if not app.admit_next(now) or not app.room:
                waiting.remove(app)

    def trust_changed(self) -> None:
        """One came, went, or is trusted again or no longer."""
        self.ready = [endpoint for endpoint in self._all.values() if endpoint.trusted]
        self._pump()

    def probe(self, endpoint: Endpoint) -> bool:
        """Have it probed now. False when too many others are."""
        if self.probing >= MAX_PROBES_OF_TARGET:
            return False
        self._prober.probe(endpoint)
        return True

    def hurry(self, now: float) -> None:
        """Somebody waits: do not let a pause be the reason, when there is nobody else to go to."""
        if not self.ready:
            for endpoint in self._all.values():
                endpoint.hurry(now)

    def dial(self, endpoint: Endpoint, request: DialRequest, *, timeout: float) -> None:
        """Open a connection within so many seconds, in a task of its own, and tell the request how it went."""
        endpoint.dialing += 1
        task = asyncio.get_running_loop().create_task(self._dial(endpoint, request, timeout), name=f"dial {self.key}")
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def close(self) -> None:
        """End every dial and every kept connection."""
        dials = list(self._dials)
        for task in dials:
            task.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        self.update(())

    def _pump(self) -> None:
        if self.waiting_apps and self.ready:
            self.pump(self.clock())

    async def _dial(self, endpoint: Endpoint, request: DialRequest, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds if seconds < math.inf else None):
                connection = await self._dialer.connect(endpoint)
        except (OSError, TimeoutError) as error:
            endpoint.dialing -= 1
            request.dial_failed(endpoint, self._failed(endpoint, error))
            self._pump()
            return
        except BaseException:
            endpoint.dialing -= 1
            raise
        endpoint.dialing -= 1
        self.last_error = ""
        if not request.connected(endpoint, connection):
            endpoint.offer(connection, self.clock())
        endpoint.passed()
        self._pump()

    def _failed(self, endpoint: Endpoint, error: Exception) -> Exception:
        if isinstance(error, OSError) and error.errno in _OUT_OF_SOCKETS:
            return Unavailable("there are too many connections", reason="sockets", retry_after=1)
        self.last_error = reason(error)
        if endpoint.trusted:
            logger.warning("backend %s of %s set aside: %s", endpoint.address, self.key, self.last_error)
        endpoint.set_aside(self.clock())
        return error


def reason(error: Exception) -> str:
    """Why a connection could not be opened, without the address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else CONNECT_TIMED_OUT
