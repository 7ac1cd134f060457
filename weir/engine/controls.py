"""The engine as the page controls it: an overview of the apps, and the commands for one app."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fleet.routing.port_index import PortKey
from fleet.routing.table import RoutingTable
from weir.engine.app import App
from weir.engine.awake import awake_for
from weir.engine.busy import with_busy
from weir.engine.engine import Engine
from weir.engine.live_table import AppStatus
from weir.engine.messages import suggestion
from weir.engine.page import Refused
from weir.engine.previewspec import key_of_copy
from weir.engine.serving import served_by_all, unbound_ports
from weir.engine.spec import AppSpec
from weir.engine.supervisor import State
from weir.engine.view import OUTSIDE, At, at_of, state_of, way_to
from weir.queue_reader import AppDemand, QueueReader, Queues

__all__ = ["EngineControls"]


class EngineControls:
    """Implements the page's Controls for an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = QueueReader()

    async def close(self) -> None:
        await self._reader.close()

    async def overview(self) -> list[dict[str, Any]]:
        queues, unbound = await asyncio.gather(self._queues(), self._unbound())
        needed = awake_for(self._engine.file.table.dependencies, queues.apps)
        keys = [(app, app.spec.key) for app in self._engine.apps]
        bases = self._bases()
        started = [
            _row(app, queues.apps.get(key, AppDemand(key)), needed.get(key, ""), unbound.get(key, ()))
            | self._suggested(key)
            | _preview(key, app, bases)
            for app, key in keys
        ]
        outside = [
            _row_of_outside(spec, queues.apps.get(spec.key, AppDemand(spec.key)), unbound.get(spec.key, ()))
            for spec in self._engine.outside
        ]
        return [*started, *outside]

    async def views(self) -> list[dict[str, Any]]:
        queues, unbound = await asyncio.gather(self._queues(), self._unbound())
        at, needed = at_of(self._engine), awake_for(self._engine.file.table.dependencies, queues.apps)
        views, bases = [], self._bases()
        for spec in self._engine.file.spec.apps:
            demand = queues.apps.get(spec.key, AppDemand(spec.key))
            known = None if queues.problems else demand
            app = self._engine.app(spec.key)
            view = _view(spec, app, known, at, needed.get(spec.key, "")) | _preview(spec.key, app, bases)
            view["reason"] = _words(view["reason"], *unbound.get(spec.key, ()))
            views.append(view | {"suggestion": self._engine.suggestions.words(spec.key)})
        return views

    async def progress(self) -> dict[str, Any]:
        file = self._engine.file
        return {
            "digest": file.digest,
            "complaint": list(self._engine.complaint),
            "served": await served_by_all(self._engine.rpc_addresses, file.table.version),
            "leaving": list(self._engine.leaving),
        }

    def find(self, name: str) -> str:
        keys = [*(app.spec.key for app in self._engine.apps), *(spec.key for spec in self._engine.outside)]
        fits = [key for key in keys if name in (key, key.partition("/")[2])]
        if len(fits) > 1:
            raise Refused(f"{name} may be {' or '.join(fits)}")
        if not fits:
            names = [key.removeprefix("default/") for key in keys]
            raise Refused(f"there is no app {name}{suggestion(name, names)}")
        return fits[0]

    async def act(self, verb: str, key: str) -> str:
        app = next((app for app in self._engine.apps if app.spec.key == key), None)
        if app is None:
            raise Refused(f"{key} is outside: nothing of it is started here")
        if verb == "wake":
            return _wake(app)
        if verb == "sleep":
            return await self._sleep(app)
        return _restart(app)

    async def _sleep(self, app: App) -> str:
        key = app.spec.key
        if app.spec.min:
            raise Refused(f"{key} never sleeps: its min is {app.spec.min}")
        if app.schedule.reason:
            raise Refused(f"{key} does not sleep now: {app.schedule.reason}")
        queues = await self._queues()
        if queues.problems:
            raise Refused(f"{key} may be busy: {', '.join(f'{who}: {why}' for who, why in queues.problems.items())}")
        demand = queues.apps.get(key, AppDemand(key))
        if busy := demand.held + demand.in_flight + demand.connections:
            raise Refused(f"{key} is busy: {busy} {'request or connection' if busy == 1 else 'requests or connections'}")
        if demand.busy:
            raise Refused(f"{key} is busy: it has said that it goes on working")
        if not app.desired:
            return f"{key} is asleep already"
        if app.held.by:
            raise Refused(f"{key} is awake for {app.held.by}, before which a command runs")
        needed_by = awake_for(self._engine.file.table.dependencies, queues.apps).get(key)
        if needed_by is not None:
            raise Refused(f"{key} is awake for {needed_by}, which has requests")
        app.sleep()
        return f"{key} goes to sleep"

    def _bases(self) -> Mapping[str, tuple[str, str]]:
        """The base and the name of each preview, by the key of its copy."""
        given = [(app, app.previews) for app in self._engine.file.spec.apps if app.previews is not None]
        return {key_of_copy(app.key, name): (app.name, name) for app, previews in given for name in previews.copies}

    def _suggested(self, key: str) -> dict[str, Any]:
        """Which dependencies its wakes suggest."""
        found = self._engine.suggestions.of(key)
        return {"suggestions": [each._asdict() for each in found], "suggestion": self._engine.suggestions.words(key)}

    async def _unbound(self) -> Mapping[str, Sequence[str]]:
        """What is wrong with the ports of apps, by app."""
        table = self._engine.file.table
        return _unbound_by_app(table, await unbound_ports(self._engine.rpc_addresses)) if table.ports else {}

    async def _queues(self) -> Queues:
        queues = await self._reader.read(self._engine.rpc_addresses)
        with_busy(queues.apps, self._engine.busy)
        return queues


