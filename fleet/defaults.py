"""Numbers and names that more than one package must agree on, each declared once, with its source. Values only.

A number used by one module only is declared in that module. Numbers that are equal by coincidence are not merged here.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACTIVITY_PERIOD",
    "ADMIN_PORT",
    "BUSY_LEASES",
    "CONCURRENCY_WINDOW",
    "CONTEXT_HEADER",
    "CONTROLLER_DIAGNOSTICS_PORT",
    "FAILOVER_SECONDS",
    "FILE_OF_APPS",
    "FIRST_LEASED_PORT",
    "HTTPS_PORT",
    "INTERCEPTOR_DIAGNOSTICS_PORT",
    "INTERCEPTOR_RPC_PORT",
    "LAST_LEASED_PORT",
    "LOG_LINES",
    "MAX_MEMBERS",
    "MAX_PORTS_OF_FLEET",
    "MAX_PORTS_OF_NAMESPACE",
    "MEMBER_RETRY_LIMIT",
    "MEMBER_TTL",
    "METRICS_LEAST_BYTES",
    "METRICS_MAX_BYTES",
    "NEWS_TIMEOUT",
    "POLLING_SECONDS",
    "PORT_LIMIT",
    "PORT_OF_APPS",
    "PROXY_PORT",
    "PROXY_TLS_PORT",
    "RATE_GRANULARITY",
    "RATE_WINDOW",
    "READY_STATUSES",
    "REDIRECT_STATUS",
    "RESYNC_OF_FILES_SECONDS",
    "RESYNC_SECONDS",
    "SCALER_DIAGNOSTICS_PORT",
    "SCALER_PORT",
    "SPEAKS_HTTP2",
    "STARTUP_GRACE",
    "TARGET",
]

# -- ports --------------------------------------------------------------------------------------------------------

PROXY_PORT: Final = 8080
"""Port of an interceptor's proxy; the same as in the KEDA HTTP add-on."""
PROXY_TLS_PORT: Final = 8443
"""Port of an interceptor's proxy for TLS; the same as in the KEDA HTTP add-on."""
HTTPS_PORT: Final = 443
"""Where clients expect HTTPS (RFC 9110 4.2.2)."""
INTERCEPTOR_RPC_PORT: Final = 9090
"""Port of an interceptor's QueueService, RoutingService and WaitingService; the add-on's port for queue sizes."""
SCALER_PORT: Final = 9091
"""Port of the ExternalScaler. Differs from the interceptor's, so that both can run on one machine."""
ADMIN_PORT: Final = 9092
"""Port of the controller's Admin API. Never the proxy's: who can reach an application cannot reach it."""
INTERCEPTOR_DIAGNOSTICS_PORT: Final = 9901
SCALER_DIAGNOSTICS_PORT: Final = 9902
CONTROLLER_DIAGNOSTICS_PORT: Final = 9903
"""Diagnostics ports. All differ, so that all planes can run on one machine."""
PORT_OF_APPS: Final = 8080
"""The port that an image whose document names none listens on: what most do that do not run as root."""
PORT_LIMIT: Final = 65535
"""The largest port of TCP (RFC 9293 section 3.1)."""
FIRST_LEASED_PORT: Final = 20_000
LAST_LEASED_PORT: Final = 30_000
"""The range of ports that are leased: as in helm-web-api."""
MAX_PORTS_OF_FLEET: Final = 250
"""Ports of all applications together. Load balancers of clouds take between 50 and some hundreds."""
MAX_PORTS_OF_NAMESPACE: Final = 50
"""Of those of one namespace: no tenant can take all."""

# -- how applications are scaled ----------------------------------------------------------------------------------

TARGET: Final = 100
"""Default target per replica, in concurrent requests or requests per second: the add-on's default."""
RATE_WINDOW: Final = 60.0
"""Seconds over which a request rate is averaged: the add-on's default."""
RATE_GRANULARITY: Final = 1.0
"""Seconds of one bucket of that window: the add-on's default."""
ACTIVITY_PERIOD: Final = 15.0
"""Seconds for which an application stays active after its last request. KEDA's cooldown begins after that."""
FAILOVER_SECONDS: Final = 30
"""Seconds that a request waits before it goes to a fallback when no limit is set: the add-on's default of
coldStartTimeoutFailoverRef.timeoutSeconds."""
POLLING_SECONDS: Final = 15
"""KEDA's pollingInterval in our ScaledObjects when nothing is configured; KEDA's own default is 30."""

BUSY_LEASES: Final = "weir-busy-leases"
"""The ConfigMap, in Weir's own namespace, of the leases by which applications keep themselves awake."""

# -- how a scaler listens to interceptors -------------------------------------------------------------------------

CONCURRENCY_WINDOW: Final = 15.0
"""Seconds over which concurrency is averaged: the HPA's sync period."""
NEWS_TIMEOUT: Final = 3.0
"""Seconds of silence after which an interceptor's stream counts as broken: three of its heartbeats."""
STARTUP_GRACE: Final = 3.0
"""Seconds for which a scaler that has just started waits for all interceptors before it answers with the counts of a part of
them."""
MEMBER_TTL: Final = 60.0
"""Seconds for which the last counts of a silent interceptor are kept while discovery still lists it."""
MEMBER_RETRY_LIMIT: Final = 2.0
"""Longest pause in seconds between attempts to reach an interceptor. Short, because interceptors are in the same cluster."""
MAX_MEMBERS: Final = 1000
"""Maximum number of interceptors listed, watched or asked: ten times the largest planned fleet."""

# -- looks and limits ---------------------------------------------------------------------------------------------

RESYNC_SECONDS: Final = 60.0
"""Seconds between full reads: a watch can break without an error."""
RESYNC_OF_FILES_SECONDS: Final = 30.0
"""The same for files with tables and certificates."""
REDIRECT_STATUS: Final = 302
"""Status of a redirect for which a route says none: the Gateway API has the same."""
SPEAKS_HTTP2: Final = (
    "the backend speaks HTTP/2 but gets HTTP/1.1: set its port's appProtocol to kubernetes.io/h2c (over TLS, to h2)"
)
"""Why an interceptor gets no response from a backend whose Service does not say that it speaks HTTP/2, in words for people."""
LOG_LINES: Final = 100
"""Lines of replicas' output that are shown by default: a few screens."""
FILE_OF_APPS: Final = "weir.yaml"
"""The file that `weir up` and its companions read when none is named."""
METRICS_MAX_BYTES: Final = 3_000_000
"""Maximum size of a /metrics page in bytes: enough for 10,000 applications."""
METRICS_LEAST_BYTES: Final = 200_000
"""The least that can be set: twice what is reserved for metrics whose size does not grow with the number of applications."""
READY_STATUSES: Final = range(200, 400)
"""Statuses by which an answer to a probe means ready, as for the kubelet."""

CONTEXT_HEADER: Final = "uber-ctx-key"
"""Header that names a preview, as in tools that route to copies by it."""
