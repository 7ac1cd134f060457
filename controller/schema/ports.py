"""What both custom resources say of the ports on which interceptors listen for them. None of it is in the add-on."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from controller.schema.common import NOT_IN_ADDON, Duration, Name, Port, follows
from fleet.routing import port as ports
from fleet.routing import route as routes
from fleet.routing.kinds import MAX_REPLIES
from fleet.routing.port import MAX_ALPN, MAX_NETWORKS, MAX_PATTERNS, MAX_PORTS, MAX_SERVER_NAMES

__all__ = ["ListenPort", "Ports", "Uncounted"]

_ATOMIC: Final[Meta] = Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})
_INT_OR_STRING: Final[dict[str, Any]] = {"x-kubernetes-int-or-string": True}


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

    port: Annotated[Port, follows(ports.ListenPort, "port")]
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
    idle: Annotated[Duration | None, follows(ports.ListenPort, "idle")] = None
    replies: Annotated[Annotated[int, Meta(ge=1, le=MAX_REPLIES)] | None, follows(ports.ListenPort, "replies")] = None
    uncounted: Annotated[Uncounted | None, follows(ports.ListenPort, "uncounted")] = None


Ports = Annotated[
    Annotated[tuple[ListenPort, ...], Meta(max_length=MAX_PORTS)] | None, follows(routes.Route, "ports", NOT_IN_ADDON), _ATOMIC
]
