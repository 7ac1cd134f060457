from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.demand.window import MAX_BUCKETS, Window
from tests.support.full import examples


def test_mean_is_growth_per_second() -> None:
    window = Window(10.0, 1.0)
    for second in range(100):
        window.add(5.0, second + 0.5)
    assert window.mean(100.0) == pytest.approx(5.0)


def test_a_steady_flow_reads_the_same_at_any_moment() -> None:
    window = Window(10.0, 1.0)
    now = 0.0
    for step in range(2000):
        now = step / 20
        window.add(0.25, now, now - 0.05)
        if now > 12:
            assert window.mean(now) == pytest.approx(5.0, rel=0.01)


def test_growth_leaves_the_window() -> None:
    window = Window(10.0, 1.0)
    window.add(100.0, 50.5)
    assert window.mean(51.0) == pytest.approx(10.0)
    assert 0.0 < window.mean(60.5) < 10.0
    assert window.mean(61.0) == pytest.approx(0.0)


@pytest.mark.parametrize(("span", "granularity"), [(0.5, 0.1), (0.001, 0.001), (1.0, 0.3), (60.0, 1.0), (7.0, 2.0), (1.0, 5.0)])
def test_any_sizes_hold_what_was_just_added(span: float, granularity: float) -> None:
    window = Window(span, granularity)
    window.add(3.0, 1000.0)
    assert window.total(1000.0) == pytest.approx(3.0)
    assert window.total(1000.0 + span + 2 * granularity) == pytest.approx(0.0)


def test_growth_over_a_stretch_is_spread_over_it() -> None:
    window = Window(10.0, 1.0)
    window.add(30.0, 100.0, 70.0)
    assert window.mean(100.0) == pytest.approx(1.0), "30 over 30 seconds: one per second, not three"


def test_a_young_watch_is_averaged_over_its_own_time() -> None:
    window = Window(60.0, 1.0)
    window.add(50.0, 105.0, 100.0)
    assert window.mean(105.0) == pytest.approx(50 / 60)
    assert window.mean(105.0, since=100.0) == pytest.approx(10.0)
    assert window.mean(105.0, since=104.9) == pytest.approx(25.0), "never over less than two seconds"


def test_a_long_idle_gap_costs_one_turn_of_the_ring() -> None:
    window = Window(1.0, 0.01)
    window.add(1.0, 0.0)
    window.add(1.0, 1e9)
    assert window.total(1e9) == 1.0


def test_too_fine_a_granularity_is_coarsened() -> None:
    assert Window(3600.0, 0.001).granularity == pytest.approx(3600 / MAX_BUCKETS)


def test_no_drift() -> None:
    window = Window(10.0, 1.0)
    window.add(1e15, 1.0)
    for step in range(100_000):
        window.add(0.1, 100 + step / 100)
    assert window.mean(1100.0) == pytest.approx(10.0)


def test_resizing_keeps_the_history() -> None:
    window = Window(60.0, 1.0)
    for second in range(60):
        window.add(2.0, second + 1.0, float(second))
    assert window.resized(30.0, 0.5).mean(60.0) == pytest.approx(2.0, rel=0.01)
    assert window.resized(120.0, 1.0).total(60.0) == pytest.approx(120.0, rel=0.01)


SIZES = st.tuples(st.floats(0.01, 100), st.floats(0.01, 100))
FLOWS = st.lists(st.tuples(st.floats(0, 20), st.one_of(st.just(0.0), st.floats(0, 50)), st.floats(0, 1000)), max_size=30)


@settings(max_examples=examples(200), deadline=None)
@given(SIZES, FLOWS, st.floats(0, 30))
def test_the_total_lies_between_the_exact_sums_around_it(
    sizes: tuple[float, float], flows: list[tuple[float, float, float]], wait: float
) -> None:
    span, asked = sizes
    window, now = Window(span, asked), 1000.0
    noted: list[tuple[float, float, float]] = []
    for pause, length, amount in flows:
        now += pause
        window.add(amount, now, now - length)
        noted.append((now - length, now, amount))
    now += wait
    inner = sum(amount * share(since, until, now - span + window.granularity, now) for since, until, amount in noted)
    outer = sum(amount * share(since, until, now - span - window.granularity, now) for since, until, amount in noted)
    assert inner - 1e-6 * (1 + inner) <= window.total(now) <= outer + 1e-6 * (1 + outer)


def share(since: float, until: float, begin: float, end: float) -> float:
    """The length of the overlap of two intervals; a point in time is inside or not."""
    if until - since < 1e-9:
        return float(begin - 1e-9 <= until <= end + 1e-9)
    return max(0.0, min(until, end) - max(since, begin)) / (until - since)


@settings(max_examples=examples(100), deadline=None)
@given(SIZES, st.lists(st.tuples(st.floats(0, 20), st.integers(0, 100)), max_size=40))
def test_momentary_growth_equals_naive_buckets(sizes: tuple[float, float], steps: list[tuple[float, int]]) -> None:
    window, now = Window(*sizes), 1000.0
    naive: dict[int, float] = {}
    width = window.granularity
    for pause, amount in steps:
        now += pause
        window.add(amount, now)
        index = floor(now // width)
        naive[index] = naive.get(index, 0.0) + amount
        expected = sum(held * min(1.0, max(0.0, ((at + 1) * width - (now - window.span)) / width)) for at, held in naive.items())
        assert window.total(now) == pytest.approx(expected, rel=1e-6, abs=1e-4)