def _unbound_by_app(table: RoutingTable, unbound: Mapping[PortKey, str]) -> dict[str, list[str]]:
    """For each app that has one of these ports, what is wrong with its ports, in words."""
    found: dict[str, list[str]] = {}
    for key, why in unbound.items():
        for name in dict.fromkeys(owner.app for owner in table.ports.get(key, ())):
            found.setdefault(name, []).append(f"{key}: {why}")
    return found


def _wake(app: App) -> str:
    key = app.spec.key
    if app.desired:
        return f"{key} is awake already: {state_of(app)[1]}"
    app.wake()
    return f"{key} wakes up; without a request it sleeps again after {app.spec.cooldown:g} s"


def _restart(app: App) -> str:
    key = app.spec.key
    if not app.desired:
        return f"{key} is asleep: its next request starts a new process anyway"
    app.restart()
    new = "a new replica takes the place of the old one"
    return f"{key}: {new if app.desired == 1 else f'{app.desired} new replicas take the place of the old ones'}"


def _preview(key: str, app: App | None, bases: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Of which app it is which preview, if it is one, and when it was used last."""
    base, name = bases.get(key, ("", ""))
    used = None if app is None else app.last_used
    last = "" if used is None else f"{datetime.fromtimestamp(used, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {"base": base, "preview": name, "last_used": last}


def _row(app: App, demand: AppDemand, needed_by: str, unbound: Sequence[str]) -> dict[str, Any]:
    trouble = app.held.trouble
    return {
        "app": app.spec.key,
        "state": _words(state_of(app, demand, needed_by)[1], *unbound),
        "awake_for": needed_by or app.held.by,
        "trouble": _words("" if trouble is None else trouble.reason, *unbound),
        "schedule": app.schedule.reason,
        "ready": sum(replica.state is State.READY for replica in app.replicas),
        "desired": app.desired,
        "min": app.spec.min,
        "max": app.spec.max,
        "held": demand.held,
        "in_flight": demand.in_flight,
        "busy": demand.busy,
        "connections": demand.connections,
        "requests_total": demand.requests_total,
        "ports": _ports_of(app.spec),
        "pids": [replica.pid for replica in app.replicas if replica.pid is not None],
    }


def _ports_of(spec: AppSpec) -> list[dict[str, Any]]:
    """The ports on which interceptors listen for it, with the numbers of leases."""
    return [
        {"protocol": port.protocol, "port": port.port, "lease": port.lease, "server_names": port.server_names}
        for port in spec.ports
    ]


def _words(*parts: str) -> str:
    return "; ".join(filter(None, parts))


_STATES = {
    AppStatus.TROUBLED: "failing",
    AppStatus.STARTING: "waking",
    AppStatus.AWAKE: "awake",
    AppStatus.LEAVING: "falling-asleep",
    AppStatus.ASLEEP: "asleep",
}


def _view(spec: AppSpec, app: App | None, demand: AppDemand | None, at: At, needed_by: str) -> dict[str, Any]:
    """An app in the words of the Admin API. `demand` is None while an interceptor does not tell it."""
    status, reason = (AppStatus.AWAKE, OUTSIDE) if app is None else state_of(app, demand, needed_by)
    _, url = way_to(spec, at)
    replicas = () if app is None else app.replicas
    return {
        "namespace": spec.namespace,
        "name": spec.name,
        "state": _STATES[status],
        "reason": reason,
        "url": url or "",
        "replicas": {
            "wanted": 0 if app is None else app.desired,
            "ready": sum(replica.state is State.READY for replica in replicas),
        },
        "min": spec.min,
        "max": spec.max,
        "demand": None if demand is None else demand.held + demand.in_flight + demand.connections + demand.busy,
        "pids": [replica.pid for replica in replicas if replica.pid is not None],
    }


def _row_of_outside(spec: AppSpec, demand: AppDemand, unbound: Sequence[str]) -> dict[str, Any]:
    return {
        "app": spec.key,
        "state": _words(OUTSIDE, *unbound),
        "trouble": _words(*unbound),
        "ready": 0,
        "desired": 0,
        "min": 0,
        "max": 0,
        "held": demand.held,
        "in_flight": demand.in_flight,
        "connections": demand.connections,
        "requests_total": demand.requests_total,
        "ports": _ports_of(spec),
        "pids": [],
        "base": "",
        "preview": "",
        "last_used": "",
        "suggestions": [],
        "suggestion": "",
    }
