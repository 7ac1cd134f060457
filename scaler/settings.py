"""Settings of the scaler, each with its unit, default and reason."""

from __future__ import annotations

import socket

from pydantic import Field

from fleet import defaults
from fleet.runtime.hosts import ABOUT_OWN_NAMES
from fleet.runtime.settings import ComponentSettings
from fleet.runtime.tls import TlsFiles

__all__ = ["ScalerSettings"]


class ScalerSettings(ComponentSettings):
    """Read once at the start. Durations are seconds."""

    host: str = Field("0.0.0.0", description="Address that the ExternalScaler and the diagnostics listen on.")  # noqa: S104
    port: int = Field(
        defaults.SCALER_PORT,
        ge=0,
        le=defaults.PORT_LIMIT,
        description="Port of the ExternalScaler, for KEDA; 0 for any free port.",
    )
    diagnostics_port: int = Field(
        defaults.SCALER_DIAGNOSTICS_PORT,
        ge=0,
        le=defaults.PORT_LIMIT,
        description="Port of /livez, /readyz, /metrics; 0 for any free port.",
    )
    diagnostics_hosts: str = Field("", description=ABOUT_OWN_NAMES)
    scaler_name: str = Field(default_factory=socket.gethostname, description="Name of this scaler in the logs of interceptors.")
    routes: str = Field("", description="Source of the routing table: file:PATH or configmap:NAMESPACE/NAME.")
    members: str = Field(
        "",
        description="Source of interceptors: file:PATH, dns:NAME:PORT, service:NAMESPACE/NAME:PORTNAME or HOST:PORT,HOST:PORT.",
    )
    busy: str = Field(
        "",
        description="Source of the leases by which applications keep themselves awake: file:PATH or configmap:NAMESPACE/NAME; "
        "empty for none.",
    )
    resync: float = Field(
        defaults.RESYNC_SECONDS,
        gt=0,
        description="Seconds between full reads of routes and members, in case a watch has failed without an error.",
    )

    member_ttl: float = Field(
        defaults.MEMBER_TTL,
        gt=0,
        description="Seconds for which the last counts of a silent interceptor are used while discovery lists it.",
    )
    news_timeout: float = Field(
        defaults.NEWS_TIMEOUT,
        gt=0,
        description="Seconds without a message after which an interceptor's stream is opened again; three of its heartbeats.",
    )
    retry_limit: float = Field(
        defaults.MEMBER_RETRY_LIMIT,
        gt=0,
        description="Longest pause in seconds between attempts to connect to an interceptor.",
    )
    startup_grace: float = Field(
        defaults.STARTUP_GRACE,
        ge=0,
        description="Seconds for which a new scaler waits for all interceptors before it answers with the counts of some.",
    )
    reassert_interval: float = Field(
        2.0,
        gt=0,
        description="Seconds between pushes to KEDA while requests are held. Each makes KEDA write to the API server.",
    )
    fleet_namespace: str = Field(
        "",
        description="Namespace whose ScaledObjects may scale by the requests of all apps together (the interceptors' own does); "
        "empty for every namespace.",
    )
    concurrency_window: float = Field(
        defaults.CONCURRENCY_WINDOW,
        gt=0,
        description="Seconds over which concurrency is averaged; the same as between two readings of an HPA.",
    )
    metrics_max_bytes: int = Field(
        defaults.METRICS_MAX_BYTES,
        ge=defaults.METRICS_LEAST_BYTES,
        description="Maximum bytes of /metrics. Applications for which there is no room are added up, as application _others.",
    )

    tls_cert: str = Field("", description="Certificate file of the ExternalScaler; without it the server speaks plaintext.")
    tls_key: str = Field("", description="Key file of the ExternalScaler.")
    tls_ca: str = Field("", description="CA file; with it, KEDA needs a certificate of this CA.")
    member_tls_cert: str = Field(
        "", description="Certificate file shown to interceptors; without it the streams to them are plaintext."
    )
    member_tls_key: str = Field("", description="Key file of the certificate shown to interceptors.")
    member_tls_ca: str = Field("", description="CA file for the certificates of interceptors; the system's roots without it.")
    member_tls_name: str = Field("", description="Name in the certificates of interceptors, which are found by address.")

    log_level: str = Field("info", description="debug, info, warning or error.")
    log_json: bool = Field(False, description="One JSON object per log line.")

    @property
    def server_tls(self) -> TlsFiles | None:
        return TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)

    @property
    def member_tls(self) -> TlsFiles | None:
        return TlsFiles.of(self.member_tls_cert, self.member_tls_key, self.member_tls_ca)
