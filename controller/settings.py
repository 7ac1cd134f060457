"""Settings of the controller, each with its unit, default and reason."""

from __future__ import annotations

import socket
from typing import Self

from pydantic import Field, field_validator, model_validator

from fleet import defaults
from fleet.events.settings import EventSettings
from fleet.routing.host import is_host
from fleet.runtime.hosts import ABOUT_OWN_NAMES
from fleet.runtime.tls import TlsFiles

__all__ = ["ControllerSettings"]


class ControllerSettings(EventSettings):
    """Read once at the start. Durations are seconds."""

    host: str = Field("0.0.0.0", description="Address that the diagnostics listen on.")  # noqa: S104
    diagnostics_port: int = Field(
        defaults.CONTROLLER_DIAGNOSTICS_PORT,
        ge=0,
        le=defaults.PORT_LIMIT,
        description="Port of /livez, /readyz, /metrics; 0 for any free port.",
    )
    diagnostics_hosts: str = Field("", description=ABOUT_OWN_NAMES)
    controller_name: str = Field(
        default_factory=socket.gethostname, description="Name of this controller in the lease and in events."
    )
    namespaces: str = Field(
        "", description="Namespaces whose custom resources and Services are watched, separated by commas; empty for all."
    )
    routes: str = Field(
        "configmap:weir-system/weir-routing-table",
        description="Where the routing table is kept: configmap:NAMESPACE/NAME, or file:PATH.",
    )
    members: str = Field(
        "service:weir-system/weir-interceptor-rpc:rpc",
        description="The interceptors that must serve the table: service:NAMESPACE/NAME:PORTNAME of their headless Service, "
        "file:PATH, dns:NAME:PORT, or HOST:PORT,HOST:PORT.",
    )
    scaler_address: str = Field(
        f"weir-scaler.weir-system.svc:{defaults.SCALER_PORT}",
        description="Address of the scaler that is written into every ScaledObject, for KEDA.",
    )
    trigger_authentication: str = Field(
        "",
        description="ClusterTriggerAuthentication with KEDA's certificate for the scaler; with it, KEDA uses TLS.",
    )
    scaler_aliases: str = Field(
        "",
        description="Other addresses of the scaler in triggers, separated by commas, for example of a Service with another name.",
    )
    resync: float = Field(
        defaults.RESYNC_SECONDS,
        gt=0,
        description="Seconds between full lists, in case a watch has failed without an error.",
    )
    lease: str = Field(
        "",
        description="NAMESPACE/NAME of the lease for leader election; if empty, weir-controller in the table's namespace.",
    )
    leader_elect: bool = Field(
        True, description="Whether to wait for the lease. Switch it off only if there is never a second controller."
    )
    lease_duration: float = Field(
        10.0, ge=3, description="Seconds after which a silent leader is replaced. With 10, a second controller leads within 15 s."
    )
    workers: int = Field(
        16, ge=1, le=256, description="Objects processed at once; most of the time they wait for the API server."
    )
    verify_timeout: float = Field(2.0, gt=0, description="Seconds for an interceptor to report which table it serves.")

    member_tls_cert: str = Field(
        "", description="Certificate file shown to interceptors; without it, calls to them are plaintext."
    )
    member_tls_key: str = Field("", description="Key file of the certificate shown to interceptors.")
    member_tls_ca: str = Field("", description="CA file for the certificates of interceptors; the system's roots without it.")
    member_tls_name: str = Field("", description="Name in the certificates of interceptors, which are found by address.")

    previews: bool = Field(
        False, description="Whether copies of workloads are made for Preview objects, which needs permissions of its own."
    )
    preview_namespaces: bool = Field(
        False,
        description="Whether a Preview may have its copy in another namespace that permits it, which needs further permissions.",
    )

    admin: bool = Field(False, description="Whether there is an Admin API, through which applications are created.")
    admin_port: int = Field(
        defaults.ADMIN_PORT, ge=0, le=defaults.PORT_LIMIT, description="Port of the Admin API; 0 for any free port."
    )
    admin_tls_cert: str = Field("", description="Certificate file of the Admin API.")
    admin_tls_key: str = Field("", description="Key file of the Admin API's certificate.")
    admin_tls_ca: str = Field("", description="CA file; with it, the Admin API takes only clients with a certificate.")
    admin_plaintext: bool = Field(
        False,
        description="Serve the Admin API without a certificate: tokens are then readable on the way, unless a mesh encrypts.",
    )
    admin_audiences: str = Field(
        "", description="Audiences that a caller's token must be for, separated by commas; those of the API server if empty."
    )
    admin_domain: str = Field(
        "", description="Domain of applications that name no host: NAME.NAMESPACE.DOMAIN; NAME.NAMESPACE without one."
    )
    admin_url: str = Field("http://{host}", description="What the addresses in answers look like, with {host}; no path.")
    admin_rate: int = Field(
        10, ge=1, description="Calls a second that one user may send to the Admin API; five seconds' worth at once."
    )
    admin_helm: str = Field("helm", description="Name or path of helm 3, with which the Admin API makes releases; empty: none.")
    admin_charts: str = Field(
        "",
        description="Addresses from which charts may be fetched, separated by commas: https://HOST/PATH or oci://HOST/PATH and "
        "all below; without any, charts can only be uploaded.",
    )
    admin_helm_namespace: str = Field(
        "",
        description="Namespace of the releases of helm-web-api's paths /install, /upgrade and /delete; without it there are no "
        "such paths.",
    )

    admin_kedahttp_namespace: str = Field(
        "",
        description="Namespace of the applications of kedahttp's paths, POST /app and DELETE /app; without it there are no such "
        "paths.",
    )

    ports: bool = Field(
        False,
        description="Whether ports are leased, and added to the Services before the interceptors and to their NetworkPolicy.",
    )
    port_first: int = Field(
        defaults.FIRST_LEASED_PORT, ge=1, le=defaults.PORT_LIMIT, description="The first port that may be leased."
    )
    port_last: int = Field(
        defaults.LAST_LEASED_PORT, ge=1, le=defaults.PORT_LIMIT, description="The last port that may be leased."
    )
    max_ports: int = Field(
        defaults.MAX_PORTS_OF_FLEET,
        ge=1,
        description="Ports of all applications together; each is a listening socket in every interceptor.",
    )
    port_quota: int = Field(
        defaults.MAX_PORTS_OF_NAMESPACE, ge=1, description="Ports that one namespace may have, by leases and by their numbers."
    )
    port_ttl: float = Field(
        3600.0, ge=1, description="Seconds for which a lease lasts that nothing uses, unless its caller says otherwise."
    )
    port_entries: str = Field(
        "weir.dev/entry",
        min_length=1,
        description="Label selector of the Services before the interceptors, in Weir's namespace, that get ports.",
    )
    port_policy: str = Field(
        "weir-interceptor-ports",
        description="NetworkPolicy in Weir's namespace that gets the ports as its only ingress rule; empty for none.",
    )

    log_level: str = Field("info", description="debug, info, warning or error.")
    log_json: bool = Field(False, description="One JSON object per log line.")

    @field_validator("namespaces")
    @classmethod
    def _names_some(cls, namespaces: str) -> str:
        if namespaces and not _listed(namespaces):
            raise ValueError("names no namespace, and all of them are what is followed when it is empty")
        return namespaces

    @field_validator("admin_domain")
    @classmethod
    def _is_domain(cls, domain: str) -> str:
        if domain and (not is_host(f"a.{domain}") or ":" in domain or "*" in domain):
            raise ValueError("is not the name of a domain")
        return domain.lower().removesuffix(".")

    @field_validator("admin_url")
    @classmethod
    def _holds_a_host(cls, url: str) -> str:
        if not url.startswith(("http://{host}", "https://{host}")) or "/" in url.partition("://")[2]:
            raise ValueError("is not http://{host} or https://{host}, with a port if need be")
        return url

    @field_validator("admin_charts")
    @classmethod
    def _are_addresses(cls, sources: str) -> str:
        for source in _listed(sources):
            if not source.startswith(("https://", "http://", "oci://")) or any(bad in source for bad in ("@", "?", "#", "..")):
                raise ValueError(f"has {source!r}, which is not the address of a repository or a registry")
        return sources

    @model_validator(mode="after")
    def _tokens_are_encrypted(self) -> Self:
        if self.admin and not self.admin_tls_cert and not self.admin_plaintext:
            raise ValueError(
                "--admin (WEIR_ADMIN) needs --admin-tls-cert and --admin-tls-key, or --admin-plaintext: "
                "callers send their tokens, which are the keys to the cluster"
            )
        return self

    @model_validator(mode="after")
    def _all_namespaces_are_followed(self) -> Self:
        if self.preview_namespaces and not self.previews:
            raise ValueError("--preview-namespaces (WEIR_PREVIEW_NAMESPACES) needs --previews (WEIR_PREVIEWS)")
        if self.preview_namespaces and self.namespaces:
            raise ValueError("--preview-namespaces (WEIR_PREVIEW_NAMESPACES) needs all namespaces, and --namespaces names some")
        return self

    @model_validator(mode="after")
    def _ports_are_a_range(self) -> Self:
        if self.port_last < self.port_first:
            raise ValueError(f"--port-last (WEIR_PORT_LAST) {self.port_last} is below --port-first {self.port_first}")
        return self

    @property
    def admin_tls(self) -> TlsFiles | None:
        return TlsFiles.of(self.admin_tls_cert, self.admin_tls_key, self.admin_tls_ca)

    @property
    def audiences(self) -> tuple[str, ...]:
        """Audiences of callers' tokens."""
        return _listed(self.admin_audiences)

    @property
    def chart_sources(self) -> tuple[str, ...]:
        """Addresses below which charts may be."""
        return _listed(self.admin_charts)

    @property
    def member_tls(self) -> TlsFiles | None:
        return TlsFiles.of(self.member_tls_cert, self.member_tls_key, self.member_tls_ca)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other addresses of the scaler."""
        return _listed(self.scaler_aliases)

    @property
    def why_not_elsewhere(self) -> str:
        """Why no copies of Previews are made in other namespaces; "" if they are."""
        if self.namespaces:
            return "this controller follows only some namespaces (WEIR_NAMESPACES), and makes no copies in others"
        return "" if self.preview_namespaces else "this controller makes no copies in other namespaces (WEIR_PREVIEW_NAMESPACES)"

    @property
    def watched(self) -> tuple[str, ...]:
        """The watched namespaces; empty means all."""
        return _listed(self.namespaces)


def _listed(names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
