"""The parts of an application whose requests go to other targets than its own: the backends of its rules, chosen by weight; and
those for requests that came over TLS, where backends are spoken to as clients speak.

Each part has its own waiting room, sessions and admission, as if it were an application. Demand, counts for metrics, and the
bounds on waiting requests are those of the application.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from fleet.discovery.sources import Backend
from fleet.routing.port import ListenPort, PortTarget
from fleet.routing.route import ColdStart, Route, Rule, Target
from interceptor.app.app import App, Chooser, Fallback
from interceptor.app.flags import AS_CLIENTS
from interceptor.app.rules import Rules
from interceptor.backends.endpoint import Endpoint
from interceptor.backends.endpoints import EndpointSet
from interceptor.core.messages import Fields, Request
from interceptor.core.sides import Upstream
from interceptor.settings import InterceptorSettings

__all__ = ["Branch", "Shares", "branch_out"]

_random = random.random


class Branch(App):
    """The part of an application for one backend of one rule."""

    __slots__ = ("_main",)

    def __init__(
        self, main: App, route: Route, endpoints: EndpointSet, settings: InterceptorSettings, *, fallback: Fallback | None
    ) -> None:
        """`route` is that of the application, with this target."""
        self._main = main
        super().__init__(route, main.entry, endpoints, settings, fallback=fallback, share=main.share, waits=main.waits)
        self.stats = main.stats

    @property
    def main(self) -> App:
        return self._main

    def _rules(self, route: Route) -> Rules[Chooser] | None:
        """The rule was found when the part was chosen."""
        return None

    def _place(self, route: Route) -> str:
        return route.target.key

    def session_fields(self, head: Request, backend: Backend) -> Fields:
        """Also expires the cookies of a session at another backend of the rule."""
        fields = super().session_fields(head, backend)
        if fields and isinstance(self.shares, Shares):
            others = (app.sessions for app in self.shares.apps if app is not self)
            fields += tuple(field for sessions in others if sessions is not None for field in sessions.forgotten(head))
        return fields


class OverTls(Branch):
    """The part of an application for requests that came over TLS, and go to the part `plain` without it."""

    __slots__ = ("_plain",)

    def __init__(
        self, plain: App, route: Route, endpoints: EndpointSet, settings: InterceptorSettings, *, fallback: Fallback | None
    ) -> None:
        self._plain = plain
        super().__init__(plain.main, route, endpoints, settings, fallback=fallback)

    def _rules(self, route: Route) -> Rules[Chooser] | None:
        return self._plain.rules

    def _place(self, route: Route) -> str:
        return "" if self._plain is self.main else super()._place(route)

    def session_fields(self, head: Request, backend: Backend) -> Fields:
        """A client may come both ways: the session is that of the other part."""
        return self._plain.session_fields(head, backend)


class Alternatives:
    """Used when the target has no ready backend: the first of these targets that has one."""

    __slots__ = ("_all",)

    def __init__(self, others: Sequence[Fallback]) -> None:
        self._all = others

    @property
    def _first(self) -> Fallback:
        return next((each for each in self._all if each.ready), self._all[-1])

    @property
    def ready(self) -> list[Endpoint]:
        return self._first.ready

    def choose(self) -> Endpoint | None:
        return self._first.choose()

    def find(self, bound: int) -> Endpoint | None:
        return self._first.find(bound)


class Shares:
    """The backends of one rule, and which of them a request goes to.

    A session stays where it is. All others are spread by weight over those that have something ready; while none has, over all,
    and they wait for that one.
    """

    __slots__ = ("_weighted", "apps")

    def __init__(self, weighted: Sequence[tuple[App, int]]) -> None:
        """Weights are above 0."""
        self._weighted = weighted
        self.apps = [app for app, _ in weighted]

    def pick(self, head: Request, own: Upstream | None = None) -> App:
        """The part of the application that gets a request. `own` is a connection that its client has authenticated."""
        among = self._weighted
        if len(among) == 1:
            return among[0][0]
        if own is not None:
            for app in self.apps:
                if own.endpoint in app.endpoints.ready:
                    return app
        ready = [(app, weight) for app, weight in among if app.endpoints.ready]
        among = ready or among
        sessions = among[0][0].sessions
        point = None
        if sessions is not None:
            kept = next((app for app, _ in among if app.sessions is not None and app.sessions.has(head)), None)
            if kept is not None:
                return kept
            point = sessions.position(head)
        return _at(among, _random() if point is None else point)


def _at(among: Sequence[tuple[App, int]], point: float) -> App:
    """Where a point from 0 to 1 is in the row of all weights."""
    left = point * sum(weight for _, weight in among)
    for app, weight in among:
        left -= weight
        if left < 0:
            return app
    return among[-1][0]


def branch_out(app: App, settings: InterceptorSettings, endpoint_set: Callable[[Target], EndpointSet]) -> None:
    """Make the parts that an application's route asks for, and bind its rules to them. Requests that wait go on from here as the
    route says."""
    before, rules = app.branches, app.rules
    secured = [part.over_tls for part in app.parts if part.over_tls is not None]
    branching = _Branching(app, settings, endpoint_set)
    for number, rule in enumerate(app.route.rules):
        if rule.backends and rules is not None:
            rules.bind(number, branching.shares(number, rule))
    ports = app.port_parts
    app.branches, app.port_parts = branching.branches, {port.place: branching.port(port) for port in app.route.ports}
    branching.double()
    parts = app.parts
    family = [part.room for part in parts] if len(parts) > 1 else ()
    for part in parts:
        part.room.family = family
    for part in (*parts, *before.values(), *secured):
        part.resume()
    for key in before.keys() - app.branches.keys():
        before[key].close()
    for place in ports.keys() - app.port_parts.keys():
        ports[place].close()
    for part in secured:
        if part not in parts:
            part.close()


class _Branching:
    """The parts of an application for one version of its route. A part for the same backend of the same rule stays."""

    def __init__(self, app: App, settings: InterceptorSettings, endpoint_set: Callable[[Target], EndpointSet]) -> None:
        self._app, self._settings, self._endpoint_set = app, settings, endpoint_set
        self.branches: dict[tuple[int, str], App] = {}
        fallback = app.route.cold_start.fallback
        self._last = () if fallback is None else (fallback,)
        """What is used when nothing else is ready."""
        self._instead: dict[App, Sequence[Target]] = {app: self._last}
        """By part: the targets in place of its own when that has no ready backend."""

    def shares(self, number: int, rule: Rule) -> Shares:
        wanted = [target for target in rule.backends if target.weight]
        weighted: list[tuple[App, int]] = []
        for target in wanted:
            others = [other for other in wanted if other.pool != target.pool]
            weighted.append((self._branch(number, target, (*others, *self._last)), target.weight))
        shares = Shares(weighted)
        for part, _ in weighted:
            part.shares = shares
        return shares

    def port(self, port: ListenPort) -> App:
        """The part for the connections of a port."""
        app, target = self._app, PortTarget.of(self._app.route.target, port)
        timeouts = app.route.timeouts
        # Silence is no fault of a connection whose protocol is not known: only a limit that the route says ends it.
        timeouts = msgspec.structs.replace(timeouts, idle=timeouts.idle or 0.0)
        cold = ColdStart(max_held=app.route.cold_start.max_held, max_held_bytes=app.route.cold_start.max_held_bytes)
        route = Route(
            app.name, target, timeouts=timeouts, scaling=app.route.scaling, cold_start=cold, protection=app.route.protection
        )
        part = app.port_parts.get(port.place)
        if part is None:
            part = Branch(app, route, self._endpoint_set(target), self._settings, fallback=None)
        else:
            part.apply(route, self._endpoint_set(target), self._settings)
        part.port = port
        return part

    def double(self) -> None:
        """Make the parts for requests that came over TLS."""
        for part, instead in self._instead.items():
            target = part.route.target.over_tls if self._settings.backend_tls_as_clients else None
            part.over_tls = None if target is None else self._double(part, target, [other.over_tls or other for other in instead])
            if part.over_tls is not None:
                self._app.flags |= AS_CLIENTS

    def _double(self, plain: App, target: Target, instead: Sequence[Target]) -> App:
        settings, part = self._settings, plain.over_tls
        route = msgspec.structs.replace(plain.route, target=target, previews=None)
        endpoints, fallback = self._endpoint_set(target), self._fallback(instead)
        if part is None:
            part = OverTls(plain, route, endpoints, settings, fallback=fallback)
        else:
            part.apply(route, endpoints, settings, fallback=fallback)
        part.shares = plain.shares
        return part

    def _fallback(self, instead: Sequence[Target]) -> Alternatives | None:
        return Alternatives([self._endpoint_set(target) for target in instead]) if instead else None

    def _branch(self, number: int, target: Target, instead: Sequence[Target]) -> App:
        app, settings = self._app, self._settings
        endpoints, fallback = self._endpoint_set(target), self._fallback(instead)
        route = msgspec.structs.replace(app.route, target=target.plain, previews=None)
        key = (number, target.key)
        part = app.branches.get(key)
        if part is None:
            part = Branch(app, route, endpoints, settings, fallback=fallback)
        else:
            part.apply(route, endpoints, settings, fallback=fallback)
        self.branches[key] = part
        self._instead[part] = instead
        return part
