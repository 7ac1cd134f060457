"""Choice of backends, pooled connections, and untrusted backends, on a manual clock and without a network."""

from __future__ import annotations

from collections import Counter

import pytest

from fleet.discovery.sources import Backend
from fleet.routing.target import Target
from interceptor.app.waiting import WaitingRoom
from interceptor.backends.endpoint import FIRST_PAUSE, JITTER, LONGEST_PAUSE, URGENT_PAUSE, Endpoint, PoolLimits, ProbeRule
from interceptor.backends.endpoints import MAX_PROBES_OF_TARGET, EndpointSet
from interceptor.core.deadlines import Deadlines
from interceptor.http1.backend import BackendConnection
from interceptor.http1.dialer import Http1Dialer
from interceptor.transport.tcp import Outbox
from tests.support.proxy_memory import MockTransport

ONE, TWO, THREE = (Backend("192.0.2.1", port) for port in (1, 2, 3))


class Notes:
    """A prober that only records requested probes."""

    def __init__(self) -> None:
        self.asked: list[Endpoint] = []

    def probe(self, endpoint: Endpoint) -> None:
        endpoint.owner.probing += 1
        self.asked.append(endpoint)

    def answer(self, *, good: bool, now: float = 0.0) -> Endpoint:
        """Report the result of the oldest probe."""
        endpoint = self.asked.pop(0)
        endpoint.owner.probing -= 1
        if good:
            endpoint.passed()
        else:
            endpoint.failed(now)
        return endpoint


class Nobody:
    """An application whose requests are never admitted."""

    room: WaitingRoom[object] = WaitingRoom(1, 1)

    def admit_next(self, now: float) -> bool:
        return False

    def reconsider_waiting(self, now: float) -> None:
        """Not used."""


class Fixture:
    def __init__(self, *backends: Backend, max_idle: int = 2, path: str | None = None) -> None:
        self.now = 0.0
        self.deadlines = Deadlines(0.1, now=self.now)
        self.prober = Notes()
        limits = PoolLimits(idle_timeout=60.0, max_idle=max_idle)
        rule = ProbeRule(path)
        self.set = EndpointSet(
            Target("n/a"),
            limits=limits,
            deadlines=self.deadlines,
            dialer=Http1Dialer(Outbox()),
            prober=self.prober,
            clock=lambda: self.now,
            rule=rule,
        )
        self.set.update(backends)

    def sweep(self, start: float, end: float) -> float:
        """Let time pass in ticks until a probe is requested; returns that time."""
        now = start
        while now < end and not self.prober.asked:
            now += 0.1
            self.now = now
            self.deadlines.sweep(now)
        return now

    def endpoint(self, backend: Backend) -> Endpoint:
        return next(endpoint for endpoint in self.set.endpoints if endpoint.backend == backend)


def test_none_and_one() -> None:
    assert Fixture().set.choose() is None
    fixture = Fixture(ONE)
    assert fixture.set.choose() is fixture.endpoint(ONE)


def test_the_less_loaded_of_two() -> None:
    fixture = Fixture(ONE, TWO)
    fixture.endpoint(ONE).load = 1
    assert {fixture.set.choose() for _ in range(50)} == {fixture.endpoint(TWO)}


def test_among_equals_each_has_its_share() -> None:
    fixture = Fixture(ONE, TWO, THREE)
    chosen: Counter[Backend] = Counter()
    for _ in range(3000):
        endpoint = fixture.set.choose()
        assert endpoint is not None
        chosen[endpoint.backend] += 1
    assert min(chosen.values()) > 700


def test_the_most_loaded_of_three_is_never_chosen() -> None:
    fixture = Fixture(ONE, TWO, THREE)
    fixture.endpoint(THREE).load = 5
    assert fixture.endpoint(THREE) not in {fixture.set.choose() for _ in range(200)}


