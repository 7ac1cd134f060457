"""Numbers that more than one package has to agree on, each declared once, with where it comes from. Values only.

What only one module uses is declared there. Numbers that are equal by accident are not here either.
"""

from __future__ import annotations

__all__ = [
    "ACTIVITY_PERIOD",
    "CONCURRENCY_WINDOW",
    "CONTROLLER_DIAGNOSTICS_PORT",
    "FAILOVER_SECONDS",
    "INTERCEPTOR_DIAGNOSTICS_PORT",
    "INTERCEPTOR_RPC_PORT",
    "MAX_MEMBERS",
    "MEMBER_RETRY_LIMIT",
    "MEMBER_TTL",
    "METRICS_MAX_BYTES",
    "NEWS_TIMEOUT",
    "POLLING_SECONDS",
    "PROXY_PORT",
    "RATE_GRANULARITY",
    "RATE_GRANULARITY_TEXT",
    "RATE_WINDOW",
    "RATE_WINDOW_TEXT",
    "RESYNC_OF_FILES_SECONDS",
    "RESYNC_SECONDS",
    "SCALER_DIAGNOSTICS_PORT",
    "SCALER_PORT",
    "STARTUP_GRACE",
    "TARGET",
]

# -- ports --------------------------------------------------------------------------------------------------------

PROXY_PORT = 8080
"""Of an interceptor's proxy, as of the KEDA HTTP add-on's interceptor."""
INTERCEPTOR_RPC_PORT = 9090
"""Of an interceptor's QueueService, RoutingService and WaitingService. The add-on's tell their queue there, too."""
SCALER_PORT = 9091
"""Of the ExternalScaler: not an interceptor's, so that both can run on one machine."""
INTERCEPTOR_DIAGNOSTICS_PORT = 9901
SCALER_DIAGNOSTICS_PORT = 9902
CONTROLLER_DIAGNOSTICS_PORT = 9903
"""Ours; all different, so that all planes can run on one machine."""

# -- how applications are scaled ----------------------------------------------------------------------------------

TARGET = 100
"""Requests at once, or per second, that one replica should carry where nothing is said: the add-on's default."""
RATE_WINDOW = 60.0
"""Seconds over which a request rate is averaged: the add-on's default, which objects write as a text."""
RATE_WINDOW_TEXT = "1m"
RATE_GRANULARITY = 1.0
"""Seconds of each part of that window: the add-on's default as well."""
RATE_GRANULARITY_TEXT = "1s"
ACTIVITY_PERIOD = 15.0
"""Seconds for which an application stays active after its last request; KEDA's cooldown comes on top."""
FAILOVER_SECONDS = 30
"""How long a request waits before it goes to a fallback where no limit is set: the add-on's default of
coldStartTimeoutFailoverRef.timeoutSeconds."""
POLLING_SECONDS = 15
"""KEDA's pollingInterval in our ScaledObjects, where nothing is said; KEDA's own default is 30."""

# -- how a scaler listens to interceptors -------------------------------------------------------------------------

CONCURRENCY_WINDOW = 15.0
"""Seconds over which concurrency is averaged: as long as an HPA waits between two readings."""
NEWS_TIMEOUT = 3.0
"""Seconds of silence after which an interceptor's stream is broken: three of its heartbeats."""
STARTUP_GRACE = 3.0
"""Seconds for which a scaler that was just started waits for all interceptors before it answers for a part of them."""
MEMBER_TTL = 60.0
"""Seconds for which the last counts of a silent interceptor are kept while discovery names it."""
MEMBER_RETRY_LIMIT = 2.0
"""Longest pause in seconds between attempts to reach an interceptor. Interceptors are near."""
MAX_MEMBERS = 1000
"""Interceptors that are listed, watched or asked: ten times the largest fleet that is planned for."""

# -- looks and limits ---------------------------------------------------------------------------------------------

RESYNC_SECONDS = 60.0
"""A watch can break without a word; everything is read again this often all the same."""
RESYNC_OF_FILES_SECONDS = 30.0
"""The same for files of tables and certificates."""
METRICS_MAX_BYTES = 3_000_000
"""Bytes of a /metrics page at most: enough for 10,000 applications."""
