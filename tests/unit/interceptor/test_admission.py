"""How many requests one backend gets at once: the fixed ceiling, and the limit that is raised; on a manual clock."""

from __future__ import annotations

import pytest

from fleet.defaults import TARGET
from fleet.routing.route import Protection, RateTarget, Route, Scaling, Target
from interceptor.app.admission import LONGEST_PATIENCE, UNBOUNDED, Admission


def admission(
    wanted: int | None = None, *, concurrency: float | None = 10, rate: float | None = None, readiness: float = 60.0
) -> Admission:
    made = Admission()
    scaling = Scaling(concurrency=concurrency, rate=RateTarget(rate) if rate else None)
    made.update(
        Route(app="default/a", target=Target("default/a"), scaling=scaling, protection=Protection(backend_concurrency=wanted)),
        readiness=readiness,
    )
    return made


@pytest.mark.parametrize(
    ("wanted", "concurrency", "ceiling", "bound"),
    [
        (None, 10, UNBOUNDED, 10),
        (None, 2.5, UNBOUNDED, 3),
        (None, 0.2, UNBOUNDED, 1),
        (None, None, UNBOUNDED, TARGET),
        (7, 10, 7, 7),
        (7, 3, 7, 7),
        (0, 10, UNBOUNDED, UNBOUNDED),
    ],
)
def test_where_the_bounds_come_from(wanted: int | None, concurrency: float | None, ceiling: int, bound: int) -> None:
    made = admission(wanted, concurrency=concurrency)
    assert (made.ceiling, made.bound) == (ceiling, bound)


def test_a_rate_says_nothing_of_concurrency() -> None:
    assert admission(concurrency=None, rate=3).bound == TARGET


def test_the_targets_bound_yields_once_patience_is_over() -> None:
    made = admission()
    made.press(100.0, 100.0 + LONGEST_PATIENCE - 0.01)
    assert made.bound == 10
    made.press(100.0, 100.0 + LONGEST_PATIENCE)
    made.press(100.0, 100.0 + LONGEST_PATIENCE + 1)
    assert made.bound == 40
    made.press(110.0, 110.0)  # the next request has just arrived
    assert made.bound == 40
    made.relax()
    assert made.bound == 10


@pytest.mark.parametrize("wanted", [0, 5])
def test_what_a_route_asks_for_does_not_yield(wanted: int) -> None:
    made = admission(wanted)
    before = made.bound
    made.press(0.0, 1000.0)
    assert made.bound == before


def test_patience_ends_well_before_the_readiness_timeout() -> None:
    """In the remaining half of the timeout the limit grows beyond any number of requests."""
    made = admission(concurrency=1, readiness=4.0)
    made.press(0.0, 1.9)
    assert made.bound == 1
    now = 2.0
    while now < 4.0:
        made.press(0.0, now)
        now += made.look
    assert made.bound >= 500


def test_no_readiness_timeout() -> None:
    made = admission(readiness=float("inf"))
    made.press(0.0, LONGEST_PATIENCE)
    assert made.bound == 20


def test_it_never_grows_past_all_bounds() -> None:
    made = admission()
    for _ in range(200):
        made.press(0.0, 1000.0)
    assert made.bound == UNBOUNDED
