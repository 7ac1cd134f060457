"""Admission: which requests, to which backend and in which order; on a manual clock, with waiters that record their backend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fleet.demand.ledger import Ledger
from fleet.discovery.sources import Backend
from fleet.routing.route import ColdStart, Protection, Route, Scaling, Target, Timeouts
from interceptor.app.admission import LONGEST_PATIENCE
from interceptor.app.app import App, Limits
from interceptor.backends import endpoints as endpoints_module
from interceptor.backends.endpoint import FIRST_PAUSE, MAX_DIALS, Endpoint, PoolLimits, Slot
from interceptor.backends.endpoints import EndpointSet, Prober
from interceptor.core.deadlines import Deadlines
from interceptor.core.errors import Unavailable
from interceptor.http1.dialer import Http1Dialer
from interceptor.transport.tcp import Outbox
from tests.support.loopback import loopback_settings

SETTINGS = loopback_settings(max_held=1000)
BACKENDS = tuple(Backend("192.0.2.1", port) for port in range(1, 6))


class Waiter:
    def __init__(self, number: int) -> None:
        self.number = number
        self.slot: Slot | None = None
        self.error: Unavailable | None = None

    def settle(self, endpoint: Endpoint | None) -> Endpoint | None:
        return endpoint

    def reconsider(self, now: float) -> None:
        """The routes of these tests have no local answers."""

    def admit(self, endpoint: Endpoint, now: float) -> None:
        self.slot = Slot(endpoint)

    def reject(self, error: Unavailable) -> None:
        self.error = error


class Asks:
    """A prober that only records requested probes."""

    def __init__(self, asked: list[Endpoint]) -> None:
        self._asked = asked

    def probe(self, endpoint: Endpoint) -> None:
        self._asked.append(endpoint)


class Fixture:
    """One target, apps on it, and a clock that a test moves."""

    def __init__(self, *routes: Route) -> None:
        self.now = 0.0
        self.deadlines = Deadlines(0.1, now=0.0)
        self.set = self.endpoint_set("a", Asks([]))
        ledger = Ledger()
        self.apps = [App(each, ledger.entry(each.app), self.set, SETTINGS) for each in routes or (route(),)]
        self.waiters: list[Waiter] = []

    def endpoint_set(self, key: str, prober: Prober) -> EndpointSet:
        limits = PoolLimits(idle_timeout=60.0, max_idle=2)
        return EndpointSet(
            Target(key),
            limits=limits,
            deadlines=self.deadlines,
            dialer=Http1Dialer(Outbox()),
            prober=prober,
            clock=lambda: self.now,
        )

    def come(self, count: int = 1, *, app: int = 0) -> list[Waiter]:
        new = [Waiter(len(self.waiters) + at) for at in range(count)]
        for waiter in new:
            assert self.apps[app].enter(waiter, now=self.now, size=100)
        self.waiters += new
        return new

    def up(self, count: int) -> None:
        self.set.update(BACKENDS[:count])
        self.set.pump(self.now)

    def answered(self, endpoint: Endpoint) -> None:
        slot = next(
            waiter.slot for waiter in self.waiters if waiter.slot and waiter.slot.taken and waiter.slot.endpoint is endpoint
        )
        slot.leave(self.now)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.1
            self.deadlines.sweep(self.now)

    @property
    def loads(self) -> list[int]:
        return [endpoint.load for endpoint in self.set.endpoints]

    @property
    def admitted(self) -> list[int]:
        return [waiter.number for waiter in self.waiters if waiter.slot is not None]


def route(name: str = "default/a", **fields: Any) -> Route:
    return Route(app=name, target=Target("default/a"), **{"scaling": Scaling(concurrency=10), **fields})


def test_the_first_backend_is_not_overloaded() -> None:
    """1,000 requests wait; one backend, then five: none gets more than the target, and all are admitted in order."""
    fixture = Fixture()
    fixture.come(1000)
    fixture.up(1)
    assert (fixture.loads, fixture.admitted) == ([10], list(range(10)))
    for _ in range(40):
        fixture.answered(fixture.set.endpoints[0])
        assert fixture.loads == [10]
    fixture.up(5)
    assert fixture.loads == [10] * 5
    assert fixture.admitted == list(range(90))
    while fixture.apps[0].room:
        fixture.answered(max(fixture.set.endpoints, key=lambda each: each.load))
        assert max(fixture.loads) == 10
    assert fixture.admitted == list(range(1000))


def test_the_least_loaded_gets_the_next() -> None:
    fixture = Fixture()
    fixture.come(50)
    fixture.up(5)
    assert fixture.loads == [10] * 5
    fixture.come(7)
    for _ in range(7):
        fixture.answered(fixture.set.endpoints[3])
    assert fixture.loads == [10] * 5
    assert fixture.admitted == list(range(57))


def test_a_backend_that_is_being_dialled_often_is_left_alone() -> None:
    fixture = Fixture()
    fixture.up(2)
    busy, other = fixture.set.endpoints
    busy.dialing = MAX_DIALS
    fixture.come(30)
    fixture.set.pump(0.0)
    assert (busy.load, other.load) == (0, 10)
    busy.dialing -= 1
    fixture.set.pump(0.0)
    assert (busy.load, other.load) == (10, 10)


def test_a_request_that_would_starve_is_admitted() -> None:
    """50 requests that never end, a target of 10, and never a second backend."""
    fixture = Fixture()
    fixture.come(50)
    fixture.wait(30)  # without any backend the limit is not raised
    fixture.up(1)
    fixture.wait(LONGEST_PATIENCE - 1)
    assert fixture.loads == [10]
    fixture.wait(2)
    assert fixture.loads == [20]
    fixture.wait(4)
    assert (fixture.loads, fixture.admitted) == ([50], list(range(50)))
    assert not len(fixture.deadlines)


def test_a_backend_that_goes_takes_the_patience_with_it() -> None:
    fixture = Fixture()
    fixture.come(50)
    for _ in range(3):
        fixture.up(1)
        fixture.wait(LONGEST_PATIENCE - 2)
        endpoint = fixture.set.endpoints[0]
        endpoint.load = 10
        fixture.up(0)
        endpoint.load = 0  # and its requests with it
        fixture.wait(2)
    assert fixture.admitted == list(range(30))


def test_once_nobody_waits_the_bound_is_as_before() -> None:
    fixture = Fixture()
    fixture.come(15)
    fixture.up(1)
    fixture.wait(LONGEST_PATIENCE + 1)
    assert fixture.loads == [15]
    fixture.come(5)
    fixture.set.pump(fixture.now)
    assert fixture.loads == [15]


def test_a_ceiling_does_not_yield() -> None:
    fixture = Fixture(route(protection=Protection(backend_concurrency=3)))
    fixture.come(10)
    fixture.up(2)
    fixture.wait(40)
    assert fixture.loads == [3, 3]


def test_two_apps_on_one_target_take_turns_by_age() -> None:
    fixture = Fixture(route(protection=Protection(backend_concurrency=2)), route("default/b"))
    for _ in range(3):
        fixture.come(1, app=0)
        fixture.now += 1
        fixture.come(1, app=1)
        fixture.now += 1
    fixture.up(1)
    assert fixture.admitted == [0, 1, 3, 5]  # the first app's ceiling counts whatever the backend does
    (endpoint,) = fixture.set.endpoints
    fixture.answered(endpoint)
    fixture.answered(endpoint)
    assert fixture.admitted == [0, 1, 3, 5]
    fixture.answered(endpoint)
    assert fixture.admitted == [0, 1, 2, 3, 5]


def test_a_client_that_leaves_frees_its_place_and_its_bytes() -> None:
    fixture = Fixture(route(cold_start=ColdStart(max_held=2, max_held_bytes=250)))
    (app,) = fixture.apps
    first, _ = fixture.come(2)
    assert not app.enter(Waiter(9), now=0.0, size=1)
    app.leave(first)
    assert not app.enter(Waiter(9), now=0.0, size=151)
    fixture.come(1)
    for waiter in fixture.waiters:
        app.leave(waiter)
    assert (len(app.room), app.room.held_bytes, len(fixture.set.waiting_apps), len(fixture.deadlines)) == (0, 0, 0, 0)


def test_a_changed_route_sends_all_waiting_requests_to_its_new_target() -> None:
    fixture = Fixture()
    (app,) = fixture.apps
    fixture.come(3)
    other = fixture.endpoint_set("b", Asks([]))
    app.update(route(timeouts=Timeouts(readiness=5)), other, SETTINGS)
    assert (list(fixture.set.waiting_apps), list(other.waiting_apps)) == ([], [app])
    other.update(BACKENDS[:1])
    assert fixture.admitted == [0, 1, 2]


def test_waiting_requests_whose_route_changes_shorten_the_pause_before_a_probe() -> None:
    """The new target's only backend has failed for a long time, so its next probe would be seconds away."""
    fixture = Fixture()
    (app,) = fixture.apps
    fixture.come(1)
    asked: list[Endpoint] = []
    other = fixture.endpoint_set("b", Asks(asked))
    other.update(BACKENDS[:1])
    (endpoint,) = other.endpoints
    endpoint.set_aside(fixture.now)
    for _ in range(6):
        endpoint.failed(fixture.now)
    fixture.wait(FIRST_PAUSE)
    app.update(route(), other, SETTINGS)
    fixture.wait(FIRST_PAUSE * 2)
    assert asked == [endpoint]


