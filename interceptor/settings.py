"""Settings of the interceptor, each with its unit, default and reason."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from fleet import defaults
from fleet.discovery.outside.policy import DEFAULT, AddressPolicy
from fleet.runtime.hosts import ABOUT_OWN_NAMES
from fleet.runtime.settings import ComponentSettings
from fleet.runtime.tls import TlsFiles
from interceptor.addon_settings import AddOnSettings, of_add_on
from interceptor.tls.policy import CIPHERS, Policy, parse_ciphers, parse_curves, parse_version
from interceptor.trust import TrustedProxies

__all__ = ["InterceptorSettings"]


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part.strip()) for part in text.split(",") if part.strip())


def _checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """A validator that raises ValueError as the parser does, and keeps the text. An empty one is a setting that is not given."""

    def check(text: str) -> str:
        if text:
            parse(text)
        return text

    return check


def _balancers(text: str) -> str:
    if text.strip().lower() == "off":
        return "none"
    TrustedProxies.parse(text)
    return text


class InterceptorSettings(ComponentSettings):
    """Read once at the start. Durations are seconds; 0 disables a limit where the description says so."""

    secrets: ClassVar[frozenset[str]] = frozenset({"affinity_key"})
    authorities: ClassVar[Mapping[str, str]] = {"proxy_tls_ca": "proxy_tls_directories"}

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The add-on's variables last, so that Weir's own take precedence."""
        return (*super().settings_customise_sources(settings_cls, *sources, **named), AddOnSettings(settings_cls))

    @classmethod
    def _given_elsewhere(cls) -> Mapping[str, str]:
        return {field: variable for field, (_, variable) in of_add_on(os.environ).items()}

    host: str = Field("0.0.0.0", description="Address that the proxy, the RPC server and the diagnostics listen on.")  # noqa: S104
    proxy_port: int = Field(
        defaults.PROXY_PORT, ge=0, le=defaults.PORT_LIMIT, description="Port of the proxy; 0 for any free port."
    )
    proxy_plaintext: Literal["serve", "redirect", "off"] = Field(
        "serve",
        description="What plaintext clients get on the proxy's port: serve; redirect to https (308, except for"
        " /.well-known/acme-challenge/ and for what a trusted proxy says came by https); or off: nothing listens there. The last"
        " two need a certificate.",
    )
    proxy_tls_port: int = Field(
        defaults.PROXY_TLS_PORT,
        ge=0,
        le=defaults.PORT_LIMIT,
        description="Port of the proxy for TLS, which listens if there are certificates; 0 for any free port.",
    )
    app_ports: bool = Field(
        True,
        description="Listen on the ports of applications. Of several interceptors at one address, only one can.",
    )
    relay_ports: bool = Field(
        True,
        description="Pass small messages of TCP ports on without the event loop's transports, once a connection has sent 16 of"
        " them or was silent for a second: less time for each, and a third of the memory. Only on Linux.",
    )
    https_port: int = Field(
        defaults.HTTPS_PORT,
        ge=0,
        le=defaults.PORT_LIMIT,
        description="Port by which clients reach the proxy's port for TLS: redirects name it unless it is 443. 0 for that port"
        " itself, where clients reach it without a load balancer.",
    )
    rpc_port: int = Field(
        defaults.INTERCEPTOR_RPC_PORT,
        ge=0,
        le=defaults.PORT_LIMIT,
        description="Port of QueueService, RoutingService and WaitingService; 0 for any free port.",
    )
    diagnostics_port: int = Field(
        defaults.INTERCEPTOR_DIAGNOSTICS_PORT,
        ge=0,
        le=defaults.PORT_LIMIT,
        description="Port of /livez, /readyz, /metrics; 0 for any free port.",
    )
    diagnostics_hosts: str = Field("", description=ABOUT_OWN_NAMES)
    member_name: str = Field(default_factory=socket.gethostname, description="Name of this interceptor in the fleet.")
    routes: str = Field("", description="Source of the routing table: file:PATH or configmap:NAMESPACE/NAME.")
    backends: str = Field(
        "", description="Source of ready backends: file:PATH, kubernetes: (all namespaces) or kubernetes:NAMESPACE,NAMESPACE."
    )
    busy: str = Field(
        "",
        description="Source of the leases by which applications keep themselves awake, only to show them: file:PATH or "
        "configmap:NAMESPACE/NAME; empty for none.",
    )
    direct_pod_routing: bool = Field(
        True,
        description="Whether requests are sent to pods directly; false: to their Service's address. A route can override it. "
        "Only with backends of Kubernetes.",
    )
    resync: float = Field(
        defaults.RESYNC_SECONDS,
        gt=0,
        description="Seconds between full reads of routes and backends, in case a watch has failed without an error.",
    )

    readiness_timeout: float = Field(
        60.0, ge=0, description="Seconds for which a request waits for a backend; 0 for no limit, until the client disconnects."
    )
    connect_timeout: float = Field(
        0.5, gt=0, description="Seconds to connect to a backend. Short, because backends are in the same network."
    )
    response_header_timeout: float = Field(
        300.0, ge=0, description="Seconds from the end of the request to the head of its response; 0 for no limit."
    )
    request_timeout: float = Field(0.0, ge=0, description="Seconds for a whole exchange; 0 for no limit.")
    idle_timeout: float = Field(
        3600.0, ge=0, description="Seconds without any data after which a response or a tunnel is ended; 0 for no limit."
    )
    keep_alive_timeout: float = Field(75.0, gt=0, description="Seconds for which an idle client connection is kept.")
    head_timeout: float = Field(10.0, gt=0, description="Seconds for the complete head of a request to arrive; then 408.")
    backend_idle_timeout: float = Field(
        60.0, gt=0, description="Seconds for which an idle backend connection is kept; less than the timeout of most servers."
    )

    cold_start_header: bool = Field(
        True, description="Whether responses of backends get X-KEDA-HTTP-Cold-Start; it is true if no backend was ready at first."
    )

    list_apps: bool = Field(
        False,
        description="Whether http://localhost:PORT/, if no route matches it, lists the applications with their hosts and states"
        " for everybody who can connect. `weir up` enables it. Do not use it with several tenants.",
    )

    answer_half_closed: bool = Field(
        False,
        description="Whether a client that closes its sending side after its request (half-close) still gets a response. A client"
        " that has given up looks the same, so requests of such clients would wait and be processed as well. Routes can"
        " override it.",
    )
    trusted_proxies: Annotated[str, AfterValidator(_checked(TrustedProxies.parse))] = Field(
        "private",
        description="Proxies whose X-Forwarded-For, -Proto, -Host and Forwarded are kept and extended; for all other clients"
        " they are replaced, because anybody can send them. Networks such as 10.0.0.0/8, addresses, and private (loopback,"
        " RFC 1918, 100.64.0.0/10, link-local, fc00::/7), separated by commas; or all, or none. An Ingress or a Gateway in the"
        " same cluster is private; so are clients whose address a load balancer replaces by a node's.",
    )

    proxy_protocol: Annotated[str, AfterValidator(_balancers)] = Field(
        "none",
        description="Load balancers that send the PROXY protocol, version 1 or 2, in front of each connection: networks and"
        " addresses as for trusted_proxies, or off. From these it is required, and the address that it gives is the client's for"
        " X-Forwarded-For, Forwarded and trusted_proxies; from everybody else it is refused.",
    )

    outside_allowed: Annotated[str, AfterValidator(_checked(AddressPolicy.parse))] = Field(
        DEFAULT,
        description="What targets outside of the cluster may be: DNS names of routes, their addresses, externalName of Services."
        " public, private (RFC 1918, 100.64.0.0/10, fc00::/7), loopback, networks such as 10.20.0.0/16, addresses, and DNS names"
        " (db.example.com, or *.example.com for all below it; whatever is found there), separated by commas; or none. Addresses"
        " that are found by DNS are held to it as well. Metadata services of clouds, link-local, loopback and multicast addresses"
        " are allowed only by an entry that lies within these ranges.",
    )
    outside_min_ttl: float = Field(
        5.0, ge=0.1, description="Minimum time for which an answer of DNS is used, in seconds, also when its TTL is less."
    )
    outside_max_ttl: float = Field(
        300.0, ge=0.1, description="Maximum time for which an answer of DNS is used, in seconds, also when its TTL is more."
    )

    affinity_key: str = Field(
        "",
        description="Secret for the backend names in affinity cookies, the same for all interceptors. Without one, somebody who"
        " tries all addresses can find the address behind a name.",
    )

    max_connections: int = Field(
        50_000,
        ge=1,
        description="Maximum client connections, or half of the files that the process may have open, if that is less. At the"
        " limit idle connections are closed, and new ones wait until there is room.",
    )
    max_early_bytes: int = Field(
        64 * 1024 * 1024,
        ge=64 * 1024,
        description="Maximum bytes of incomplete heads and of pipelined requests, over all connections; beyond that the oldest"
        " are refused or dropped.",
    )
    max_held: int = Field(10_000, ge=1, description="Maximum held requests per application; more get 503. Each takes a few KB.")
    max_held_bytes: int = Field(
        64 * 1024 * 1024,
        ge=0,
        description="Maximum bytes of heads and bodies of held requests, per application; more get 503. The default is 6 KB for"
        " each of max_held requests: of a body only the part that came with its head is read.",
    )
    max_requests: int = Field(
        25_000,
        ge=1,
        description="Maximum requests, held and in flight, per application; more get 503. If there are several applications, each"
        " gets at most half of max_connections, whatever its route says, so that some are left for the others.",
    )
    max_flows: int = Field(
        20_000,
        ge=1,
        description="Maximum flows of UDP ports; or an eighth of the files that the process may have open (half of them if this"
        " is set), if that is less. If several applications have UDP ports, each gets at most half. At the limit flows end that"
        " have been idle, those without an answer first; if there are none, new ones are refused.",
    )
    max_flows_per_source: int = Field(
        5000,
        ge=0,
        description="Maximum flows of one address, or of one /64 of IPv6; 0 for no limit. Where a load balancer or a node"
        " replaces the addresses of clients, all of them are one source.",
    )
    max_flow_bytes: int = Field(
        64 * 1024 * 1024,
        ge=64 * 1024,
        description="Maximum bytes of datagrams that are kept until a backend has answered, over all flows; more are dropped.",
    )
    max_idle_per_backend: int = Field(200, ge=0, description="Maximum idle connections kept per backend.")
    metrics_max_bytes: int = Field(
        defaults.METRICS_MAX_BYTES,
        ge=defaults.METRICS_LEAST_BYTES,
        description="Maximum bytes of /metrics: enough for 10,000 applications, of which some hundreds have histograms of their "
        "own. Applications for which there is no room are counted together, as application _others.",
    )

    tls_cert: str = Field("", description="Certificate file of the RPC server; without it the server speaks plaintext.")
    tls_key: str = Field("", description="Key file of the RPC server.")
    tls_ca: str = Field("", description="CA file; with it, clients of the RPC server need a certificate of this CA.")

    proxy_tls_cert: str = Field(
        "",
        description="Certificate file of the proxy, PEM, with the intermediate ones; for clients that ask for a name that no"
        " other certificate has, or for none. It is read again when it changes, like all files of certificates.",
    )
    proxy_tls_key: str = Field("", description="Key file of that certificate, PEM, without a password.")
    proxy_tls_ca: str = Field(
        "", description="CA file; with it, clients of the proxy's port for TLS are asked for a certificate of this CA."
    )
    proxy_tls_client_certs: Literal["required", "optional"] = Field(
        "required", description="Whether clients must show such a certificate: required, or optional."
    )
    proxy_tls_directories: str = Field(
        "",
        description="Directories with more certificates, separated by commas, each with its key beside it: NAME.crt and NAME.key,"
        " or NAME.pem and NAME-key.pem, also in directories below. A client gets the one that has the name that it asks for; an"
        " exact name is preferred to a wildcard.",
    )
    tls_min_version: Annotated[str, AfterValidator(_checked(parse_version))] = Field(
        "1.2", description="Lowest version of TLS, to clients and to backends: 1.2 or 1.3."
    )
    tls_max_version: Annotated[str, AfterValidator(_checked(parse_version))] = Field(
        "1.3", description="Highest version of TLS, to clients and to backends: 1.2 or 1.3."
    )
    tls_cipher_suites: Annotated[str, AfterValidator(_checked(parse_ciphers))] = Field(
        "",
        description="Cipher suites of TLS 1.2, separated by commas, as IANA or OpenSSL names them; without it those with forward"
        " secrecy and authenticated encryption. All suites of TLS 1.3 are always on.",
    )
    tls_curves: Annotated[str, AfterValidator(_checked(parse_curves))] = Field(
        "",
        description="Curves of the key exchange, separated by commas, the preferred one first: X25519, P-256, P-384, P-521,"
        " X25519MLKEM768; without it all of these that OpenSSL has.",
    )

    backend_tls_ca_dirs: str = Field(
        "",
        description="Directories with files of authorities, PEM, separated by commas, that backends' certificates may be of,"
        " beside those of the system.",
    )
    backend_tls_skip_verify: bool = Field(
        False, description="Whether any certificate of a backend is accepted. Do not use it but for tests."
    )

    backend_tls_as_clients: bool = Field(
        False,
        description="Whether backends are spoken to over TLS for clients that speak TLS, as by the HTTP add-on, unless their"
        " route says how. Without it, how a client came makes no difference.",
    )

    drain_delay: float = Field(
        0.0, ge=0, description="Seconds between not ready and not listening, until load balancers have noticed; 5 on Kubernetes."
    )
    drain_timeout: float = Field(30.0, ge=0, description="Seconds for open exchanges to end at shutdown; then they are reset.")

    log_level: str = Field("info", description="debug, info, warning or error.")
    log_json: bool = Field(False, description="One JSON object per log line.")

    @model_validator(mode="after")
    def _no_secret_is_empty(self) -> Self:
        """An empty value is usually a variable that was never set. It must not silently weaken security."""
        if self.affinity_key == "" and "affinity_key" in self.model_fields_set:
            raise ValueError("--affinity-key (WEIR_AFFINITY_KEY) is given, and empty")
        return self

    @model_validator(mode="after")
    def _ttls_are_bounds(self) -> Self:
        if self.outside_min_ttl > self.outside_max_ttl:
            raise ValueError("--outside-min-ttl (WEIR_OUTSIDE_MIN_TTL) is more than --outside-max-ttl (WEIR_OUTSIDE_MAX_TTL)")
        return self

    @model_validator(mode="after")
    def _has_certificates_for(self) -> Self:
        """Refuse settings that have no effect without certificates, because their presence suggests that TLS is on."""
        if self.tls_policy.minimum > self.tls_policy.maximum:
            raise ValueError("--tls-min-version (WEIR_TLS_MIN_VERSION) is higher than --tls-max-version (WEIR_TLS_MAX_VERSION)")
        if not self.tls_policy.ciphers and self.tls_policy.maximum < ssl.TLSVersion.TLSv1_3:
            raise ValueError(
                "--tls-cipher-suites (WEIR_TLS_CIPHER_SUITES) has none of TLS 1.2, and --tls-max-version (WEIR_TLS_MAX_VERSION)"
                " is 1.2: no connection would be possible"
            )
        if "proxy_tls_client_certs" in self.model_fields_set and not self.proxy_tls_ca:
            raise ValueError(
                "--proxy-tls-client-certs (WEIR_PROXY_TLS_CLIENT_CERTS) needs --proxy-tls-ca (WEIR_PROXY_TLS_CA): without an"
                " authority nobody is asked for a certificate"
            )
        if "proxy_tls_directories" in self.model_fields_set and not self.certificate_directories:
            raise ValueError("--proxy-tls-directories (WEIR_PROXY_TLS_DIRECTORIES) is given, and names none")
        if "backend_tls_ca_dirs" in self.model_fields_set and not self.authority_directories:
            raise ValueError("--backend-tls-ca-dirs (WEIR_BACKEND_TLS_CA_DIRS) is given, and names none")
        if not self.has_proxy_tls and self.proxy_plaintext != "serve":
            raise ValueError(
                "--proxy-plaintext (WEIR_PROXY_PLAINTEXT) needs a certificate: --proxy-tls-cert (WEIR_PROXY_TLS_CERT) and"
                " --proxy-tls-key (WEIR_PROXY_TLS_KEY), or --proxy-tls-directories (WEIR_PROXY_TLS_DIRECTORIES)"
            )
        return self

    @property
    def tls_policy(self) -> Policy:
        """What is allowed to clients of the proxy and to backends."""
        return Policy(
            parse_version(self.tls_min_version),
            parse_version(self.tls_max_version),
            parse_ciphers(self.tls_cipher_suites) if self.tls_cipher_suites else CIPHERS,
            parse_curves(self.tls_curves) if self.tls_curves else (),
        )

    @property
    def proxy_tls(self) -> TlsFiles | None:
        """The proxy's default certificate; with directories of certificates there may be none."""
        return TlsFiles.of(self.proxy_tls_cert, self.proxy_tls_key, self.proxy_tls_ca) if self.proxy_tls_cert else None

    @property
    def certificate_directories(self) -> tuple[Path, ...]:
        return _paths(self.proxy_tls_directories)

    @property
    def authority_directories(self) -> tuple[Path, ...]:
        """Of authorities of backends."""
        return _paths(self.backend_tls_ca_dirs)

    @property
    def has_proxy_tls(self) -> bool:
        """Whether there are certificates for the proxy."""
        return bool(self.proxy_tls_cert or self.certificate_directories)

    @property
    def server_tls(self) -> TlsFiles | None:
        return TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)