def test_an_update_keeps_the_endpoints_of_backends_that_stay() -> None:
    fixture = Fixture(ONE, TWO)
    stays, goes = fixture.endpoint(ONE), fixture.endpoint(TWO)
    stays.load = 3
    fixture.set.update((ONE, THREE))
    assert fixture.endpoint(ONE) is stays
    assert stays.load == 3
    assert goes.gone
    assert {endpoint.backend for endpoint in fixture.set.ready} == {ONE, THREE}


def test_one_that_loses_a_request_is_chosen_for_it_again_only_when_there_is_no_other() -> None:
    fixture = Fixture(ONE, TWO)
    one, two = fixture.endpoint(ONE), fixture.endpoint(TWO)
    two.load = 5
    assert {fixture.set.find(10, but=one) for _ in range(50)} == {two}
    two.load = 10
    assert {fixture.set.find(10, but=one) for _ in range(50)} == {one}
    one.load = 10
    assert fixture.set.find(10, but=one) is None


def test_the_one_of_many_that_has_a_place_is_found() -> None:
    fixture = Fixture(ONE, TWO, THREE)
    for backend, load in ((ONE, 9), (TWO, 3), (THREE, 9)):
        fixture.endpoint(backend).load = load
    assert {fixture.set.find(4) for _ in range(50)} == {fixture.endpoint(TWO)}
    assert fixture.set.find(3) is None


def test_one_that_fails_is_probed_after_longer_and_longer_pauses() -> None:
    fixture = Fixture(ONE, TWO)
    endpoint = fixture.endpoint(ONE)
    endpoint.set_aside(0.0)
    assert fixture.set.ready == [fixture.endpoint(TWO)]
    pauses, now = [], 0.0
    for _ in range(8):
        due = endpoint.deadline
        pauses.append(due - now)
        now = fixture.sweep(now, 10_000.0)
        assert due <= now <= due + 0.3
        assert fixture.set.ready == [fixture.endpoint(TWO)]
        assert fixture.prober.answer(good=False, now=now) is endpoint
    for pause, usual in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0], strict=True):
        assert pause == pytest.approx(usual, rel=JITTER)
    assert (usual, FIRST_PAUSE) == (LONGEST_PAUSE, 0.1)
    assert len(set(pauses[-3:])) == 3, "interceptors would probe in step"
    fixture.sweep(now, now + 10)
    fixture.prober.answer(good=True)
    assert (len(fixture.set.ready), endpoint.failures, len(fixture.deadlines)) == (2, 0, 0)


def test_dials_that_fail_together_count_once() -> None:
    fixture = Fixture(ONE)
    endpoint = fixture.endpoint(ONE)
    for _ in range(32):
        endpoint.set_aside(0.0)
    assert endpoint.failures == 1
    assert endpoint.deadline == pytest.approx(FIRST_PAUSE, rel=JITTER)


def test_a_dial_that_succeeds_after_all_is_proof_enough() -> None:
    fixture = Fixture(ONE)
    endpoint = fixture.endpoint(ONE)
    endpoint.set_aside(0.0)
    endpoint.passed()
    assert fixture.set.ready == [endpoint]
    assert not len(fixture.deadlines)


def test_one_that_is_gone_does_not_come_back() -> None:
    fixture = Fixture(ONE, TWO)
    endpoint = fixture.endpoint(ONE)
    endpoint.set_aside(0.0)
    fixture.set.update((TWO,))
    fixture.sweep(0.0, 10.0)
    assert not fixture.prober.asked
    endpoint.passed()
    assert fixture.set.ready == [fixture.endpoint(TWO)]
    assert len(fixture.deadlines) == 0


def test_one_that_goes_while_it_is_probed_is_forgotten() -> None:
    fixture = Fixture(ONE, TWO)
    fixture.endpoint(ONE).set_aside(0.0)
    fixture.sweep(0.0, 1.0)
    fixture.set.update((TWO,))
    fixture.prober.answer(good=False, now=1.0)
    assert len(fixture.deadlines) == 0


