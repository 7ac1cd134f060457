"""The interceptor's metrics for Prometheus, made from what the proxy counts anyway, when somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator

from fleet.runtime.exposition import Family, Kind, Row, Value, document
from interceptor.app.app import App
from interceptor.app.stats import BUCKETS, LAG_BUCKETS
from interceptor.proxy import Proxy

__all__ = ["FAMILIES", "Metrics"]

_PREFIX = "weir_interceptor_"
_APP = ("namespace", "app")
_KIND = ("method", "code", "cold_start")

_Told = Collection[tuple[tuple[str, ...], Value]]
"""Of one application, in one family: the values of its labels behind those of `_APP`, and of the series."""
_Read = Callable[[App], _Told]


def _per_app(name: str, kind: Kind, help_text: str, weight: int, *labels: str) -> Family:
    """With a series, or several, for each application."""
    bounds = BUCKETS if kind is Kind.HISTOGRAM else ()
    return Family(_PREFIX + name, kind, help_text, (*_APP, *labels), bounds, weight)


# -- of each application --------------------------------------------------------------------------------------------


def _answers(app: App) -> _Told:
    return [(kind, found.count) for kind, found in app.stats.answers().items()]


def _durations(app: App) -> _Told:
    """Not of tunnels, nor of answers in the backends' place."""
    return [(kind, found.observed()) for kind, found in app.stats.answers().items()]


def _cold(app: App) -> _Told:
    return [((outcome,), found.observed()) for outcome, found in app.stats.cold.items()]


def _own(app: App) -> _Told:
    return [((reason, str(status)), count) for (reason, status), count in app.stats.own.items()]


def _cut(app: App) -> _Told:
    return [((reason,), count) for reason, count in app.stats.cut.items()]


_APPS: tuple[tuple[Family, _Read], ...] = (
    (
        _per_app("requests", Kind.COUNTER, "Requests answered; code 499 is a client that left", 40, *_KIND),
        _answers,
    ),
    (
        _per_app(
            "own_answers",
            Kind.COUNTER,
            "Requests answered in the backends' place, and why; among weir_interceptor_requests",
            7,
            "reason",
            "code",
        ),
        _own,
    ),
    (_per_app("cut_answers", Kind.COUNTER, "Answers that had begun and were ended with a reset", 3, "reason"), _cut),
    (
        _per_app("request_duration_seconds", Kind.HISTOGRAM, "Whole exchanges", 27, *_KIND),
        _durations,
    ),
    (
        _per_app("held_duration_seconds", Kind.HISTOGRAM, "Time that requests waited for a backend", 6),
        lambda app: (((), app.stats.held.observed()),),
    ),
    (
        _per_app(
            "cold_start_duration_seconds",
            Kind.HISTOGRAM,
            "Wait for a connected backend of requests that found none ready; outcome is ready, timeout or cancelled",
            7,
            "outcome",
        ),
        _cold,
    ),
    (
        _per_app("cold_start_rejections", Kind.COUNTER, "Requests that found no backend ready and no room to wait", 2),
        lambda app: (((), app.stats.rejections),),
    ),
    (
        _per_app("fallbacks", Kind.COUNTER, "Requests that went to the fallback", 2),
        lambda app: (((), app.stats.fallbacks),),
    ),
    (
        _per_app("held_requests", Kind.GAUGE, "Requests that wait for a backend", 2),
        lambda app: (((), app.entry.held),),
    ),
    (
        _per_app("in_flight_requests", Kind.GAUGE, "Requests a backend works on", 2),
        lambda app: (((), app.entry.in_flight),),
    ),
    (
        _per_app("ready_backends", Kind.GAUGE, "Backends that may be chosen", 2)._replace(zero=True),
        lambda app: (((), len(app.endpoints.ready)),),
    ),
    (_per_app("tunnels", Kind.GAUGE, "Upgraded connections", 2), lambda app: (((), app.entry.connections),)),
    (
        _per_app("held_bytes", Kind.GAUGE, "Kept in memory for requests that wait", 2),
        lambda app: (((), app.room.held_bytes),),
    ),
)
"""What is told of each application. The weights are parts of the document's size: a new family needs one, whatever they add
up to."""


