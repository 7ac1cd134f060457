"""What both custom resources say of the ports on which interceptors listen for them. None of it is in the add-on."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from controller.schema.common import NOT_IN_ADDON, Duration, Name, Port, Rule, follows
from fleet.routing import port as ports
from fleet.routing import route as routes
from fleet.routing.kinds import MAX_REPLIES
from fleet.routing.port import MAX_ALPN, MAX_NETWORKS, MAX_PATTERNS, MAX_PORTS, MAX_SERVER_NAMES

__all__ = ["LEASE_NAME", "MAX_ENTRY_NAME", "MAX_LEASE_NAME", "ListenPort", "PortPlace", "PortPlaces", "Ports", "Uncounted"]

LEASE_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
MAX_LEASE_NAME: Final = 63
MAX_ENTRY_NAME: Final = 127
"""Characters of a namespace, a slash, and a name."""
_ATOMIC: Final[Meta] = Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})
_INT_OR_STRING: Final[dict[str, Any]] = {"x-kubernetes-int-or-string": True}


_ONE_NUMBER: Final[Rule] = Rule("has(self.port) != has(self.lease)", "a port has either a number (port) or a lease")

EntryName = Annotated[str, Meta(min_length=1, max_length=MAX_ENTRY_NAME)]
LeaseName = Annotated[str, Meta(pattern=LEASE_NAME, max_length=MAX_LEASE_NAME)]


class PortPlace(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A port of an object, and where it is."""

    protocol: str
    port: Annotated[int, Meta(description="Its number, at the Service and at the interceptors.")]
    lease: Annotated[str, Meta(description="The name of its lease; empty without one.")] = ""
    entry: Annotated[str, Meta(description="The Service that leads there, namespace/name; empty if that is not known.")] = ""
    address: Annotated[str, Meta(description="The address of that Service: of its load balancer, if it has one.")] = ""

    def __str__(self) -> str:
        at = f" ({self.address})" if self.address else ""
        return f"{self.protocol} {self.port} of Service {self.entry}{at}"


PortPlaces = Annotated[tuple[PortPlace, ...], Meta(description="Its ports, and where they are."), _ATOMIC]


class Uncounted(msgspec.Struct, frozen=True, rename="camel"):
    """Connections that neither wake the workload nor keep it awake."""

    silent: Annotated[Duration | None, follows(ports.Uncounted, "silent")] = None
    networks: Annotated[
        Annotated[tuple[Name, ...], Meta(max_length=MAX_NETWORKS)] | None, follows(ports.Uncounted, "networks"), _ATOMIC
    ] = None
    first_bytes: Annotated[
        Annotated[tuple[Name, ...], Meta(max_length=MAX_PATTERNS)] | None, follows(ports.Uncounted, "first_bytes"), _ATOMIC
    ] = None


class ListenPort(msgspec.Struct, frozen=True, rename="camel"):
    """A port on which interceptors listen."""

    cel: ClassVar[tuple[Rule, ...]] = (_ONE_NUMBER,)

    port: Annotated[Port | None, follows(ports.ListenPort, "port")] = None
    lease: Annotated[
        LeaseName | None,
        Meta(description="Instead of a number: the name of a lease in this namespace. Without such a lease one is made."),
    ] = None
    entry: Annotated[
        EntryName | None,
        Meta(description="The Service before the interceptors that gets the port. Without it, all of them; one, for a lease."),
    ] = None
    protocol: Annotated[Literal["TCP", "UDP"], follows(ports.ListenPort, "protocol")] = "TCP"
    service_port: Annotated[
        Annotated[Port | Name, Meta(extra_json_schema=_INT_OR_STRING)] | None, follows(ports.ListenPort, "service_port")
    ] = None
    server_names: Annotated[
        Annotated[tuple[Name, ...], Meta(max_length=MAX_SERVER_NAMES)] | None, follows(ports.ListenPort, "server_names"), _ATOMIC
    ] = None
    alpn: Annotated[Annotated[tuple[Name, ...], Meta(max_length=MAX_ALPN)] | None, follows(ports.ListenPort, "alpn"), _ATOMIC] = (
        None
    )
    proxy_protocol: Annotated[Literal["v1", "v2"] | None, follows(ports.ListenPort, "proxy_protocol")] = None
    tls: Annotated[Literal["passthrough", "terminate"] | None, follows(ports.ListenPort, "tls")] = None
    idle: Annotated[Duration | None, follows(ports.ListenPort, "idle")] = None
    replies: Annotated[Annotated[int, Meta(ge=1, le=MAX_REPLIES)] | None, follows(ports.ListenPort, "replies")] = None
    uncounted: Annotated[Uncounted | None, follows(ports.ListenPort, "uncounted")] = None

    def __post_init__(self) -> None:
        if (self.port is None) == (self.lease is None):
            raise ValueError(_ONE_NUMBER.message)


Ports = Annotated[
    Annotated[tuple[ListenPort, ...], Meta(max_length=MAX_PORTS)] | None, follows(routes.Route, "ports", NOT_IN_ADDON), _ATOMIC
]
