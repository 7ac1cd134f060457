"""The backends of a target as one interceptor sees them: the list, the choice for a request, waiting applications, and dials."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import random
import re
import ssl
from collections.abc import Callable
from operator import attrgetter
from typing import Final, Protocol

from fleet.discovery.sources import Backend, Trouble
from fleet.routing.target import Target
from interceptor.backends.endpoint import DialRequest, Endpoint, PoolLimits, ProbeRule
from interceptor.core.deadlines import Deadlines
from interceptor.core.errors import CONNECT_TIMED_OUT, Unavailable
from interceptor.core.sides import Dialer

__all__ = ["EndpointSet", "Prober", "WaitingApp", "reason"]

logger = logging.getLogger(__name__)

MAX_PROBES_OF_TARGET: Final = 8
"""Probes of one target at once, so that a target with a thousand dead backends does not use up all probes."""

_OUT_OF_SOCKETS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors for missing resources of this machine, which say nothing about the backend."""

_SSL_PLACES: Final = re.compile(r"^\[[A-Z_]{1,20}\] | \(_ssl\.c:[0-9]{1,6}\)$")
"""Where in Python's or OpenSSL's source an error comes from."""

_random = random.random
_load = attrgetter("load")
_since = attrgetter("room.since")


class Room(Protocol):
    """The waiting room of an application."""

    @property
    def since(self) -> float:
        """When the first request in the queue began to wait. Only while there is one."""

    def __len__(self) -> int: ...


class WaitingApp(Protocol):
    """An application with requests that wait for a backend of the set."""

    @property
    def room(self) -> Room: ...
    def admit_next(self, now: float) -> bool:
        """Send the first waiting request to a backend. Returns False if no backend can take it."""

    def reconsider_waiting(self, now: float) -> None:
        """`hopeless` has changed: check again whether the requests should wait."""


class Prober(Protocol):
    """Runs probes, which decide whether backends are trusted."""

    def probe(self, endpoint: Endpoint) -> None:
        """Probe once, and call `passed` or `failed` of the endpoint, unless it has been removed."""


_TRUSTING: Final = ProbeRule()