def _rows(apps: Iterable[tuple[tuple[str, str], App]], read: _Read) -> Iterator[Row]:
    for name, app in apps:
        told = read(app)
        if not told:
            yield None  # which is work as well
        for labels, value in told:
            yield (*name, *labels), value


def _split(app: str) -> tuple[str, str]:
    namespace, _, name = app.partition("/")
    return namespace, name


# -- of the interceptor ---------------------------------------------------------------------------------------------


def _refused(proxy: Proxy) -> Iterator[Row]:
    for (reason, status), count in list(proxy.refusals.items()):
        yield (reason, str(status)), count


def _idle(proxy: Proxy) -> Iterator[Row]:
    idle = 0
    for endpoints in proxy.endpoint_sets:
        idle += sum(len(endpoint.spare) for endpoint in endpoints.endpoints)
        yield None
    yield (), idle


def _aside(proxy: Proxy) -> Iterator[Row]:
    aside = 0
    for endpoints in proxy.endpoint_sets:
        aside += len(endpoints) - len(endpoints.ready)
        yield None
    yield (), aside


def _probes(proxy: Proxy) -> Iterator[Row]:
    yield ("passed",), proxy.probes.passes
    yield ("failed",), proxy.probes.failures


def _one(read: Callable[[Proxy], Value]) -> Callable[[Proxy], Iterable[Row]]:
    return lambda proxy: [((), read(proxy))]


_OWN: tuple[tuple[Family, Callable[[Proxy], Iterable[Row]]], ...] = tuple(
    (family._replace(name=_PREFIX + family.name), read)
    for family, read in (
        (Family("refused", Kind.COUNTER, "Requests of no application, answered here", ("reason", "code")), _refused),
        (Family("client_connections", Kind.GAUGE, "Open client connections"), _one(lambda proxy: len(proxy.clients))),
        (Family("idle_backend_connections", Kind.GAUGE, "Connections kept for the next request"), _idle),
        (Family("backends_set_aside", Kind.GAUGE, "Backends that have to pass a probe first"), _aside),
        (Family("backend_probes", Kind.COUNTER, "Probes of backends", ("result",)), _probes),
        (Family("routes", Kind.GAUGE, "Routes in the table"), _one(lambda proxy: len(proxy.apps))),
        # How near it is to what it can take.
        (Family("client_connections_limit", Kind.GAUGE, "Client connections at most"), _one(lambda proxy: proxy.most_clients)),
        (Family("accepting", Kind.GAUGE, "1 while connections are accepted"), _one(lambda proxy: int(not proxy.full))),
        (
            Family("accept_pauses", Kind.COUNTER, "Times that the limit of client connections was reached"),
            _one(lambda proxy: proxy.times_full),
        ),
        (Family("early_bytes", Kind.GAUGE, "Bytes of requests that have not begun"), _one(lambda proxy: proxy.early.total)),
        (
            Family("evicted", Kind.COUNTER, "Connections that had to give up bytes of requests not begun"),
            _one(lambda proxy: proxy.early.evicted),
        ),
        (
            Family(
                "event_loop_lag_seconds",
                Kind.HISTOGRAM,
                "How late the event loop came back, ten times a second",
                bounds=LAG_BUCKETS,
            ),
            _one(lambda proxy: proxy.lag.observed()),
        ),
        (Family("tasks", Kind.GAUGE, "Tasks of the event loop: they must not grow with time"), _one(lambda _: _tasks())),
    )
)


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no event loop runs
        return 0


FAMILIES = tuple(family for family, _ in (*_APPS, *_OWN))
"""All there are."""


class Metrics:
    """The metrics of one proxy, in documents of `most_bytes` at most. One document is written at a time."""

    def __init__(self, proxy: Proxy, most_bytes: int) -> None:
        self._proxy = proxy
        self._series = document(FAMILIES, most_bytes)

    def parts(self) -> Iterator[str]:
        """A document in Prometheus' text format, in parts of one series each."""
        proxy = self._proxy
        apps = []
        for app in list(proxy.apps.values()):
            yield ""
            if app.entry.requests_total or app.stats.touched:
                apps.append((_split(app.name), app))
        for family, read in _APPS:
            # What is of one series is read at once; requests come and go between two.
            yield from self._series[family.name].parts(_rows(apps, read))
        for family, rows in _OWN:
            yield from self._series[family.name].parts(rows(proxy))
