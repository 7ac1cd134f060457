"""The interceptor's metrics for Prometheus, computed on each scrape from the proxy's counters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, Protocol

from fleet.runtime.exposition import Family, Kind, Row, Value, document
from interceptor.app.app import App
from interceptor.app.stats import BUCKETS, LAG_BUCKETS
from interceptor.proxy import Proxy
from interceptor.transport.handshakes import OUTCOMES

__all__ = ["FAMILIES", "Metrics"]

_PREFIX: Final = "weir_interceptor_"
_APP: Final = ("namespace", "app")
_KIND: Final = ("method", "code", "cold_start")

_Samples = Collection[tuple[tuple[str, ...], Value]]
"""The series of one application in one family: the values of the labels after those of `_APP`, and the value."""
_Read = Callable[[App], _Samples]


def _per_app(name: str, kind: Kind, help_text: str, weight: int, *labels: str) -> Family:
    """A family with one or more series for each application."""
    bounds = BUCKETS if kind is Kind.HISTOGRAM else ()
    return Family(_PREFIX + name, kind, help_text, (*_APP, *labels), bounds, weight)


# -- of each application --------------------------------------------------------------------------------------------


def _answers(app: App) -> _Samples:
    return [(kind, found.count) for kind, found in app.stats.answers().items()]


def _durations(app: App) -> _Samples:
    """Without tunnels and local answers, which have no observed durations."""
    return [(kind, found.observed()) for kind, found in app.stats.answers().items()]


def _cold(app: App) -> _Samples:
    return [((outcome,), found.observed()) for outcome, found in app.stats.cold.items()]


def _own(app: App) -> _Samples:
    return [((reason, str(status)), count) for (reason, status), count in app.stats.own.items()]


def _cut(app: App) -> _Samples:
    return [((reason,), count) for reason, count in app.stats.cut.items()]


_APPS: Final[tuple[tuple[Family, _Read], ...]] = (
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
        lambda app: (((), len({(part.endpoints.key, one.backend) for part in app.parts for one in part.endpoints.ready})),),
    ),
    (
        _per_app("busy_backends", Kind.GAUGE, "Backends that keep the application awake after their answers", 2),
        lambda app: (((), app.entry.busy),),
    ),
    (
        _per_app("keep_awake_ignored", Kind.COUNTER, "Fields Weir-Keep-Awake without effect", 2, "reason"),
        lambda app: [((reason,), count) for reason, count in app.stats.keeping_ignored.items()],
    ),
    (
        _per_app("datagrams", Kind.COUNTER, "Datagrams at UDP ports: in from clients, out to clients", 2, "direction"),
        lambda app: [(("in",), app.stats.datagrams_in), (("out",), app.stats.datagrams_out)] if app.stats.datagrams_in else [],
    ),
    (
        _per_app("dropped_datagrams", Kind.COUNTER, "Datagrams of UDP ports that were dropped, and why", 2, "reason"),
        lambda app: [((reason,), count) for reason, count in app.stats.dropped.items()],
    ),
    (_per_app("tunnels", Kind.GAUGE, "Upgraded connections", 2), lambda app: (((), app.entry.connections),)),
    (
        _per_app("held_bytes", Kind.GAUGE, "Kept in memory for requests that wait", 2),
        lambda app: (((), sum(part.room.held_bytes for part in app.parts)),),
    ),
)
"""The families with series for each application. A weight is the family's share of the document's size, relative to the other
weights; every family needs one."""


def _rows(apps: Iterable[tuple[tuple[str, str], App]], read: _Read) -> Iterator[Row]:
    for name, app in apps:
        samples = read(app)
        if not samples:
            yield None  # no row, but let the caller count the work
        for labels, value in samples:
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


_OWN: Final[tuple[tuple[Family, Callable[[Proxy], Iterable[Row]]], ...]] = tuple(
    (family._replace(name=_PREFIX + family.name), read)
    for family, read in (
        (Family("refused", Kind.COUNTER, "Requests of no application, answered here", ("reason", "code")), _refused),
        (Family("client_connections", Kind.GAUGE, "Open client connections"), _one(lambda proxy: len(proxy.clients))),
        (Family("idle_backend_connections", Kind.GAUGE, "Connections kept for the next request"), _idle),
        (Family("backends_set_aside", Kind.GAUGE, "Backends that have to pass a probe first"), _aside),
        (Family("backend_probes", Kind.COUNTER, "Probes of backends", ("result",)), _probes),
        (Family("routes", Kind.GAUGE, "Routes in the table"), _one(lambda proxy: len(proxy.apps))),
        # How close the interceptor is to its limits.
        (Family("client_connections_limit", Kind.GAUGE, "Client connections at most"), _one(lambda proxy: proxy.most_clients)),
        (Family("accepting", Kind.GAUGE, "1 while connections are accepted"), _one(lambda proxy: int(not proxy.full))),
        (Family("flows", Kind.GAUGE, "Flows of UDP ports"), _one(lambda proxy: len(proxy.flows))),
        (Family("flows_limit", Kind.GAUGE, "Flows of UDP ports at most"), _one(lambda proxy: proxy.flows.most)),
        (
            Family("evicted_flows", Kind.COUNTER, "Flows that ended for others, at a limit"),
            _one(lambda proxy: proxy.flows.evicted),
        ),
        (Family("flow_bytes", Kind.GAUGE, "Bytes of kept datagrams"), _one(lambda proxy: proxy.flows.kept_bytes)),
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


# -- of TLS ---------------------------------------------------------------------------------------------------------


class HandshakeCounts(Protocol):
    """Handshakes of clients."""

    counts: Counter[str]
    resumed: int


class CertificateCounts(Protocol):
    """Certificates of the proxy."""

    reloads: int

    @property
    def first_expiry(self) -> float: ...
    @property
    def faults(self) -> Mapping[str, str]: ...


class TlsCounts(Protocol):
    """What is known of a listener for TLS."""

    @property
    def handshakes(self) -> HandshakeCounts: ...
    @property
    def certificates(self) -> CertificateCounts: ...


_TLS: Final[tuple[tuple[Family, Callable[[TlsCounts], Iterable[Row]]], ...]] = tuple(
    (family._replace(name=_PREFIX + family.name), read)
    for family, read in (
        (
            Family("tls_handshakes", Kind.COUNTER, "TLS handshakes of clients that have ended, by how", ("outcome",)),
            lambda tls: [((outcome,), tls.handshakes.counts[outcome]) for outcome in OUTCOMES],
        ),
        (
            Family("tls_resumed", Kind.COUNTER, "TLS handshakes that resumed a session"),
            lambda tls: [((), tls.handshakes.resumed)],
        ),
        (
            Family("tls_certificate_expiry_seconds", Kind.GAUGE, "Time at which the first certificate expires"),
            lambda tls: [((), tls.certificates.first_expiry)],
        ),
        (
            Family("tls_certificate_faults", Kind.GAUGE, "Certificate files whose content is not in use, as it has a fault"),
            lambda tls: [((), len(tls.certificates.faults))],
        ),
        (
            Family("tls_certificate_changes", Kind.COUNTER, "Times that changed certificate files were read"),
            lambda tls: [((), tls.certificates.reloads)],
        ),
    )
)

_LOST: Final = Family(_PREFIX + "lost_datagrams", Kind.COUNTER, "Datagrams that came to UDP ports faster than they were read")

FAMILIES: Final = (*(family for family, _ in (*_APPS, *_OWN, *_TLS)), _LOST)
"""All families."""


class Metrics:
    """The metrics of one proxy, in documents of at most `most_bytes`. Only one document is written at a time."""

    def __init__(
        self, proxy: Proxy, most_bytes: int, *, tls: TlsCounts | None = None, lost: Callable[[], int] = lambda: 0
    ) -> None:
        self._proxy = proxy
        self._lost = lost
        self._tls = tls
        self._series = document(FAMILIES, most_bytes)

    def parts(self) -> Iterator[str]:
        """A document in Prometheus' text format, in parts of one series each, so that requests are served in between."""
        proxy = self._proxy
        apps = []
        for app in list(proxy.apps.values()):
            yield ""
            if app.entry.requests_total or app.stats.touched:
                apps.append((_split(app.name), app))
        for family, read in _APPS:
            # One series is read at once; counters may change between two series.
            yield from self._series[family.name].parts(_rows(apps, read))
        for family, rows in _OWN:
            yield from self._series[family.name].parts(rows(proxy))
        for family, counts in _TLS:
            yield from self._series[family.name].parts(() if self._tls is None else counts(self._tls))
        yield from self._series[_LOST.name].parts([((), self._lost())])
