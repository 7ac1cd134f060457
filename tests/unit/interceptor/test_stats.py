"""Counters and histograms of one application."""

from __future__ import annotations

from interceptor.app.flags import COLD
from interceptor.app.stats import BUCKETS, MAX_KINDS, AppStats, Histogram


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.005, 0.0051, 0.3, 1000.0):
        histogram.observe(seconds)
    counts = dict(zip((*BUCKETS, None), histogram.observed().counts, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.005: 2, 0.025: 1, 0.5: 1, None: 1}
    assert abs(histogram.sum - 1000.3101) < 1e-9


def counts(stats: AppStats) -> dict[tuple[str, str, str], int]:
    return {kind: found.count for kind, found in stats.answers().items()}


def test_answers_by_method_status_and_cold_start() -> None:
    stats = AppStats()
    for method, status in ((b"GET", 200), (b"GET", 200), (b"GET", 499), (b"PURGE", 200), (b"MKCOL", 200), (b"CONNECT", 200)):
        stats.answered(method, status, 0.01)
    stats.answered(b"GET", 200, 7.0, COLD)
    stats.tunnelled(b"GET")
    assert counts(stats) == {
        ("GET", "200", "false"): 2,
        ("GET", "499", "false"): 1,
        ("_OTHER", "200", "false"): 2,
        ("CONNECT", "200", "false"): 1,
        ("GET", "200", "true"): 1,
        ("GET", "101", "false"): 1,
    }


def test_durations_are_those_of_their_kind() -> None:
    stats, histogram = AppStats(), Histogram()
    stats.answered(b"GET", 404, 8.0)
    stats.timeless(b"GET", 200)
    for seconds in (0.0005, 0.02, 3.0, 99.0):
        stats.answered(b"GET", 200, seconds)
        histogram.observe(seconds)
    found = stats.answers()["GET", "200", "false"]
    assert found.counts == histogram.counts
    assert (found.sum, found.count) == (histogram.sum, 5)


def test_a_backend_with_codes_of_its_own_makes_no_end_of_kinds() -> None:
    stats = AppStats()
    for status in range(200, 600):
        for method in (b"GET", b"POST", b"PURGE"):
            stats.answered(method, status, 0.1)
    found = counts(stats)
    assert len(found) <= MAX_KINDS + 4
    assert sum(found.values()) == 1200
    assert found["_OTHER", "500", "false"] == 300  # more than the one of its own code
