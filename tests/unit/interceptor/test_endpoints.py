"""Which backend is chosen, what is pooled, and who is set aside, on a manual clock and without a network."""

from __future__ import annotations

from collections import Counter

import pytest

from fleet.discovery.sources import Backend
from interceptor.deadlines import Deadlines
from interceptor.endpoints import FIRST_PAUSE, LONGEST_PAUSE, Endpoint, EndpointSet, PoolLimits
from interceptor.http1.backend import BackendConnection
from interceptor.http1.connection import Outbox
from tests.wire.proxy_memory import MockTransport

ONE, TWO, THREE = (Backend("192.0.2.1", port) for port in (1, 2, 3))


class Fixture:
    def __init__(self, *backends: Backend, max_idle: int = 2) -> None:
        self.deadlines = Deadlines(0.1, now=0.0)
        limits = PoolLimits(idle_timeout=60.0, max_idle=max_idle)
        self.set = EndpointSet("a", limits=limits, deadlines=self.deadlines, outbox=Outbox())
        self.set.update(backends)

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


def test_an_update_keeps_who_stays() -> None:
    fixture = Fixture(ONE, TWO)
    stays, goes = fixture.endpoint(ONE), fixture.endpoint(TWO)
    stays.load = 3
    fixture.set.update((ONE, THREE))
    assert fixture.endpoint(ONE) is stays
    assert stays.load == 3
    assert goes.gone
    assert {endpoint.backend for endpoint in fixture.set.ready} == {ONE, THREE}


def test_one_that_fails_is_set_aside_for_longer_and_longer() -> None:
    fixture = Fixture(ONE, TWO)
    endpoint = fixture.endpoint(ONE)
    pauses = []
    now = 0.0
    for _ in range(8):
        endpoint.set_aside(now)
        assert fixture.set.ready == [fixture.endpoint(TWO)]
        pauses.append(endpoint.deadline - now)
        end = endpoint.deadline
        while endpoint not in fixture.set.ready:
            now += 0.1
            fixture.deadlines.sweep(now)
        assert end <= now <= end + 0.3
    assert pauses[0] == pytest.approx(FIRST_PAUSE)
    assert pauses[1] == pytest.approx(2 * FIRST_PAUSE)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE)


def test_one_that_is_gone_does_not_come_back() -> None:
    fixture = Fixture(ONE, TWO)
    endpoint = fixture.endpoint(ONE)
    endpoint.set_aside(0.0)
    fixture.set.update((TWO,))
    for step in range(100):
        fixture.deadlines.sweep(step * 0.1)
    assert fixture.set.ready == [fixture.endpoint(TWO)]
    assert len(fixture.deadlines) == 0


async def test_the_pool_is_bounded_and_closed_with_its_endpoint() -> None:
    fixture = Fixture(ONE)
    endpoint = fixture.endpoint(ONE)
    transports = [MockTransport(BackendConnection(endpoint)) for _ in range(3)]
    for transport in transports:
        assert isinstance(transport.protocol, BackendConnection)
        endpoint.give_back(transport.protocol, 0.0)
    assert [transport.closing for transport in transports] == [False, False, True]
    fixture.set.update(())
    assert all(transport.closing for transport in transports)


async def test_a_pooled_connection_ends_after_its_rest() -> None:
    fixture = Fixture(ONE)
    endpoint = fixture.endpoint(ONE)
    transport = MockTransport(BackendConnection(endpoint))
    assert isinstance(transport.protocol, BackendConnection)
    endpoint.give_back(transport.protocol, 0.0)
    for step in range(598):
        fixture.deadlines.sweep(step * 0.1)
    assert endpoint.idle
    for step in range(598, 603):
        fixture.deadlines.sweep(step * 0.1)
    assert (endpoint.idle, transport.closing) == ([], True)