@pytest.mark.parametrize(
    ("setting", "said", "answers"),
    [
        (False, None, False),
        (True, None, True),
        (False, True, True),
        (True, False, False),
    ],
)
def test_whether_half_closed_clients_are_answered(setting: bool, said: bool | None, answers: bool) -> None:
    """From the route, or else from the setting; a changed route applies at once."""
    settings = loopback_settings(answer_half_closed=setting)
    fixture = Fixture()
    endpoints = fixture.set
    made = App(route(answer_half_closed=said), Ledger().entry("default/a"), endpoints, settings)
    assert made.answers_half_closed is answers
    changed = App(route(answer_half_closed=not answers), Ledger().entry("default/a"), endpoints, settings)
    assert changed.answers_half_closed is not answers
    changed.update(route(answer_half_closed=said), endpoints, settings)
    assert changed.answers_half_closed is answers


def test_a_route_that_is_removed_turns_everybody_away() -> None:
    fixture = Fixture()
    fixture.come(3)
    fixture.apps[0].close()
    assert all("removed" in str(waiter.error) for waiter in fixture.waiters)
    assert not fixture.set.waiting_apps


# -- places at backends ---------------------------------------------------------------------------------------------


def test_a_released_slot_goes_to_a_waiting_request() -> None:
    fixture = Fixture(route(protection=Protection(backend_concurrency=1)))
    fixture.come(3)
    fixture.up(1)
    assert fixture.admitted == [0]
    slot = fixture.waiters[0].slot
    assert slot is not None
    slot.leave(fixture.now)
    assert (fixture.admitted, fixture.loads) == ([0, 1], [1])


