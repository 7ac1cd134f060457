"""The triggers of one app: one for its own requests, and one for each app whose requests it gets too, as a backend of a rule.

They act as several triggers of one ScaledObject do: any of them wakes the app, and of the replicas that they ask for it has the
most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from weir.engine.autoscaler import Reading
from weir.engine.keda import KedaClient

__all__ = ["Triggers"]

Make = Callable[[str, Callable[[Reading], None]], KedaClient]
"""Makes the client for the demand of an app ("namespace/name"), which is told each reading."""
CreateTask = Callable[..., asyncio.Task[None]]


class Triggers:
    """Each has a client and a task of its own."""

    def __init__(self, app: str, make: Make, *, on_reading: Callable[[Reading], None], create_task: CreateTask) -> None:
        """`on_reading` is told what all readings say together, after each."""
        self._app, self._make, self._on_reading, self._create_task = app, make, on_reading, create_task
        self._readings: dict[str, Reading] = {}
        self._clients = {app: make(app, partial(self._read, app))}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def joined(self) -> asyncio.Event:
        """Set once the scaler has returned metrics for the app's own requests."""
        return self._clients[self._app].joined

    def start(self) -> None:
        for app in self._clients:
            self._run(app)

    def follow(self, others: Iterable[str]) -> None:
        """Set the apps whose requests it gets too. Only once started."""
        wanted = {self._app, *others}
        for app in self._clients.keys() - wanted:
            self._tasks.pop(app).cancel()
            self._readings.pop(app, None)
            del self._clients[app]
        for app in sorted(wanted - self._clients.keys()):
            self._clients[app] = self._make(app, partial(self._read, app))
            self._run(app)

    def hush(self) -> None:
        """Do not log failed calls any more."""
        for client in self._clients.values():
            client.quiet = True

    def stop(self) -> list[asyncio.Task[None]]:
        """The tasks, for the caller to end."""
        tasks, self._tasks = list(self._tasks.values()), {}
        return tasks

    def _run(self, app: str) -> None:
        demand = "" if app == self._app else f" for {app}"
        self._tasks[app] = self._create_task(self._clients[app].run(), name=f"app {self._app}{demand}")

    def _read(self, app: str, reading: Reading) -> None:
        if app not in self._clients:
            return
        self._readings[app] = reading
        readings = self._readings.values()
        metrics = [metric for each in readings for metric in each.metrics]
        self._on_reading(Reading(active=any(each.active for each in readings), metrics=metrics))
