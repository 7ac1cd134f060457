"""The backends of a target as one interceptor sees them: which there are, which one a request goes to, who waits, and dials."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import random
from collections.abc import Callable
from operator import attrgetter
from typing import Protocol

from fleet.discovery.sources import Backend, Trouble
from interceptor.backends.endpoint import DialRequest, Endpoint, PoolLimits, ProbeRule
from interceptor.core.deadlines import Deadlines
from interceptor.core.errors import Unavailable
from interceptor.core.sides import Dialer

__all__ = ["CONNECT_TIMED_OUT", "EndpointSet", "Prober", "WaitingApp", "reason"]

logger = logging.getLogger(__name__)

MAX_PROBES_OF_TARGET = 8
"""Of one target at once, so that a thousand dead backends of one do not keep all others from being probed."""

CONNECT_TIMED_OUT = "connect timed out"
"""The error of a dial that took too long, for people."""

_OUT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""What this machine lacks, whatever the backend does."""

_random = random.random
_load = attrgetter("load")
_since = attrgetter("room.since")


class Room(Protocol):
    """Where its requests wait."""

    @property
    def since(self) -> float:
        """When the one who is next came. Only while anybody waits."""

    def __len__(self) -> int: ...


class WaitingApp(Protocol):
    """An application of which requests wait for a backend of the set."""

    @property
    def room(self) -> Room: ...
    def admit_next(self, now: float) -> bool:
        """Let in who is next; False when no backend can take it."""

    def ask_again(self, now: float) -> None:
        """There is nothing to wait for, or there is again."""


class Prober(Protocol):
    """Asks backends whether they can be trusted."""

    def probe(self, endpoint: Endpoint) -> None:
        """Once; the endpoint is told by `passed` or `failed`, unless it is gone."""


_TRUSTING = ProbeRule()


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
