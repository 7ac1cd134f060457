"""Which replicas are started and retired."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weir.engine.rollout import Rollout, Standing, plan, plan_alone


def _now(number: int, *, ready: bool = True) -> Standing:
    return Standing(number=number, ready=ready, current=True)


def _busy(number: int, in_flight: int) -> Standing:
    return Standing(number=number, ready=True, current=True, in_flight=in_flight)


def _old(number: int, *, ready: bool = True) -> Standing:
    return Standing(number=number, ready=ready, current=False)


def test_starts_what_is_missing() -> None:
    assert plan([_now(1)], 3) == Rollout(start=2, retire=())


def test_retires_the_youngest() -> None:
    assert plan([_now(1), _now(2), _now(3)], 1) == Rollout(start=0, retire=(2, 3))


def test_retires_those_that_do_not_serve_before_those_that_do() -> None:
    assert plan([_now(1, ready=False), _now(2)], 1) == Rollout(start=0, retire=(1,))


def test_retires_the_idle_before_the_busy_and_the_less_busy_before_the_more() -> None:
    assert plan([_now(1), _busy(2, 1)], 1) == Rollout(start=0, retire=(1,))
    assert plan([_busy(1, 2), _busy(2, 1), _busy(3, 5), _now(4)], 2) == Rollout(start=0, retire=(2, 4))
    assert plan([_now(1, ready=False), _now(2), _busy(3, 1)], 2) == Rollout(start=0, retire=(1,))


def test_an_old_one_stays_until_a_new_one_serves() -> None:
    assert plan([_old(1)], 1) == Rollout(start=1, retire=())
    assert plan([_old(1), _now(2, ready=False)], 1) == Rollout(start=0, retire=())
    assert plan([_old(1), _now(2)], 1) == Rollout(start=0, retire=(1,))


def test_old_ones_go_one_by_one() -> None:
    assert plan([_old(1), _old(2), _now(3), _now(4, ready=False)], 2) == Rollout(start=0, retire=(2,))


def test_an_old_one_that_does_not_serve_goes_at_once() -> None:
    assert plan([_old(1, ready=False)], 1) == Rollout(start=1, retire=(1,))


def test_at_zero_everything_goes() -> None:
    assert plan([_old(1), _now(2), _now(3, ready=False)], 0) == Rollout(start=0, retire=(1, 2, 3))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12), st.integers(0, 8))
def test_never_fewer_ready_than_there_were_unless_there_are_too_many(flags: list[tuple[bool, bool]], desired: int) -> None:
    standings = [Standing(number=at, ready=ready, current=current) for at, (ready, current) in enumerate(flags, 1)]
    rollout = plan(standings, desired)
    left = [standing for standing in standings if standing.number not in rollout.retire]
    ready_before = sum(standing.ready for standing in standings)
    assert sum(standing.ready for standing in left) >= min(desired, ready_before)
    assert sum(standing.current for standing in left) + rollout.start == desired
    assert sum(standing.ready for standing in left) <= max(desired, 0)


def test_one_that_has_one_place_starts_when_it_is_free() -> None:
    assert plan_alone([], 3, ending=False) == Rollout(start=1, retire=())
    assert plan_alone([], 1, ending=True) == Rollout(start=0, retire=())
    assert plan_alone([_now(1)], 1, ending=False) == Rollout(start=0, retire=())
    assert plan_alone([_old(1)], 1, ending=False) == Rollout(start=0, retire=(1,))
    assert plan_alone([_now(1)], 0, ending=False) == Rollout(start=0, retire=(1,))
    assert plan_alone([], 0, ending=False) == Rollout(start=0, retire=())


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=6), st.integers(0, 4), st.booleans())
def test_of_one_that_has_one_place_there_are_never_two(flags: list[tuple[bool, bool]], desired: int, ending: bool) -> None:
    standings = [Standing(number=at, ready=ready, current=current) for at, (ready, current) in enumerate(flags, 1)]
    rollout = plan_alone(standings, desired, ending=ending)
    assert len(standings) - len(rollout.retire) + rollout.start <= 1
    assert not rollout.start or not (standings or ending)
