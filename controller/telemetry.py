"""The controller's metrics and diagnostics pages. Reads the term when asked; keeps no counts of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from controller.term import Term
from fleet.events.events import Events
from fleet.runtime.documents import Pairs, Rows
from fleet.runtime.exposition import of_metrics

__all__ = ["metrics", "pages"]


class _Controller:
    def __init__(self, term: Callable[[], Term | None], events: Events) -> None:
        self._term, self._events = term, events

    def collect(self) -> Iterable[Metric]:
        term = self._term()
        yield GaugeMetricFamily("weir_controller_leads", "Whether this controller leads.", float(term is not None))
        yield from self._events.metrics()
        if term is None:
            return
        assembly = term.publisher.assembly
        if assembly is not None:
            yield GaugeMetricFamily("weir_controller_routes", "Routes in the table.", float(len(assembly.routes)))
            yield GaugeMetricFamily("weir_controller_invalid", "Objects that are wrong.", float(len(assembly.problems)))
            yield GaugeMetricFamily(
                "weir_controller_conflicts",
                "Objects that lack a claim, for an older one has it.",
                float(len(assembly.conflicted)),
            )
            yield GaugeMetricFamily(
                "weir_controller_missing_bodies",
                "Objects with an answer whose body no ConfigMap holds.",
                float(len(assembly.missing)),
            )
        yield GaugeMetricFamily("weir_controller_queue", "Objects to look at, or being looked at.", float(len(term.queue)))
        yield GaugeMetricFamily("weir_controller_failing", "Objects whose last attempt failed.", float(term.queue.failing))
        yield GaugeMetricFamily(
            "weir_controller_interceptors_behind",
            "Interceptors that have not said that they serve the newest table.",
            float(sum(term.propagation.behind(one.name) for one in term.propagation.interceptors)),
        )
        yield CounterMetricFamily(
            "weir_controller_table_writes", "Tables written since this controller leads.", float(term.publisher.writes)
        )
        yield CounterMetricFamily(
            "weir_controller_object_writes",
            "ScaledObjects and statuses written since this controller leads.",
            float(term.reconciler.writes),
        )
        yield CounterMetricFamily("weir_controller_events_dropped", "Events not written.", float(term.recorder.dropped))


def metrics(term: Callable[[], Term | None], events: Events) -> Callable[[], Iterator[str]]:
    """For /metrics: the number of series does not depend on the number of objects."""
    controller = _Controller(term, events)
    return lambda: of_metrics(controller.collect())


def pages(term: Callable[[], Term | None]) -> Mapping[str, Callable[[], Any]]:
    """/table: the newest table and what is wrong with objects; /interceptors: which ones serve it."""
    return {"/table": lambda: _table(term()), "/interceptors": lambda: _interceptors(term())}


def _table(term: Term | None) -> dict[str, Any]:
    assembly = term.publisher.assembly if term is not None else None
    if term is None or assembly is None:
        return {"leads": term is not None}
    return {
        "leads": True,
        "version": assembly.table.version,
        "routes": len(assembly.routes),
        "written": term.propagation.version == assembly.table.version,
        "failure": term.publisher.failure,
        "invalid": Pairs((str(key), str(problem)) for key, problem in assembly.problems.items()),
        "missing": Pairs((str(key), list(missing)) for key, missing in assembly.missing.items()),
        "lost": Pairs(
            (str(key), [f"{lost.claim}: {lost.winner}" for lost in all_lost]) for key, all_lost in assembly.lost.items()
        ),
    }


def _interceptors(term: Term | None) -> list[dict[str, Any]] | Rows:
    if term is None:
        return []
    return Rows(
        {"name": one.name, "address": one.address, "ready": one.ready, "behind": term.propagation.behind(one.name)}
        for one in list(term.propagation.interceptors)
    )
