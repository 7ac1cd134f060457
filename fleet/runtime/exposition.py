"""Prometheus' text format, generated in parts of bounded size, so that the event loop can do other work in between.

Pure. Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import enum
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import add, le, sub
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

__all__ = ["OTHERS", "Family", "Kind", "Observed", "Row", "Series", "Value", "document", "of_metrics"]

OTHERS: Final = "_others"
"""Label value of the series that aggregates all series beyond the limit. Kubernetes names do not contain `_`."""

FIXED_BYTES: Final = 100_000
"""Bytes of a document reserved for metrics whose size does not grow with the number of applications."""
_VALUE_BYTES: Final = 11
"""Estimated bytes per line for the value and the line end: counts below a hundred million. Longer values add a few percent."""


class Kind(enum.Enum):
    """The type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """A metric and its labels; a counter's name is given without `_total`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, without +Inf."""
    weight: int = 0
    """Its share of a document's size relative to other families; 0 for a family with few series, which is never limited."""
    zero: bool = False
    """Whether series at zero are included, although there may be many."""


class Observed(NamedTuple):
    """The state of a histogram: observations per bucket (not cumulative, one more than bounds), and the sum of the values."""

    counts: Sequence[int]
    sum: float


Value = float | Observed
_Key = tuple[str, ...]
_Place = tuple[str, ...]
"""The lines of a series, without their values."""
Row = tuple[_Key, Value] | None
"""Label values and value of a series; None for a step of the iteration that has no series."""


class Series:
    """The series of one family, across documents.

    In a family with a weight, series at zero are left out, unless `zero` is set. Series get an own line as long as there is room,
    first come first served, and keep it; the others are added up in one series with label values `_others`. The room of a series
    is freed when it is no longer read. So a document's size is bounded, sums over a family are right, and no counter decreases
    while its series exists.
    """

    def __init__(self, family: Family, most_bytes: int | None = None) -> None:
        self.family = family
        self._room = most_bytes
        self._stems = _stems(family)
        self._labels = sorted(range(len(family.labels)), key=family.labels.__getitem__)
        self._places: dict[_Key, _Place] = {}
        self._others = _Others()

    def parts(self, rows: Iterable[Row]) -> Generator[str, None, None]:
        """The family as text: one part for its header and for each row; empty where there is nothing to write."""
        before, self._places = self._places, {}
        others = self._others if self.family.kind is not Kind.GAUGE else _Others()
        try:
            yield _head(self.family)
            for row in rows:
                yield self._part(row, before, others)
            yield self._part_of_others(others)
            yield from others.forget()
            for place in before.values():  # series that are gone or at zero
                if self._room is not None:
                    self._room += _cost(place)
            before = {}
        finally:
            # The generator was closed early: series not read yet keep their lines.
            self._places |= before

    def _part(self, row: Row, before: dict[_Key, _Place], others: _Others) -> str:
        if row is None:
            return ""
        key, value = row
        if self.family.weight and not self.family.zero and not (sum(value.counts) if isinstance(value, Observed) else value):
            return ""
        place = before.pop(key, None)
        if place is None and (key in others or (place := self._take(key)) is None):
            others.add(key, value)
            return ""
        self._places[key] = place
        return _lines(place, value)

    def _take(self, key: _Key) -> _Place | None:
        """Reserve a line, if there is room."""
        place = self._lines_of(key)
        if self._room is not None:
            cost = _cost(place)
            if cost > self._room:
                return None
            self._room -= cost
        return place

    def _part_of_others(self, others: _Others) -> str:
        value = others.value
        return "" if value is None else _lines(self._lines_of((OTHERS,) * len(self._labels)), value)

    def _lines_of(self, key: _Key) -> _Place:
        labels = ",".join([f'{self.family.labels[at]}="{_escaped(key[at])}"' for at in self._labels])
        return tuple([_line(stem, labels, more) for stem, more in self._stems])


class _Others:
    """The aggregate of series without an own line. Growth is accumulated, so that a removed series stays counted."""

    def __init__(self) -> None:
        # As vectors: a number, or the counts of a histogram and its sum.
        self._last: dict[_Key, tuple[float, ...]] = {}
        self._seen: dict[_Key, tuple[float, ...]] = {}
        self._sum: tuple[float, ...] = ()

    def __contains__(self, key: _Key) -> bool:
        return key in self._last

    def add(self, key: _Key, value: Value) -> None:
        now = (*value.counts, value.sum) if isinstance(value, Observed) else (value,)
        before = self._last.get(key)
        self._seen[key] = now
        if now == before:
            return
        grown: Iterable[float] = now
        # A value below the previous one means that the counter was restarted.
        if before is not None and all(map(le, before, now)):
            grown = map(sub, now, before)
        self._sum = tuple(map(add, self._sum, grown)) if self._sum else tuple(grown)

    @property
    def value(self) -> Value | None:
        """None while there are no such series."""
        if not self._sum:
            return None
        *counts, last = self._sum
        return Observed([int(count) for count in counts], last) if counts else last

    def forget(self) -> Iterator[str]:
        """End of a document: forget the series that were not read."""
        self._last, self._seen = self._seen, {}
        yield ""


def document(families: Sequence[Family], most_bytes: int) -> dict[str, Series]:
    """The series of a document with this maximum size, by family name; families with a weight share the size."""
    weights = sum(family.weight for family in families)
    room = max(0, most_bytes - FIXED_BYTES)
    return {one.name: Series(one, room * one.weight // weights if one.weight else None) for one in families}


def of_metrics(metrics: Iterable[Metric]) -> Iterator[str]:
    """The text of families that are collected as a whole; for those with few series."""
    for metric in metrics:
        registry = CollectorRegistry()
        registry.register(_Made(metric))
        yield generate_latest(registry).decode()


class _Made(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def _head(family: Family) -> str:
    name = f"{family.name}_total" if family.kind is Kind.COUNTER else family.name
    meaning = family.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {meaning}\n# TYPE {name} {family.kind.value}\n"


def _stems(family: Family) -> tuple[tuple[str, str], ...]:
    """The names of the lines of one series, and the extra label of each."""
    if family.kind is Kind.COUNTER:
        return ((f"{family.name}_total", ""),)
    if family.kind is Kind.GAUGE:
        return ((family.name, ""),)
    bounds = (*map(str, family.bounds), "+Inf")
    buckets = tuple((f"{family.name}_bucket", f'le="{bound}"') for bound in bounds)
    return (*buckets, (f"{family.name}_count", ""), (f"{family.name}_sum", ""))


def _line(stem: str, labels: str, more: str) -> str:
    within = f"{labels},{more}" if labels and more else labels or more
    return f"{stem}{{{within}}} " if within else f"{stem} "


def _lines(place: _Place, value: Value) -> str:
    if isinstance(value, Observed):
        *totals, count = accumulate(value.counts)
        values = (*map(float, (*totals, count, count)), value.sum)
        return "".join([f"{begin}{one!r}\n" for begin, one in zip(place, values, strict=True)])
    return f"{place[0]}{float(value)!r}\n"


def _cost(place: _Place) -> int:
    return sum([len(begin.encode()) + _VALUE_BYTES for begin in place])


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return value
