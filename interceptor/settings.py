"""Settings of the interceptor, each with its unit, default and reason."""

from __future__ import annotations

import socket
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from fleet import defaults
from fleet.runtime.settings import ComponentSettings
from fleet.runtime.tls import TlsFiles
from interceptor.trust import TrustedProxies

__all__ = ["InterceptorSettings"]


def _proxies(text: str) -> str:
    TrustedProxies.parse(text)
    return text


class InterceptorSettings(ComponentSettings):
    """Read once at start. Durations are seconds; 0 switches a limit off where the description says so."""

    host: str = Field("0.0.0.0", description="Address that the proxy, the RPC server and the diagnostics listen on.")  # noqa: S104
    proxy_port: int = Field(defaults.PROXY_PORT, ge=0, le=65535, description="Port of the proxy; 0 takes a free one.")
    rpc_port: int = Field(
        defaults.INTERCEPTOR_RPC_PORT,
        ge=0,
        le=65535,
        description="Port of QueueService, RoutingService and WaitingService; 0 takes a free one.",
    )
    diagnostics_port: int = Field(
        defaults.INTERCEPTOR_DIAGNOSTICS_PORT,
        ge=0,
        le=65535,
        description="Port of /livez, /readyz, /metrics; 0 takes a free one.",
    )
    member_name: str = Field(default_factory=socket.gethostname, description="Name of this interceptor in the fleet.")
    routes: str = Field("", description="Where the routing table is: file:PATH or configmap:NAMESPACE/NAME.")
    backends: str = Field(
        "", description="Where the ready backends are: file:PATH, kubernetes: (all namespaces) or kubernetes:NAMESPACE,NAMESPACE."
    )
    direct_pod_routing: bool = Field(
        True,
        description="Whether requests go to pods themselves; false: to their Service's address, where a route does not say. Only "
        "with backends of Kubernetes.",
    )
    resync: float = Field(
        defaults.RESYNC_SECONDS,
        gt=0,
        description="Seconds between full reads of routes and backends, in case a watch is broken and does not say so.",
    )

    readiness_timeout: float = Field(
        60.0, ge=0, description="Seconds for which a request is held for a backend; 0 holds it until the client leaves."
    )
    connect_timeout: float = Field(
        0.5, gt=0, description="Seconds to connect to a backend. Backends are near: one that is silent this long is gone."
    )
    response_header_timeout: float = Field(
        300.0, ge=0, description="Seconds from the sent request to the head of its response; 0 is no limit."
    )
    request_timeout: float = Field(0.0, ge=0, description="Seconds for a whole exchange; 0 is no limit.")
    idle_timeout: float = Field(
        3600.0, ge=0, description="Seconds without a byte, after which a response or a tunnel is ended; 0 is no limit."
    )
    keep_alive_timeout: float = Field(75.0, gt=0, description="Seconds for which an idle client connection is kept.")
    head_timeout: float = Field(10.0, gt=0, description="Seconds for a request's head to arrive whole, then 408.")
    backend_idle_timeout: float = Field(
        60.0, gt=0, description="Seconds for which an idle connection to a backend is kept; shorter than most servers keep it."
    )

    cold_start_header: bool = Field(
        True, description="Whether answers of backends carry X-KEDA-HTTP-Cold-Start, true for requests that woke the application."
    )

    list_apps: bool = Field(
        False,
        description="Whether http://localhost:PORT/, where no route takes it, lists the applications with their hosts and states"
        " to everybody who can connect. `weir up` switches it on; never for routes of several tenants.",
    )

    answer_half_closed: bool = Field(
        False,
        description="Whether a client that shuts its side of the connection down after its request (half-closes) still gets its"
        " answer. A client that has given up looks the same: its request would be held and worked on for nobody. Routes may say"
        " otherwise.",
    )
    trusted_proxies: Annotated[str, AfterValidator(_proxies)] = Field(
        "private",
        description="Proxies whose X-Forwarded-For, -Proto, -Host and Forwarded are kept and extended; those of all other clients"
        " are replaced, as anybody can write them. Networks such as 10.0.0.0/8, addresses, and private (loopback, RFC 1918,"
        " 100.64.0.0/10, link-local, fc00::/7), separated by commas; or all, or none. An Ingress or a Gateway of the same cluster"
        " is private; clients whose address a load balancer replaces by a node's look so as well.",
    )

    affinity_key: str = Field(
        "",
        description="Secret that affinity cookies name backends with, the same for all interceptors. Without one the names hide"
        " addresses from view, but not from who tries all of them.",
    )

    max_connections: int = Field(
        50_000,
        ge=1,
        description="Client connections at once, or half of the files that the process may have open, if that is less. Then idle"
        " ones are closed, and who comes waits until there is room.",
    )
    max_early_bytes: int = Field(
        64 * 1024 * 1024,
        ge=64 * 1024,
        description="Bytes of incomplete heads and of requests sent ahead, over all connections; beyond it the oldest are refused"
        " or dropped.",
    )
    max_held: int = Field(10_000, ge=1, description="Requests held per application; more get 503. A held one costs a few KB.")
    max_held_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Bytes of heads and bodies kept for held requests, per application; more get 503. 6 KB for each in a full"
        " room: of a body only what came with its head is read.",
    )
    max_requests: int = Field(
        25_000,
        ge=1,
        description="Requests, held and in flight, per application; more get 503. Where there are several applications, none has"
        " more than half of the connections that there may be, whatever its route says: the others need the rest.",
    )
    max_idle_per_backend: int = Field(200, ge=0, description="Idle connections kept per backend.")
    metrics_max_bytes: int = Field(
        defaults.METRICS_MAX_BYTES,
        ge=200_000,
        description="Bytes of /metrics at most: enough for 10,000 applications, of which some hundreds have histograms of their "
        "own. What has no room is counted together, as application _others.",
    )

    tls_cert: str = Field("", description="Certificate file of the RPC server; without it the server speaks plaintext.")
    tls_key: str = Field("", description="Key file of the RPC server.")
    tls_ca: str = Field("", description="CA file; with it, clients of the RPC server must show a certificate of this CA.")

    drain_delay: float = Field(
        0.0, ge=0, description="Seconds between not ready and not listening, for load balancers to notice; 5 on Kubernetes."
    )
    drain_timeout: float = Field(30.0, ge=0, description="Seconds for open exchanges to end at shutdown; then they are cut.")

    log_level: str = Field("info", description="debug, info, warning or error.")
    log_json: bool = Field(False, description="One JSON object per log line.")

    @model_validator(mode="after")
    def _no_secret_is_empty(self) -> Self:
        """What is left of a variable that nobody set must not weaken what it was to strengthen."""
        if self.affinity_key == "" and "affinity_key" in self.model_fields_set:
            raise ValueError("--affinity-key (WEIR_AFFINITY_KEY) is given, and empty")
        return self

    @property
    def server_tls(self) -> TlsFiles | None:
        return TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)
