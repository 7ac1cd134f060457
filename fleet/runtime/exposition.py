"""Prometheus' text format, written in parts of bounded size, so that an event loop can do other work between them.

Pure: says what a document holds, reads what it is handed, and waits for nothing. Format:
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import enum
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import add, le, sub
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

__all__ = ["OTHERS", "Family", "Kind", "Observed", "Row", "Series", "Value", "document", "of_metrics"]

OTHERS = "_others"
"""In place of each label's value: the series that have no place of their own, together. No name of Kubernetes has a `_`."""

FIXED_BYTES = 100_000
"""Of a document's size, for what does not grow with the number of applications."""
_VALUE_BYTES = 11
"""Of a line, for its value and its end: counts below a hundred million. Longer ones take a few bytes in a hundred more."""


class Kind(enum.Enum):
    """What Prometheus does with it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """A metric and its labels; a counter's name comes without `_total`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets, without the last."""
    weight: int = 0
    """How much of a document's size it may have, beside the other families; 0 for one of few series, all of which are told."""
    zero: bool = False
    """Whether a series at zero is told too, although there may be many."""


class Observed(NamedTuple):
    """The state of a histogram: observations by bucket (not cumulative, one more than bounds), and the sum of their values."""

    counts: Sequence[int]
    sum: float


Value = float | Observed
_Key = tuple[str, ...]
_Place = tuple[str, ...]
"""The lines of a series, up to their values."""
Row = tuple[_Key, Value] | None
"""The values of a family's labels, and that of the series; None for a step of the reading that found nothing."""


class Series:
    """The series of one family, from one document to the next.

    In a family with a weight, one at zero is left out, unless zero is news. Who comes first gets a place as long as there
    is room, and keeps it; all others are counted in one, whose labels say `_others`. A place is free again when its series is
    no longer read. So a document is bounded, sums over a family are right, and no counter goes back while its series is there.
    """

    def __init__(self, family: Family, most_bytes: int | None = None) -> None:
        self.family = family
        self._room = most_bytes
        self._stems = _stems(family)
        self._labels = sorted(range(len(family.labels)), key=family.labels.__getitem__)
        self._places: dict[_Key, _Place] = {}
        self._others = _Others()

    def parts(self, rows: Iterable[Row]) -> Generator[str, None, None]:
        """The family as text: one part for its head and for each row, empty where there is nothing to tell."""
        before, self._places = self._places, {}
        others = self._others if self.family.kind is not Kind.GAUGE else _Others()
        try:
            yield _head(self.family)
            for row in rows:
                yield self._part(row, before, others)
            yield self._part_of_others(others)
            yield from others.forget()
            for place in before.values():  # of series that are gone, or at zero
                if self._room is not None:
                    self._room += _cost(place)
            before = {}
        finally:
            # Left in the middle: who was not read yet keeps its place.
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
        """A place, if there is room."""
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
    """Those without a place, as one. What they grow by is added up, so that one that is gone stays counted."""

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
        # One that is below what it was has begun anew.
        if before is not None and all(map(le, before, now)):
            grown = map(sub, now, before)
        self._sum = tuple(map(add, self._sum, grown)) if self._sum else tuple(grown)

    @property
    def value(self) -> Value | None:
        """None while there are none."""
        if not self._sum:
            return None
        *counts, last = self._sum
        return Observed([int(count) for count in counts], last) if counts else last

    def forget(self) -> Iterator[str]:
        """A document is whole: who was not read is no longer there."""
        self._last, self._seen = self._seen, {}
        yield ""


def document(families: Sequence[Family], most_bytes: int) -> dict[str, Series]:
    """The series of a document of so many bytes at most, by the families' names: who has a weight gets its share of it."""
    weights = sum(family.weight for family in families)
    room = max(0, most_bytes - FIXED_BYTES)
    return {one.name: Series(one, room * one.weight // weights if one.weight else None) for one in families}


def of_metrics(metrics: Iterable[Metric]) -> Iterator[str]:
    """The same of families that are made whole: for those of few series."""
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
    """The names of the lines of one series, and the label that each has of its own."""
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
