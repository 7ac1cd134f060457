"""Counters and histograms of one application."""

from __future__ import annotations

from interceptor.stats import BUCKETS, AppStats, Histogram


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.005, 0.0051, 0.3, 1000.0):
        histogram.observe(seconds)
    counts = dict(histogram.cumulative())
    assert counts["0.005"] == 2
    assert counts["0.025"] == 3
    assert counts["0.5"] == 4
    assert counts["30.0"] == 4
    assert counts["+Inf"] == 5
    assert list(counts)[:-1] == [str(bound) for bound in BUCKETS]
    assert abs(histogram.sum - 1000.3101) < 1e-9


def test_answers_by_method_and_status() -> None:
    stats = AppStats()
    for method, status in ((b"GET", 200), (b"GET", 200), (b"GET", 499), (b"PURGE", 200), (b"MKCOL", 200)):
        stats.answered(method, status, 0.01)
    stats.tunnelled(b"GET")
    assert stats.answers() == {("GET", "200"): 2, ("GET", "499"): 1, ("_OTHER", "200"): 2, ("GET", "101"): 1}
    assert dict(stats.duration.cumulative())["+Inf"] == 5


def test_observing_through_answers_equals_observing() -> None:
    stats, histogram = AppStats(), Histogram()
    for seconds in (0.0005, 0.02, 3.0, 99.0):
        stats.answered(b"GET", 200, seconds)
        histogram.observe(seconds)
    assert list(stats.duration.cumulative()) == list(histogram.cumulative())
