"""Leases that replicas of `weir up` ask for by a call: whose token it is, for how long, and the file from which the scaler reads
them. A token is one process's, and ends with it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from time import time
from typing import NamedTuple

from fleet.demand.busy import Leases, TooMany, changed, rfc3339
from fleet.routing.duration import seconds
from weir.queue_reader import AppDemand

__all__ = ["BusyDesk", "BusyRefused", "Kept", "with_busy"]


class BusyRefused(Exception):
    """The call has no effect; the message says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Kept(NamedTuple):
    """What holds after a call."""

    app: str
    seconds: float
    end: str | None
    """When the lease ends (RFC 3339); None without one."""


class _Process:
    def __init__(self, app: str, replica: int) -> None:
        self.app, self.holder = app, str(replica)


class BusyDesk:
    """`write` stores the leases whenever they change, and `most` tells an app's maximum in seconds. `url` is set before the first
    process starts."""

    def __init__(
        self,
        write: Callable[[Leases], object] = lambda leases: None,
        *,
        most: Callable[[str], float] = lambda app: 0.0,
        wall: Callable[[], float] = time,
    ) -> None:
        self.url = ""
        self._write = write
        self._most = most
        self._wall = wall
        self._leases: Leases = {}
        self._processes: dict[str, _Process] = {}

    def issue(self, app: str, replica: int) -> str:
        """A token for a process that starts."""
        token = secrets.token_urlsafe(32)
        self._processes[token] = _Process(app, replica)
        return token

    def revoke(self, token: str) -> None:
        """The process has ended, and its lease with it."""
        process = self._processes.pop(token, None)
        if process is not None:
            self._change(process, 0.0)

    def keep(self, token: str, duration: object) -> Kept:
        """A process keeps its app awake for so long; "0": it has finished. Raises BusyRefused."""
        process = self._processes.get(token)
        if process is None:
            raise BusyRefused(401, "the token is missing, or of no process that runs")
        try:
            # A text, as the Admin API has it: what works here works there.
            asked = seconds(duration if isinstance(duration, str) else None)
        except ValueError as error:
            raise BusyRefused(422, f"duration: {error}, as a text") from error
        most = self._most(process.app)
        if asked and not most:
            raise BusyRefused(403, f"{process.app} has no max_busy")
        length = min(asked, most)
        until = self._wall() + length
        try:
            self._change(process, until if length else 0.0)
        except TooMany as error:
            raise BusyRefused(503, str(error)) from error
        return Kept(process.app, length, rfc3339(until) if length else None)

    def replicas(self) -> Mapping[str, frozenset[int]]:
        """Numbers of the replicas that keep their app awake now, by app."""
        now = self._wall()
        held = {app: frozenset(int(who) for who, end in ends.items() if end > now) for app, ends in self._leases.items()}
        return {app: numbers for app, numbers in held.items() if numbers}

    def _change(self, process: _Process, until: float) -> None:
        leases = changed(self._leases, process.app, process.holder, until, self._wall())
        if leases != self._leases:
            self._leases = leases
            self._write(leases)


def with_busy(apps: dict[str, AppDemand], desk: BusyDesk) -> None:
    """Add to the demand that interceptors know what replicas have said by a call. One that says both is one."""
    for app, replicas in desk.replicas().items():
        demand = apps.setdefault(app, AppDemand(app))
        demand.busy = max(demand.busy, len(replicas))
