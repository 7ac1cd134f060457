"""What happens at a deadline, for each of its reasons."""

from __future__ import annotations

import pytest

from fleet.routing.route import Timeouts
from interceptor.app.app import Limits
from interceptor.core.errors import ExchangeError
from interceptor.exchange.limits import LATE_SECONDS, stalled, unanswered
from tests.support.loopback import loopback_settings

LIMITS = Limits(Timeouts(connect=5, readiness=20, response_header=30, request=100, idle=10), loopback_settings())

UNANSWERED: list[tuple[float, float | None, bool, str | float]] = [
    (30.0, None, True, "response_header_timeout"),
    (30.0, None, False, "slow_body"),
    (30.0, 4.0, True, 6.0),
    (30.0, 10.0, False, "body_timeout"),
    (99.0, 4.0, False, 6.0),
    (100.0, 4.0, False, "request_timeout"),
    (100.0, None, False, "request_timeout"),
]


@pytest.mark.parametrize(("age", "stuck", "speaks", "outcome"), UNANSWERED)
def test_before_a_response(age: float, stuck: float | None, speaks: bool, outcome: str | float) -> None:
    found = unanswered("default/a", LIMITS, now=7 + age, started=7, stuck=stuck, backend_speaks_next=speaks)
    assert (found.reason if isinstance(found, ExchangeError) else found) == outcome


@pytest.mark.parametrize(
    ("age", "stuck", "outcome"),
    [(99.0, 4.0, 6.0), (99.0, 10.0, "idle_timeout"), (100.0, 10.0, "request_timeout"), (100.0, 4.0, "request_timeout")],
)
def test_after_it_began(age: float, stuck: float, outcome: str | float) -> None:
    assert stalled(LIMITS, now=7 + age, started=7, stuck=stuck) == outcome


@pytest.mark.parametrize(
    ("age", "stuck", "outcome"),
    [(3.0, 4.0, 6.0), (3.9, 10.0, "idle_timeout"), (4.0, 10.0, LATE_SECONDS), (4.25, 10.0, 0.25), (4.5, 0.0, "grpc_timeout")],
)
def test_a_backend_has_a_moment_beyond_the_clients_deadline(age: float, stuck: float, outcome: str | float) -> None:
    assert stalled(LIMITS.within(4.0), now=7 + age, started=7, stuck=stuck) == outcome