def test_a_place_is_left_once() -> None:
    """Also if it was vacated before, and others have the slot now."""
    fixture = Fixture()
    fixture.up(1)
    (endpoint,) = fixture.set.endpoints
    first, second = Slot(endpoint), Slot(endpoint)
    assert endpoint.load == 2
    first.vacate()
    first.vacate()
    first.leave(fixture.now)
    first.leave(fixture.now)
    assert endpoint.load == 1
    second.leave(fixture.now)
    second.vacate()
    assert endpoint.load == 0


def test_a_place_that_is_vacated_waits_for_its_own_request_first() -> None:
    """A request that lost its backend chooses its next slot before waiting requests get the old one."""
    fixture = Fixture(route(protection=Protection(backend_concurrency=1)))
    fixture.come(2)
    fixture.up(1)
    slot = fixture.waiters[0].slot
    assert slot is not None
    slot.vacate()
    assert (fixture.admitted, fixture.loads) == ([0], [0])
    slot.leave(fixture.now)
    assert (fixture.admitted, fixture.loads) == ([0, 1], [1])


def test_only_slots_count_places() -> None:
    changes = [
        (file.name, line.strip())
        for file in sorted(Path(endpoints_module.__file__).parent.rglob("*.py"))
        for line in file.read_text().splitlines()
        if re.search(r"\.load\s*[-+]?=[^=]", line)
    ]
    assert {name for name, _ in changes} == {"endpoint.py"}
    assert sorted(set(changes)) == [
        ("endpoint.py", "endpoint.load += 1"),
        ("endpoint.py", "self.endpoint.load -= 1"),
        ("endpoint.py", "self.load = 0"),
    ]


def test_a_clients_deadline_changes_the_limit_of_the_whole_request_alone() -> None:
    usual = Limits(Timeouts(connect=1, readiness=2, response_header=3, request=9, idle=5), loopback_settings())
    assert usual.within(10) is usual
    limits = usual.within(4)
    changed = {name for name in Limits.__slots__ if getattr(limits, name) != getattr(usual, name)}
    assert (limits.request, limits.of_client, limits.late, changed) == (4, True, False, {"request", "of_client"})
