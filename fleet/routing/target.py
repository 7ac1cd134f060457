"""Where the requests of a route go, and how it is spoken to there. Values only; a part of fleet/routing/route.py, whose rules for
fields hold here as well."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final, NamedTuple

import msgspec

from fleet.routing.declare import Field, Kind
from fleet.routing.faults import Fail
from fleet.routing.kinds import NAME, PORT
from fleet.routing.outside import ADDRESS, DNS_NAME, MAX_ADDRESSES, dns_key, fixed_key, is_outside, split_place
from fleet.routing.protocols import APP_PROTOCOL, Spoken, spoken

__all__ = [
    "CA_BUNDLE",
    "MAX_CA_BYTES",
    "MAX_SERVER_NAME",
    "SERVER_NAME",
    "USUAL",
    "Connects",
    "PoolKey",
    "Target",
    "TargetTls",
    "check_tls",
]

MAX_CA_BYTES: Final = 1 << 16
"""Characters of the authorities of one target: a few dozen certificates. All public authorities together take four times as much;
they are believed without being named. Every interceptor keeps the table in memory, and reads each bundle before it connects."""
MAX_SERVER_NAME: Final = 253
"""Characters that a name in the DNS can have."""

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def _server_name(name: str, field: str, fail: Fail) -> None:
    if "*" in name:
        raise fail(field, f"{name[:100]!r} is a pattern; say one name, which a certificate for a pattern is good for as well")
    if len(name) > MAX_SERVER_NAME or not (_is_address(name) or _is_dns_name(name)):
        raise fail(field, f"{name[:100]!r} is neither the name of a host nor an IP address")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return "%" not in name  # a zone is of one machine, and in no certificate


def _is_dns_name(name: str) -> bool:
    labels = name.split(".")
    return all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def _ca_bundle(pem: str, field: str, fail: Fail) -> None:
    """Its form. Whether the certificates in it can be read, is found out where they are given (`fleet.runtime.pem`)."""
    if len(pem) > MAX_CA_BYTES:
        raise fail(field, f"{len(pem)} characters of certificates, at most {MAX_CA_BYTES} are possible")
    if not pem.isascii():
        raise fail(field, "is not PEM: it has characters that are not ASCII")
    if "PRIVATE KEY-----" in pem:
        raise fail(field, "has a private key, which belongs nowhere but to its server")
    if _BEGIN not in pem:
        raise fail(field, "has no certificate in PEM")


SERVER_NAME: Final = Kind(_server_name, max_length=MAX_SERVER_NAME)
CA_BUNDLE: Final = Kind(_ca_bundle, max_length=MAX_CA_BYTES)


class TargetTls(msgspec.Struct, frozen=True, omit_defaults=True):
    """TLS to the backends of a target."""

    server_name: Annotated[
        str | None,
        Field(
            "Name, or IP address, that the backends' certificates must have, and that is asked for (SNI). Without it, "
            "SERVICE.NAMESPACE.svc, or the DNS name of `host`.",
            SERVER_NAME,
        ),
    ] = None
    ca_bundle: Annotated[
        str | None,
        Field(
            "Authorities of the backends' certificates, PEM: these and no others. Without it, those that interceptors believe.",
            CA_BUNDLE,
        ),
    ] = None
    insecure_skip_verify: Annotated[
        bool, Field("Whether any certificate is accepted, so that whoever is in between can read and change requests.")
    ] = False


def check_tls(tls: TargetTls, at: str, fail: Fail) -> None:
    if tls.insecure_skip_verify and tls.ca_bundle is not None:
        raise fail(f"{at}.insecure_skip_verify", "there are authorities as well, and they would not be asked")


class Connects(NamedTuple):
    """How the backends of a target are spoken to, as its route says it. Connections are shared only by targets for which this is
    equal."""

    app_protocol: str | None = None
    tls: TargetTls | None = None

    def spoken(self, port: str | None) -> Spoken:
        """What a backend is spoken to with whose port has this `appProtocol`. What the route says wins; with `tls` it is always
        over TLS."""
        found = spoken(self.app_protocol or port)
        return found if self.tls is None else Spoken(found.protocol, tls=True)


USUAL: Final = Connects()
PoolKey = tuple[str, Connects]
"""What connections may be shared by: the target's key, and how its backends are spoken to."""


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the backends of a route are found: a Service and a port of it, by number or by name; or, outside of discovery, a DNS
    name with a port, or a list of addresses; and how they are spoken to."""

    service: Annotated[str, Field('The Service, as "namespace/name".', NAME)] = ""
    port: Annotated[int | str | None, Field("Number or name of the Service's port; the number for a DNS name.", PORT)] = None
    direct: Annotated[
        bool | None,
        Field(
            "Whether requests go to pods themselves; false: to their Service's address. Without it, the setting of the "
            "interceptors counts."
        ),
    ] = None
    host: Annotated[
        str | None,
        Field(
            "DNS name instead of a Service. All its addresses are backends, and it is looked up again as its TTL says.", DNS_NAME
        ),
    ] = None
    addresses: Annotated[
        tuple[str, ...],
        Field(
            "IP addresses instead of a Service, each with a port or with that of `port`.",
            ADDRESS,
            most=MAX_ADDRESSES,
            called="addresses",
        ),
    ] = ()
    app_protocol: Annotated[
        str | None,
        Field("What the backends speak, in the words of a Service port's appProtocol, which counts without it.", APP_PROTOCOL),
    ] = None
    tls: Annotated[
        TargetTls | None,
        Field("How the backends' certificates are verified. With it, they are spoken to over TLS, whatever appProtocol says."),
    ] = None

    @property
    def key(self) -> str:
        """Name under which discovery lists the backends: "namespace/name" or "namespace/name:port", and "@pods" or "@service"
        behind it where `direct` is said. Of targets outside of discovery: "dns:name:port", "fixed:address:port,…".
        """
        if self.host is not None:
            return dns_key(self.host, self.port)
        if self.addresses:
            return fixed_key(self.addresses, self.port)
        place = self.service if self.port is None else f"{self.service}:{self.port}"
        return place if self.direct is None else f"{place}@{'pods' if self.direct else 'service'}"

    @property
    def is_outside(self) -> bool:
        """Whether it is no Service."""
        return is_outside(self.key)

    @property
    def plain(self) -> Target:
        """The target alone, without what a subclass adds."""
        return Target(**{name: getattr(self, name) for name in Target.__struct_fields__})

    @property
    def connects(self) -> Connects:
        return USUAL if self.app_protocol is None and self.tls is None else Connects(self.app_protocol, self.tls)

    @property
    def over_tls(self) -> Target | None:
        """The same Service, spoken to over TLS, whose backends' certificates have the name that KEDA's HTTP add-on expects. None
        if the target is no Service, or says itself how it is spoken to."""
        if not self.service or self.connects != USUAL:
            return None
        namespace, _, name = self.service.partition("/")
        return msgspec.structs.replace(self.plain, tls=TargetTls(server_name=f"{name}.{namespace}"))

    @property
    def pool(self) -> PoolKey:
        return self.key, self.connects

    @property
    def server_name(self) -> str:
        """The name that the certificates of its backends must have, which is also asked for (SNI)."""
        if self.tls is not None and self.tls.server_name is not None:
            return self.tls.server_name
        if self.host is not None:
            return self.host.rstrip(".")
        if self.addresses:  # not verified, as the check of routes demands a name otherwise
            return split_place(self.addresses[0])[0]
        namespace, _, name = self.service.partition("/")
        return f"{name}.{namespace}.svc"