def test_a_request_that_begins_to_wait_ends_the_pause() -> None:
    fixture = Fixture(ONE)
    endpoint = fixture.endpoint(ONE)
    endpoint.set_aside(0.0)
    for _ in range(5):
        fixture.prober.asked = [endpoint]
        fixture.set.probing = 1
        fixture.prober.answer(good=False, now=10.0)
    assert endpoint.deadline > 12.0
    fixture.set.probe_sooner(10.05)  # not at once after a failure, so that repeated calls do not cause a flood of probes
    assert (fixture.prober.asked, endpoint.deadline) == ([], 10.1)
    fixture.set.probe_sooner(11.0)
    fixture.set.probe_sooner(11.0)
    assert fixture.prober.asked == [endpoint]


def test_probes_are_not_sooner_while_another_backend_is_ready() -> None:
    fixture = Fixture(ONE, TWO)
    fixture.endpoint(ONE).set_aside(0.0)
    before = fixture.endpoint(ONE).deadline
    fixture.set.probe_sooner(5.0)
    assert (fixture.prober.asked, fixture.endpoint(ONE).deadline) == ([], before)


def test_while_somebody_waits_for_the_only_one_its_pauses_stay_short() -> None:
    fixture = Fixture(ONE)
    endpoint = fixture.endpoint(ONE)
    endpoint.set_aside(0.0)
    fixture.set.waiting_apps[Nobody()] = None
    now = 0.0
    for _ in range(10):
        now = fixture.sweep(now, now + 10)
        fixture.prober.answer(good=False, now=now)
        assert endpoint.deadline <= now + URGENT_PAUSE * (1 + JITTER)


def test_with_a_readiness_path_new_backends_are_probed_first() -> None:
    fixture = Fixture(ONE, TWO, path="/ready")
    assert (fixture.set.choose(), fixture.prober.asked) == (None, fixture.set.endpoints)
    first = fixture.prober.answer(good=True)
    assert fixture.set.ready == [first]
    second = fixture.prober.answer(good=False, now=0.0)
    assert fixture.set.ready == [first]
    now = fixture.sweep(0.0, 1.0)
    fixture.prober.answer(good=True)
    assert now < 0.5
    assert fixture.set.ready == [first, second]
    fixture.set.update((ONE, TWO, THREE))
    assert len(fixture.set.ready) == 2


def test_probes_of_one_target_are_bounded() -> None:
    count = 100
    many = [Backend("192.0.2.1", port) for port in range(1, count + 1)]
    fixture = Fixture(*many, path="/ready")
    assert len(fixture.prober.asked) == MAX_PROBES_OF_TARGET
    now = 0.0
    while len(fixture.set.ready) < count:
        while fixture.prober.asked:
            fixture.prober.answer(good=True)
        now = fixture.sweep(now, now + 1)
        assert len(fixture.prober.asked) <= MAX_PROBES_OF_TARGET
    assert not len(fixture.deadlines)


async def test_the_pool_is_bounded_and_closed_with_its_endpoint() -> None:
    fixture = Fixture(ONE)
    endpoint = fixture.endpoint(ONE)
    transports = [MockTransport(BackendConnection(endpoint, Outbox())) for _ in range(3)]
    for transport in transports:
        assert isinstance(transport.protocol, BackendConnection)
        endpoint.offer(transport.protocol, 0.0)
    assert [transport.closing for transport in transports] == [False, False, True]
    fixture.set.update(())
    assert all(transport.closing for transport in transports)


async def test_a_pooled_connection_ends_after_its_rest() -> None:
    fixture = Fixture(ONE)
    endpoint = fixture.endpoint(ONE)
    transport = MockTransport(BackendConnection(endpoint, Outbox()))
    assert isinstance(transport.protocol, BackendConnection)
    endpoint.offer(transport.protocol, 0.0)
    for step in range(598):
        fixture.deadlines.sweep(step * 0.1)
    assert endpoint.spare
    for step in range(598, 603):
        fixture.deadlines.sweep(step * 0.1)
    assert (endpoint.spare, transport.closing) == ([], True)
