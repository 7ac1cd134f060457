"""What a file of apps may say of the ports on which interceptors listen for an app. Values only."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field, model_validator

from controller.schema.ports import LEASE_NAME, MAX_LEASE_NAME
from fleet.routing.faults import RouteError
from fleet.routing.kinds import MAX_REPLIES
from fleet.routing.port import (
    ALPN,
    MAX_ALPN,
    MAX_NETWORKS,
    MAX_PATTERNS,
    MAX_PORTS,
    MAX_SERVER_NAMES,
    NETWORK,
    PATTERN,
    ListenPort,
    Uncounted,
    check_port,
)
from fleet.routing.route import Route
from weir.engine.fields import Fits, Follows, Host, Model, PositivePort, PositiveSeconds, Text, fault

__all__ = ["AppPortSpec", "AppPorts", "UncountedSpec"]

Network = Annotated[Text, Fits(NETWORK.check)]
Pattern = Annotated[Text, Fits(PATTERN.check)]
Protocol = Annotated[Text, Fits(ALPN.check)]


class UncountedSpec(Model):
    """Connections that neither wake the app nor keep it awake."""

    silent: Annotated[PositiveSeconds | None, Follows(Uncounted, "silent")] = None
    networks: Annotated[list[Network], Field(max_length=MAX_NETWORKS), Follows(Uncounted, "networks")] = []
    first_bytes: Annotated[list[Pattern], Field(max_length=MAX_PATTERNS), Follows(Uncounted, "first_bytes")] = []

    def uncounted(self) -> Uncounted:
        return Uncounted(self.silent, tuple(self.networks), tuple(self.first_bytes))


class AppPortSpec(Model):
    """A port on which interceptors listen for the app."""

    port: Annotated[PositivePort | None, Follows(ListenPort, "port")] = None
    lease: Annotated[Text | None, Field(pattern=LEASE_NAME, max_length=MAX_LEASE_NAME)] = None
    """Instead of a number: the name of a lease, which says one that is free."""
    protocol: Annotated[Literal["TCP", "UDP"], Follows(ListenPort, "protocol")] = "TCP"
    server_names: Annotated[list[Host], Field(max_length=MAX_SERVER_NAMES), Follows(ListenPort, "server_names")] = []
    alpn: Annotated[list[Protocol], Field(max_length=MAX_ALPN), Follows(ListenPort, "alpn")] = []
    proxy_protocol: Annotated[Literal["v1", "v2"] | None, Follows(ListenPort, "proxy_protocol")] = None
    tls: Annotated[Literal["passthrough", "terminate"] | None, Follows(ListenPort, "tls")] = None
    idle: Annotated[PositiveSeconds | None, Follows(ListenPort, "idle")] = None
    replies: Annotated[Annotated[int, Field(ge=1, le=MAX_REPLIES)] | None, Follows(ListenPort, "replies")] = None
    uncounted: Annotated[UncountedSpec | None, Follows(ListenPort, "uncounted")] = None

    @model_validator(mode="after")
    def _together(self) -> AppPortSpec:
        if (self.port is None) == (self.lease is None):
            raise fault("port", "a port has either a number (port) or a lease", "lease")
        try:
            check_port(self.listen_port(), "", partial(RouteError, ""))
        except RouteError as error:
            raise fault(error.field.removeprefix(".").partition(".")[0], error.reason, "protocol") from error
        return self

    def listen_port(self) -> ListenPort:
        return ListenPort(
            self.port or 0,
            self.protocol,
            None,
            tuple(self.server_names),
            tuple(self.alpn),
            self.proxy_protocol,
            self.idle,
            self.replies,
            Uncounted() if self.uncounted is None else self.uncounted.uncounted(),
            self.tls,
        )


AppPorts = Annotated[list[AppPortSpec], Field(max_length=MAX_PORTS), Follows(Route, "ports")]