class EndpointSet:
    """The backends of one target, which several applications may share if they speak to them in the same way."""

    __slots__ = (
        "_all",
        "_dialer",
        "_dials",
        "_leaving",
        "_prober",
        "_protocol_reported",
        "clock",
        "connects",
        "deadlines",
        "hopeless",
        "key",
        "last_error",
        "limits",
        "outside",
        "probing",
        "ready",
        "rule",
        "server_name",
        "trouble",
        "waiting_apps",
    )  # fmt: skip

    def __init__(
        self,
        target: Target,
        *,
        limits: PoolLimits,
        deadlines: Deadlines,
        dialer: Dialer,
        prober: Prober,
        clock: Callable[[], float],
        rule: ProbeRule = _TRUSTING,
    ) -> None:
        self.key = target.key
        self.connects = target.connects
        self.server_name = target.server_name
        self.clock = clock
        self.rule = rule
        self.probing = 0
        """Probes requested and not finished. Counted by the prober."""
        self._prober = prober
        self.limits = limits
        self.deadlines = deadlines
        self._dialer = dialer
        self.ready: list[Endpoint] = []
        """Backends that may be chosen now."""
        self.last_error = ""
        """Why the last connection could not be opened; empty if it could. Without the address, because clients see it."""
        self.outside = False
        """Whether its backends are outside of discovery."""
        self.trouble: Trouble | None = None
        """Why there is no backend, if discovery reports a reason."""
        self.hopeless = False
        """Whether there is no backend, and requests should not wait for one."""
        self.waiting_apps: dict[WaitingApp, None] = {}
        """Applications with waiting requests."""
        self._all: dict[Backend, Endpoint] = {}
        self._leaving: dict[Backend, Endpoint] = {}
        """Backends that are no longer listed but have unfinished exchanges, which still count if the backend is listed again."""
        self._dials: set[asyncio.Task[None]] = set()
        self._protocol_reported = False

    def __len__(self) -> int:
        return len(self._all)

    @property
    def endpoints(self) -> list[Endpoint]:
        return list(self._all.values())

    @property
    def in_use(self) -> list[Endpoint]:
        """Every listed backend, and each removed one that still has unfinished exchanges."""
        return [*self._all.values(), *(endpoint for endpoint in self._leaving.values() if endpoint.load)]

    def at_work(self) -> dict[Backend, int]:
        """Number of unfinished exchanges and of leases at each listed backend, and at each removed one that still has some."""
        listed = {backend: endpoint.work for backend, endpoint in self._all.items()}
        return {**{backend: endpoint.load for backend, endpoint in self._leaving.items() if endpoint.load}, **listed}

    @property
    def why(self) -> str:
        """Why there is no backend, as text; empty if there is one or no reason is known."""
        return "" if self.trouble is None or self._all else self.trouble.reason

    def update(self, backends: tuple[Backend, ...], trouble: Trouble | None = None) -> None:
        """Apply discovery's current list of backends, and the reason why there is none, if any."""
        wanted = set(backends)
        if backends:
            self.outside = backends[0].outside
        self._protocol_reported = False
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
                app.reconsider_waiting(now)

    def choose(self) -> Endpoint | None:
        """The less loaded of two random ready backends; None if no backend is ready."""
        ready = self.ready
        count = len(ready)
        if count <= 1:
            return ready[0] if ready else None
        first = int(_random() * count)
        second = int(_random() * (count - 1))
        one, other = ready[first], ready[second + (second >= first)]
        return one if one.load <= other.load else other

    def find(self, bound: int, *, but: Endpoint | None = None) -> Endpoint | None:
        """A backend that can take another request and has fewer than `bound`; None if there is none.

        The less loaded of two random backends, or the least loaded of all if that one is full. `but`, to which the request's last
        connection failed, is chosen only if there is no other.
        """
        endpoint = self.choose()
        if endpoint is None or (endpoint is not but and endpoint.takes(bound)):
            return endpoint
        able = [each for each in self.ready if each.takes(bound)]
        return min((each for each in able if each is not but), key=_load, default=but if but in able else None)

    def pump(self, now: float) -> None:
        """Send waiting requests to backends, the longest waiting first, as long as a backend can take one more."""
        waiting = [app for app in self.waiting_apps if app.room]
        while waiting:
            app = waiting[0] if len(waiting) == 1 else min(waiting, key=_since)
            if not app.admit_next(now) or not app.room:
                waiting.remove(app)

    def trust_changed(self) -> None:
        """A backend was added or removed, or has become trusted or untrusted."""
        self.ready = [endpoint for endpoint in self._all.values() if endpoint.trusted]
        self._pump()

    def probe(self, endpoint: Endpoint) -> bool:
        """Start a probe of the endpoint. Returns False if too many probes are running."""
        if self.probing >= MAX_PROBES_OF_TARGET:
            return False
        self._prober.probe(endpoint)
        return True

    def probe_sooner(self, now: float) -> None:
        """A request waits: if no backend is ready, shorten the pauses before the next probes."""
        if not self.ready:
            for endpoint in self._all.values():
                endpoint.probe_sooner(now)

    def note_protocol(self, endpoint: Endpoint, error: Exception) -> None:
        """A backend speaks another protocol than it is spoken to with. Logged once until the list of backends changes."""
        self.last_error = str(error)
        if not self._protocol_reported:
            self._protocol_reported = True
            logger.warning("backend %s of %s: %s", endpoint.address, self.key, error)

    def dial(self, endpoint: Endpoint, request: DialRequest, *, timeout: float) -> None:
        """Open a connection within `timeout` seconds, in a task of its own, and report the result to the request."""
        endpoint.dialing += 1
        task = asyncio.get_running_loop().create_task(self._dial(endpoint, request, timeout), name=f"dial {self.key}")
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def close(self) -> None:
        """Cancel all dials and close all kept connections."""
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
            request.dial_failed(endpoint, self.failed(endpoint, error))
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

    def failed(self, endpoint: Endpoint, error: Exception) -> Exception:
        """No connection could be opened: set the backend aside, and return the error; or Unavailable, if the error says nothing
        about the backend."""
        if isinstance(error, OSError) and error.errno in _OUT_OF_SOCKETS:
            return Unavailable("there are too many connections", reason="sockets", retry_after=1)
        self.last_error = reason(error)
        if endpoint.trusted:
            logger.warning("backend %s of %s set aside: %s", endpoint.address, self.key, self.last_error)
        endpoint.set_aside(self.clock())
        return error


def reason(error: Exception) -> str:
    """Why a connection could not be opened, without the address."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or _SSL_PLACES.sub('', str(error)) or 'failed'}"
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, ConnectionError) and number is None:
        return str(error) or "the backend closed the connection"
    return os.strerror(number) if number else CONNECT_TIMED_OUT
