"""Prometheus' text format: the same as from its own client, bounded, and with counters that never decrease."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from fleet.runtime.exposition import OTHERS, Family, Kind, Observed, Row, Series, document, of_metrics

REQUESTS = Family("weir_requests", Kind.COUNTER, "Requests\nand \\ more", ("namespace", "app"), weight=1)
WAITING = Family("weir_waiting", Kind.GAUGE, "Waiting", ("namespace", "app"), weight=1)
SECONDS = Family("weir_seconds", Kind.HISTOGRAM, "Seconds", ("namespace", "app"), (0.5, 1.0), weight=1)
NASTY = 'a "quoted"\\ name\nof two lines'


class Made(Collector):
    def __init__(self, *metrics: Metric) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def peer(*metrics: Metric) -> str:
    """The output of Prometheus' own client."""
    registry = CollectorRegistry()
    registry.register(Made(*metrics))
    return generate_latest(registry).decode()


def told(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, read by Prometheus' own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def text_of(series: Series, *rows: Row) -> str:
    return "".join(series.parts(rows))


def test_the_same_as_prometheus_own_client() -> None:
    counter = CounterMetricFamily("weir_requests", REQUESTS.help, labels=REQUESTS.labels)
    counter.add_metric(["shop", NASTY], 3)
    assert text_of(Series(REQUESTS), (("shop", NASTY), 3)) == peer(counter)
    gauge = GaugeMetricFamily("weir_waiting", "Waiting", labels=WAITING.labels)
    gauge.add_metric(["shop", "web"], 2.5)
    assert text_of(Series(WAITING), (("shop", "web"), 2.5)) == peer(gauge)
    alone = GaugeMetricFamily("weir_alone", "Alone", 0)
    assert text_of(Series(Family("weir_alone", Kind.GAUGE, "Alone")), ((), 0)) == peer(alone)


def test_a_histogram_says_the_same_as_prometheus_own_client() -> None:
    histogram = HistogramMetricFamily("weir_seconds", "Seconds", labels=SECONDS.labels)
    histogram.add_metric(["shop", "web"], [("0.5", 1), ("1.0", 1), ("+Inf", 4)], 9.25)
    assert told(text_of(Series(SECONDS), (("shop", "web"), Observed([1, 0, 3], 9.25)))) == told(peer(histogram))


def test_families_made_whole_are_written_as_by_prometheus_own_client() -> None:
    metrics = [GaugeMetricFamily("weir_one", "One", 1), GaugeMetricFamily("weir_two", "Two", 2)]
    parts = list(of_metrics(metrics))
    assert ("".join(parts), len(parts)) == (peer(*metrics), 2)


@pytest.mark.parametrize(("family", "zero"), [(REQUESTS, 0), (WAITING, 0), (SECONDS, Observed([0, 0, 0], 0.0))])
def test_what_is_at_zero_is_left_out_and_is_a_part_all_the_same(family: Family, zero: float | Observed) -> None:
    rows = [(("shop", f"web-{number}"), zero) for number in range(5)]
    parts = list(Series(family).parts([*rows, None]))
    assert len(parts) > 6, "work that tells nothing is work"
    assert "".join(parts[1:]) == ""


def test_a_family_of_few_series_tells_zeros() -> None:
    few = Family("weir_probes", Kind.COUNTER, "Probes", ("result",))
    assert 'weir_probes_total{result="failed"} 0.0' in text_of(Series(few), (("failed",), 0))


def test_series_without_room_are_counted_together() -> None:
    series = Series(REQUESTS, 150)
    rows = [((f"ns-{number}", "web"), number + 1) for number in range(4)]
    values = told(text_of(series, *rows))
    assert values == {
        ("weir_requests_total", (("app", "web"), ("namespace", "ns-0"))): 1.0,
        ("weir_requests_total", (("app", "web"), ("namespace", "ns-1"))): 2.0,
        ("weir_requests_total", (("app", OTHERS), ("namespace", OTHERS))): 7.0,
    }
    again = told(text_of(series, *((key, value + 10) for key, value in reversed(rows))))
    assert again.keys() == values.keys(), "places are kept, whatever the order"
    assert sum(again.values()) == 50.0


def test_the_others_keep_what_those_counted_that_are_gone() -> None:
    series = Series(SECONDS, 0)
    other = ("weir_seconds_count", (("app", OTHERS), ("namespace", OTHERS)))
    counts = []
    for one, two in ((3, 4), (5, 4), (None, 6), (1, 6)):
        rows: list[Row] = [(("a", "two"), Observed([two, 0, 0], 1.0))]
        if one is not None:
            rows.append((("a", "one"), Observed([one, 0, 0], 1.0)))
        counts.append(told(text_of(series, *rows))[other])
    assert counts == [7.0, 9.0, 11.0, 12.0], "one that came back began at zero"


def test_a_place_is_free_again_when_its_series_is_gone() -> None:
    series = Series(WAITING, 60)
    for app in ("a", "b", "c"):
        assert f'app="{app}"' in text_of(series, (("shop", app), 1))
        text_of(series, (("shop", app), 0))


def test_a_document_left_in_the_middle_loses_no_place_and_counts_nothing_twice() -> None:
    series = Series(REQUESTS, 150)
    rows: list[Row] = [(("shop", f"web-{number}"), 1) for number in range(6)]
    before = text_of(series, *rows)
    for step in range(9):
        left = series.parts(rows)
        for _ in range(step):
            next(left, None)
        left.close()
        assert text_of(series, *rows) == before


def test_no_counter_goes_back_while_applications_come_and_go() -> None:
    chance = random.Random(7)
    series = Series(REQUESTS, 600)
    counts: dict[tuple[str, str], int] = {}
    before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for _ in range(300):
        for _ in range(5):
            key = ("shop", f"web-{chance.randrange(30)}")
            counts[key] = counts.get(key, 0) + chance.randrange(5)
        gone = chance.choice(list(counts)) if chance.random() < 0.3 else None
        if gone is not None:
            del counts[gone]
        now = told(text_of(series, *counts.items()))
        for name, value in now.items():
            assert value >= before.get(name, 0.0) or (gone is not None and gone[1] == dict(name[1])["app"]), name
        before = now


def test_a_document_is_within_its_bytes_whatever_there_is() -> None:
    most = 300_000
    series = document((REQUESTS, WAITING, SECONDS), most)
    keys = [(f"tenant-{number}" * 5, f"application-{number}" * 4) for number in range(3000)]
    size = 0
    for _ in range(2):
        text = [
            *series["weir_requests"].parts((key, 12_345) for key in keys),
            *series["weir_waiting"].parts((key, 123) for key in keys),
            *series["weir_seconds"].parts((key, Observed([1000, 2000, 3000], 1.5)) for key in keys),
        ]
        size = len("".join(text).encode())
        assert most / 2 < size < most
    samples = told("".join(text))
    assert sum(value for (name, _), value in samples.items() if name == "weir_requests_total") == 3000 * 12_345
